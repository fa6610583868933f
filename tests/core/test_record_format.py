"""The format of records: what is written comes back, and what is no record says why."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cycles
from cycles import tokens
from cycles._core.record_format import UnusableRecord, dump, load, name_of
from cycles._core.records import Floor
from tests.support.records import pending

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc"), inner, max_size=3),
)


@given(
    held=st.none() | st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=128),
    amount=st.integers(0, 2**63 - 1),
    metadata=st.none() | st.dictionaries(st.text("abc"), json_values, max_size=4),
    by_event=st.booleans(),
    provisional=st.booleans(),
    floor=st.none() | st.tuples(st.integers(0, 2**53), st.integers(0, 2**53)),
)
def test_a_record_comes_back_as_it_was_written(held, amount, metadata, by_event, provisional, floor):
    original = pending(
        held,
        actual=tokens(amount),
        metadata=metadata,
        metrics=cycles.Metrics(tokens_input=7, model_version="m"),
        by_event=by_event or held is None,
        provisional=provisional,
        floor=None if floor is None else Floor(*floor),
    )
    found, owner = load(dump(original, "me", "now"), name_of(original))
    assert owner == "me"
    assert dump(found, "me", "now") == dump(original, "me", "now")
    assert found.event_body().to_dict() == original.event_body().to_dict()
    if held is not None:
        assert found.commit_body().to_dict() == original.commit_body().to_dict()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"version": 1}, "version 1"),
        ({"version": None}, "version None"),
        ({"mode": "pay"}, "mode 'pay'"),
        ({"reservation_id": None}, "with reservation None"),
        ({"reservation_id": 7}, "reservation_id"),
        ({"idempotency_key": ""}, "idempotency_key"),
        ({"idempotency_key": "k" * 5000}, "idempotency_key"),
        ({"actual": {"unit": "TOKENS", "amount": 1.5}}, "DecodeError"),
        ({"actual": None}, "Error"),
        ({"subject": []}, "Error"),
        ({"metadata": "text"}, "metadata"),
        ({"not_before": {"until_ms": 1}}, "not_before"),
        ({"not_before": {"set_at_ms": True, "until_ms": 1}}, "not_before"),
        ({"reservation_id": "another"}, "its name"),
    ],
)
def test_what_is_no_record_says_why(change, why):
    record = json.loads(dump(pending(), None, "")) | change
    with pytest.raises(UnusableRecord, match=why):
        load(json.dumps(record).encode(), name_of(pending()))


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"", "not JSON"), (b"{", "not JSON"), (b"[]", "not a JSON object"), (b"7", "not a JSON object")],
)
def test_json_that_is_no_object_says_why(content, why):
    with pytest.raises(UnusableRecord, match=why):
        load(content)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_record_or_say_why(content):
    with pytest.raises(UnusableRecord):
        load(content)


@pytest.mark.parametrize("field", json.loads(dump(pending(), None, "")))
def test_a_record_without_a_field_says_why(field):
    record = json.loads(dump(pending(), None, ""))
    del record[field]
    if field == "reported_key":  # records of earlier versions have none
        assert load(json.dumps(record).encode())[0].reported_key is None
    elif field in ("written_at", "owner"):
        assert load(json.dumps(record).encode())[1] is None
    else:
        with pytest.raises(UnusableRecord):
            load(json.dumps(record).encode())
