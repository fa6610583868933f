"""Verification, offline: one of five outcomes for whatever is given, and the right one for every flipped bit."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import re
import struct

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from cycles import evidence
from cycles._outside.extras import install
from cycles.errors import ConfigError, InvalidRequest
from cycles.evidence import KeySet, Outcome, verify

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
PUBLIC = KEY.public_key().public_bytes_raw()
SERVER = "urn:the-server"
NOW = 1_800_000_000_000
WINDOW = 1_000_000


def did_of(server=SERVER, kid="k1"):
    return f"did:cycles:{hashlib.sha256(server.encode()).hexdigest()}#{kid}"


def plain(value):
    """Canonical JSON of values that need none of its subtleties."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def sealed(key=KEY, **changed):
    """An envelope that *key* signed, as an authority other than ours would make it."""
    made = {
        "schema_version": "cycles-evidence/v0.1",
        "artifact_type": "commit",
        "server_id": SERVER,
        "signer_did": did_of(),
        "issued_at_ms": NOW,
        "trace_id": "0" * 32,
        "payload": {"commit": {"status": "COMMITTED", "charged": {"unit": "TOKENS", "amount": 7}, "note": "né"}},
        "evidence_id": "",
        "signature": "",
        **changed,
    }
    made["evidence_id"] = hashlib.sha256(plain(made)).hexdigest()
    made["signature"] = key.sign(plain(made)).hex()
    return made


def jwk(public=PUBLIC, **changed):
    x = base64.urlsafe_b64encode(public).decode().rstrip("=")
    window = {"cycles_nbf_ms": NOW - WINDOW, "cycles_exp_ms": NOW + WINDOW}
    return {"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "x": x, "kid": "k1", **window, **changed}


def keys(*found):
    return {"keys": list(found or (jwk(),))}


DID = sealed()
RAW = sealed(signer_did=PUBLIC.hex())


# -- the five outcomes -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("envelope", "known", "outcome"),
    [
        (DID, keys(), Outcome.AUTHENTIC),
        (RAW, keys(), Outcome.AUTHENTIC),
        (DID, PUBLIC.hex(), Outcome.AUTHENTIC),
        (RAW, PUBLIC, Outcome.AUTHENTIC),
        (RAW, None, Outcome.BINDING_ONLY),
        (DID, None, Outcome.SIGNER_RESOLUTION_FAILED),
        (DID, keys(jwk(kid="k2")), Outcome.SIGNER_AUTHORITY_FAILED),
        (DID, {"keys": []}, Outcome.SIGNER_AUTHORITY_FAILED),
        (RAW, keys(jwk(OTHER.public_key().public_bytes_raw())), Outcome.SIGNER_AUTHORITY_FAILED),
        (RAW, OTHER.public_key().public_bytes_raw(), Outcome.SIGNER_AUTHORITY_FAILED),
        (sealed(signer_did=did_of("urn:another")), keys(), Outcome.SIGNER_AUTHORITY_FAILED),
        (sealed(signer_did=did_of("urn:another")), None, Outcome.SIGNER_AUTHORITY_FAILED),
        (sealed(OTHER), keys(), Outcome.SIGNATURE_INVALID),
        (sealed(OTHER, signer_did=PUBLIC.hex()), None, Outcome.SIGNATURE_INVALID),
        (DID, OTHER.public_key().public_bytes_raw(), Outcome.SIGNATURE_INVALID),
        (sealed(signer_did="did:web:example.org"), keys(), Outcome.SIGNATURE_INVALID),
        (sealed(signer_did=PUBLIC.hex().upper()), keys(), Outcome.SIGNATURE_INVALID),
        (sealed(schema_version="cycles-evidence/v0.2"), keys(), Outcome.SIGNATURE_INVALID),
        (sealed(artifact_type="reserve"), keys(), Outcome.SIGNATURE_INVALID),
        (sealed(payload={"commit": {}, "reserve": {}}), keys(), Outcome.SIGNATURE_INVALID),
        (sealed(artifact_type="event", payload={"event": {}}), keys(), Outcome.SIGNATURE_INVALID),
        (sealed(artifact_type=["commit"]), keys(), Outcome.SIGNATURE_INVALID),
        (sealed(artifact_type={}), keys(), Outcome.SIGNATURE_INVALID),
        (sealed(issued_at_ms=str(NOW)), keys(), Outcome.SIGNATURE_INVALID),
        (sealed(trace_id=7), keys(), Outcome.SIGNATURE_INVALID),
        (DID | {"evidence_id": DID["evidence_id"].upper()}, keys(), Outcome.SIGNATURE_INVALID),
        (DID | {"signature": DID["signature"].upper()}, keys(), Outcome.SIGNATURE_INVALID),
        (DID | {"added": 1}, keys(), Outcome.SIGNATURE_INVALID),
        ({name: value for name, value in DID.items() if name != "signature"}, keys(), Outcome.SIGNATURE_INVALID),
        (sealed(added={"by": "a newer server"}), keys(), Outcome.AUTHENTIC),
        (sealed(issued_at_ms=NOW, trace_id="0" * 32, payload={"commit": {"x": 1.5e-7}}), keys(), None),
    ],
)
def test_outcomes(envelope, known, outcome):
    for form in (envelope, json.dumps(envelope), json.dumps(envelope, indent=3, ensure_ascii=False).encode()):
        found = verify(form, known)
        if outcome is not None:
            assert found.outcome is outcome, found
        assert bool(found) is (found.outcome is Outcome.AUTHENTIC)
        assert found.reason


def test_an_envelope_shows_what_it_says():
    found = verify(DID, keys())
    assert (found.evidence_id, found.artifact_type) == (DID["evidence_id"], "commit")
    assert (found.server_id, found.signer_did) == (SERVER, did_of())
    assert found.issued_at.timestamp() * 1000 == NOW
    assert found.content["status"] == "COMMITTED"
    assert repr(found) == "<Verification authentic: signed by a key of the server>"
    nothing = verify("[]", keys())
    assert (nothing.evidence_id, nothing.issued_at, nothing.content, nothing.envelope) == (None, None, {}, {})
    assert verify({"issued_at_ms": 1e300}, keys()).issued_at is None


def test_the_server_may_be_named():
    assert verify(DID, keys(), server_id=SERVER)
    for known in (keys(), PUBLIC, None):
        found = verify(DID, known, server_id="urn:another")
        assert found.outcome is Outcome.SIGNER_AUTHORITY_FAILED


def test_without_a_key_set_what_is_broken_is_broken_all_the_same():
    for envelope, outcome in (
        (DID, Outcome.SIGNER_RESOLUTION_FAILED),
        (RAW, Outcome.SIGNER_RESOLUTION_FAILED),
        (DID | {"issued_at_ms": 1}, Outcome.SIGNATURE_INVALID),
        (sealed(signer_did=did_of("urn:another")), Outcome.SIGNER_AUTHORITY_FAILED),
    ):
        assert evidence.unresolved(envelope, "nobody answers").outcome is outcome


# -- windows -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("envelope", [DID, RAW])
@pytest.mark.parametrize(
    ("window", "good"),
    [
        ((NOW, NOW + 1), True),
        ((NOW, None), True),
        ((NOW + 1, None), False),
        ((0, NOW), False),
        ((NOW, NOW), False),
        ((NOW + 1, NOW - 1), False),
    ],
)
def test_a_key_is_good_in_its_window(envelope, window, good):
    begins, ends = window
    for known in (
        jwk(cycles_nbf_ms=begins, cycles_exp_ms=ends),
        jwk(cycles_nbf_ms=begins, cycles_exp_ms=ends, status="retired"),
    ):
        expected = Outcome.AUTHENTIC if good else Outcome.SIGNER_AUTHORITY_FAILED
        assert verify(envelope, keys(known)).outcome is expected
    if ends is None:
        known = jwk(cycles_nbf_ms=begins)
        del known["cycles_exp_ms"]
        assert bool(verify(envelope, keys(known))) is good


def test_after_a_rotation_each_key_is_good_for_its_own():
    old, new = KEY, OTHER
    known = keys(
        jwk(cycles_nbf_ms=0, cycles_exp_ms=NOW),
        jwk(new.public_key().public_bytes_raw(), kid="k2", cycles_nbf_ms=NOW, cycles_exp_ms=None),
    )
    assert verify(sealed(old, issued_at_ms=NOW - 1), known)
    assert verify(sealed(new, signer_did=did_of(kid="k2")), known)
    assert verify(sealed(old), known).outcome is Outcome.SIGNER_AUTHORITY_FAILED
    early = sealed(new, signer_did=did_of(kid="k2"), issued_at_ms=NOW - 1)
    assert verify(early, known).outcome is Outcome.SIGNER_AUTHORITY_FAILED


def test_one_name_for_two_keys_means_the_one_whose_window_it_is():
    new = OTHER.public_key().public_bytes_raw()
    known = keys(jwk(cycles_nbf_ms=0, cycles_exp_ms=NOW + 1), jwk(new, cycles_nbf_ms=NOW + 1, cycles_exp_ms=None))
    assert verify(DID, known)
    assert verify(sealed(OTHER), known).outcome is Outcome.SIGNATURE_INVALID
    assert verify(sealed(OTHER, issued_at_ms=NOW + 1), known)


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


# -- keys --------------------------------------------------------------------------------------------------------------
def test_foreign_and_odd_keys_are_skipped():
    odd = [
        "no object",
        jwk(kty="EC"),
        jwk(crv="X25519"),
        jwk(alg="ES256"),
        jwk(kid=7),
        jwk(x=7),
        jwk(x="é" * 43),
        jwk(x=jwk()["x"] + "="),
        jwk(x=jwk()["x"][:-1]),
        jwk(x="!" * 43),
        jwk(cycles_nbf_ms=1.5),
        jwk(cycles_nbf_ms=True),
        jwk(cycles_exp_ms="later"),
    ]
    assert KeySet.of(keys(*odd)).keys == ()
    found = KeySet.of(keys(*odd, {name: value for name, value in jwk().items() if name != "alg"}))
    assert [key.kid for key in found.keys] == ["k1"]
    assert verify(DID, found)


def test_keys_come_in_several_forms(tmp_path):
    file, pinned = tmp_path / "keys.json", tmp_path / "pinned"
    file.write_text(json.dumps(keys()))
    pinned.write_text(PUBLIC.hex() + "\n")
    for known in (
        file,
        str(file),
        pinned,
        KeySet.load(file),
        KeySet.of(json.dumps(keys())),
        KeySet.pinned(PUBLIC.hex()),
    ):
        assert verify(DID, known), known
    assert repr(KeySet.of(keys())) == "<KeySet k1>"
    assert repr(KeySet.pinned(PUBLIC)) == "<KeySet pinned>"
    assert repr(KeySet(())) == "<KeySet of no key>"


@pytest.mark.parametrize(
    ("known", "kind", "said"),
    [
        ("nowhere.json", ConfigError, "No such file"),
        (b"short", InvalidRequest, "32 bytes"),
        ({"keys": "k"}, InvalidRequest, "no key set"),
        ("https://authority.example/v1/.well-known/cycles-jwks.json", InvalidRequest, "verify sends nothing"),
        (7, InvalidRequest, "keys=int"),
    ],
)
def test_what_is_no_key(known, kind, said):
    with pytest.raises(kind, match=said):
        verify(DID, known)


def test_other_things_that_are_no_keys(tmp_path):
    for key, said in (("AB" * 32, "64 lower-case"), (7, "32 bytes")):
        with pytest.raises(InvalidRequest, match=said):
            KeySet.pinned(key)
    for text in ("[]", "{", "7"):
        with pytest.raises(InvalidRequest, match="key set"):
            KeySet.of(text)
    (tmp_path / "keys").write_text("[]")
    with pytest.raises(ConfigError, match="keys: it is no key set"):
        KeySet.load(tmp_path / "keys")


@pytest.mark.parametrize("missing", ["rfc8785", "cryptography"])
def test_without_the_extra_it_says_so(monkeypatch, missing):
    monkeypatch.setitem(__import__("sys").modules, missing, None)
    with pytest.raises(ConfigError, match=re.escape(install("evidence"))):
        verify(DID, keys())


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
