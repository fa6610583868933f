"""Encoders that are made once, and orjson, write what `json.dumps` writes."""

from __future__ import annotations

import json
from json import encoder as encoders

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cycles.local.ledger import encoding
from cycles.local.ledger.encoding import Answer, answer, canonical, compact, encoder, text_of

LEAVES = st.none() | st.booleans() | st.integers() | st.text()
FLOATS = st.floats(allow_nan=False, allow_infinity=False)


def values(leaves):
    return st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.lists(inner, max_size=4).map(tuple)
            | st.dictionaries(st.text(), inner, max_size=4)
        ),
        max_leaves=12,
    )


def written(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@pytest.fixture(params=["with orjson", "without"])
def text_of_answer(request, monkeypatch):
    """`Answer.text` of a body, with each encoder that it may have."""
    if request.param == "without":
        monkeypatch.setattr(encoding, "dumps", None)
        monkeypatch.setattr(encoding, "_answer", encoding._quickened(answer))
    else:
        pytest.importorskip("orjson", reason="the extra `server` has it")
    return lambda body: Answer(body).text


@given(values(LEAVES | FLOATS))
def test_the_text_is_that_of_the_library(value):
    assert encoder()(value) == answer(value) == written(value)
    assert canonical(value) == json.dumps(value, sort_keys=True)


@given(values(LEAVES))
def test_rows_are_the_same_whatever_encodes_them(value):
    """Also integers beyond 64 bits, which orjson refuses, and every character."""
    assert compact(value) == written(value)


@given(values(LEAVES | FLOATS))
def test_the_floats_of_rows_are_the_same_numbers(value):
    assert json.loads(compact(value)) == json.loads(written(value))


@pytest.mark.parametrize("text", ["".join(map(chr, range(0x250))), "\u2028\u2029\ufeff\ufffe\U0001f600", "\x7f\x80"])
@pytest.mark.parametrize("number", [0, -1, 2**53 + 1, 2**63 - 1, -(2**63), 2**64, 10**30])
def test_answers_are_the_same_to_the_byte(text_of_answer, text, number):
    body = {"text": text, text: [number, (number, None), {"a": True, "b": False}], "nested": Answer(x=[])}
    assert text_of_answer(body) == written(body)


def test_nan_is_in_no_answer():
    with pytest.raises(ValueError, match="not JSON compliant"):
        answer([float("nan")])


def test_a_python_without_the_encoder_in_c(monkeypatch):
    monkeypatch.setattr(encoders, "c_make_encoder", None)
    assert encoder()({"ä": [1, 2.5, None]}) == '{"ä":[1,2.5,null]}'


def test_an_answer_is_encoded_once(monkeypatch):
    body = Answer(status="COMMITTED", balances=[])
    assert (text_of(body), text_of({"a": 1})) == ('{"status":"COMMITTED","balances":[]}', '{"a":1}')
    monkeypatch.setattr(encoding, "_answer", None)
    assert text_of(body) == '{"status":"COMMITTED","balances":[]}'
