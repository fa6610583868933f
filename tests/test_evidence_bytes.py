"""The bytes of an envelope: the right outcome for every flipped bit, JSON that can be read in two ways, RFC 8785."""

from __future__ import annotations

import copy
import json
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cycles import evidence
from cycles.evidence import KeySet, Outcome, verify
from tests.support.envelopes import DID, NOW, PUBLIC, RAW, jwk, keys, plain, sealed


# -- any bit -----------------------------------------------------------------------------------------------------------
def flipped(text, position):
    changed = bytearray(text)
    changed[position // 8] ^= 1 << position % 8
    return bytes(changed)


def means(text):
    try:
        return json.loads(text)
    except ValueError:
        return None


def check_envelope(envelope, position):
    text = plain(envelope)
    changed = flipped(text, position)
    expected = Outcome.AUTHENTIC if means(changed) == envelope else Outcome.SIGNATURE_INVALID
    assert verify(changed, keys()).outcome is expected, changed


def check_key(envelope, position):
    known = jwk()
    known["x"] = flipped(known["x"].encode(), position).decode("latin-1")
    is_key = bool(KeySet.of(keys(known)).keys)
    expected = Outcome.SIGNATURE_INVALID if is_key and envelope is DID else Outcome.SIGNER_AUTHORITY_FAILED
    assert verify(envelope, keys(known)).outcome is expected, known


def check_pinned(envelope, position):
    pinned = flipped(PUBLIC, position)
    expected = Outcome.SIGNATURE_INVALID if envelope is DID else Outcome.SIGNER_AUTHORITY_FAILED
    assert verify(envelope, pinned).outcome is expected


def check_window(envelope, name, bit):
    known = jwk()
    known[name] ^= 1 << bit
    covers = known["cycles_nbf_ms"] <= NOW < known["cycles_exp_ms"]
    expected = Outcome.AUTHENTIC if covers else Outcome.SIGNER_AUTHORITY_FAILED
    assert verify(envelope, keys(known)).outcome is expected, known


SIZE = 8 * min(len(plain(DID)), len(plain(RAW)))


@settings(max_examples=30)
@given(
    st.sampled_from([DID, RAW]),
    st.integers(0, SIZE - 1),
    st.integers(0, 43 * 8 - 1),
    st.integers(0, 255),
    st.integers(0, 45),
)
def test_any_bit_makes_it_what_it_is(envelope, position, in_key, in_pinned, in_window):
    check_envelope(envelope, position)
    check_key(envelope, in_key)
    check_pinned(envelope, in_pinned)
    for name in ("cycles_nbf_ms", "cycles_exp_ms"):
        check_window(envelope, name, in_window)


@pytest.mark.slow
@pytest.mark.parametrize("envelope", [DID, RAW])
def test_every_bit_makes_it_what_it_is(envelope):
    for position in range(8 * len(plain(envelope))):
        check_envelope(envelope, position)
    for position in range(43 * 8):
        check_key(envelope, position)
    for position in range(256):
        check_pinned(envelope, position)
    for bit in range(46):
        check_window(envelope, "cycles_nbf_ms", bit)
        check_window(envelope, "cycles_exp_ms", bit)


# -- any JSON ----------------------------------------------------------------------------------------------------------
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()


@settings(max_examples=15)
@given(st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5))
def test_nothing_in_an_envelope_makes_it_raise(value):
    places = ({"payload": {"commit": value}}, *({name: value} for name in DID))
    for envelope in (value, *({**DID, **place} for place in places)):
        text = json.dumps(envelope)
        assert verify(text, keys()).outcome is Outcome.SIGNATURE_INVALID
        if isinstance(envelope, dict):
            assert verify(envelope, keys()).outcome is Outcome.SIGNATURE_INVALID


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff",
        b"{",
        b"null",
        b"[" * 200_000,
        plain(DID).replace(b'"amount":7', b'"amount":NaN'),
        plain(DID).replace(b'"amount":7', b'"amount":7,"amount":7'),
        plain(DID).replace(b'"amount":7', b'"amount":1e999'),
        plain(DID).replace(b'"amount":7', b'"amount":' + b"9" * 5000),
        plain(DID).replace(b'"amount":7', b'"amount":' + b"9" * 400),
        plain(DID).replace(b'"amount":7', b'"amount":9007199254740993'),
        plain(DID).replace(b'"amount":7', b'"\\ud800":7'),
        plain(DID).replace(b'"amount":7', b'"amount":"\\ud800"'),
        plain(DID).replace(b'"amount":7', b'"amount":8'),
    ],
)
def test_what_two_readers_could_read_differently_is_refused(text):
    found = verify(text, keys())
    assert found.outcome is Outcome.SIGNATURE_INVALID


def test_numbers_that_are_written_otherwise_are_the_same():
    for written in (b"7.0", b"70e-1", b"0.7E1"):
        assert verify(plain(DID).replace(b'"amount":7', b'"amount":' + written), keys()), written
    large = sealed(payload={"commit": {"amount": 2**53}})  # a double, exactly
    assert verify(large, keys())
    assert verify(plain(DID).replace(str(NOW).encode(), b"1.8e12"), keys())


# -- canonical JSON, by the RFC's own examples -------------------------------------------------------------------------
def test_rfc_8785_serialisation():
    text = (
        r'{"numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001], '
        r'"string": "\u20ac$\u000F\u000aA\u0027\u0042\u0022\u005c\\\"\/", "literals": [null, true, false]}'
    )
    expected = (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )
    assert evidence._canonical(evidence._read(text)).decode() == expected


def test_rfc_8785_sorting():
    text = (
        r'{"\u20ac": "Euro Sign", "\r": "Carriage Return", "\ufb33": "Hebrew Letter Dalet With Dagesh", "1": "One", '
        r'"\ud83d\ude00": "Emoji: Grinning Face", "\u0080": "Control", "\u00f6": "Latin Small Letter O With Diaeresis"}'
    )
    names = ["Carriage", "One", "Control", "Latin", "Euro", "Emoji:", "Hebrew"]
    sorted_names = [value.split()[0] for value in json.loads(evidence._canonical(evidence._read(text))).values()]
    assert sorted_names == names


@pytest.mark.parametrize(
    ("bits", "text"),
    [
        ("0000000000000000", "0"),
        ("8000000000000000", "0"),
        ("0000000000000001", "5e-324"),
        ("8000000000000001", "-5e-324"),
        ("7fefffffffffffff", "1.7976931348623157e+308"),
        ("ffefffffffffffff", "-1.7976931348623157e+308"),
        ("4340000000000000", "9007199254740992"),
        ("c340000000000000", "-9007199254740992"),
        ("4430000000000000", "295147905179352830000"),
        ("44b52d02c7e14af5", "9.999999999999997e+22"),
        ("44b52d02c7e14af6", "1e+23"),
        ("44b52d02c7e14af7", "1.0000000000000001e+23"),
        ("444b1ae4d6e2ef4e", "999999999999999700000"),
        ("444b1ae4d6e2ef4f", "999999999999999900000"),
        ("444b1ae4d6e2ef50", "1e+21"),
        ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
        ("3eb0c6f7a0b5ed8d", "0.000001"),
        ("41b3de4355555553", "333333333.3333332"),
        ("41b3de4355555554", "333333333.33333325"),
        ("41b3de4355555555", "333333333.3333333"),
        ("41b3de4355555556", "333333333.3333334"),
        ("41b3de4355555557", "333333333.33333343"),
        ("becbf647612f3696", "-0.0000033333333333333333"),
        ("43143ff3c1cb0959", "1424953923781206.2"),
    ],
)
def test_rfc_8785_numbers(bits, text):
    (number,) = struct.unpack(">d", bytes.fromhex(bits))
    assert evidence._canonical({"n": number}).decode() == f'{{"n":{text}}}'
    again = evidence._read(f'{{"n": {text}}}')
    assert evidence._canonical(copy.deepcopy(again)).decode() == f'{{"n":{text}}}'


@pytest.mark.parametrize("bits", ["7fffffffffffffff", "7ff0000000000000"])
def test_rfc_8785_numbers_that_are_none(bits):
    (number,) = struct.unpack(">d", bytes.fromhex(bits))
    assert verify({**DID, "payload": {"commit": {"n": number}}}, keys()).outcome is Outcome.SIGNATURE_INVALID
    with pytest.raises(evidence._InvalidError):
        evidence._canonical({"n": number})
