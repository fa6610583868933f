"""Encoders that are made once write what `json.dumps` writes."""

from __future__ import annotations

import json
from json import encoder as encoders

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cycles.local.ledger import encoding
from cycles.local.ledger.encoding import Answer, answer, canonical, compact, text_of

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_the_text_is_that_of_the_library(value):
    plain = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    assert (compact(value), answer(value)) == (plain, plain)
    assert canonical(value) == json.dumps(value, sort_keys=True)


def test_nan_is_written_to_rows_only():
    assert compact([float("nan")]) == "[NaN]"
    with pytest.raises(ValueError, match="not JSON compliant"):
        answer([float("nan")])


def test_a_python_without_the_encoder_in_c(monkeypatch):
    monkeypatch.setattr(encoders, "c_make_encoder", None)
    assert encoding.encoder()({"ä": [1, 2.5, None]}) == '{"ä":[1,2.5,null]}'


def test_an_answer_is_encoded_once(monkeypatch):
    body = Answer(status="COMMITTED", balances=[])
    assert (text_of(body), text_of({"a": 1})) == ('{"status":"COMMITTED","balances":[]}', '{"a":1}')
    monkeypatch.setattr(encoding, "answer", None)
    assert text_of(body) == '{"status":"COMMITTED","balances":[]}'
