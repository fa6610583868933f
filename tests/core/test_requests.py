"""What may be sent: subjects, actions, texts, metadata and metrics."""

from __future__ import annotations

import re

import pytest

import cycles
from cycles._core import requests
from cycles._core.requests import checked_metrics, metadata_of, sendable_metadata, sendable_metrics
from cycles.amounts import tokens
from cycles.local import LocalAuthority
from cycles_api import models


def test_dimensions_are_sent():
    subject = requests.subject_of({"tenant": "acme"}, {"run": "7", "note": ""})
    assert subject.to_dict()["dimensions"] == {"run": "7", "note": ""}


def test_an_action_is_taken_as_it_is_or_with_other_tags():
    action = models.Action(kind="tool.pay", name="web", tags=["a"])
    assert requests.action_of(action, None).tags == ["a"]
    assert requests.action_of(action, ["b"]).tags == ["b"]


@pytest.mark.parametrize("text", ["\ud800", "a\udfff"])
def test_a_lone_surrogate_is_refused(text):
    with pytest.raises(cycles.InvalidRequest, match="lone surrogate"):
        requests.text("agent", text, most=128)


@pytest.mark.parametrize("metadata", [[1], "text", 5])
def test_metadata_is_a_mapping(metadata):
    with pytest.raises(cycles.InvalidRequest, match="metadata: give a mapping"):
        metadata_of("metadata", metadata)


def nested(levels, make=lambda inner: {"x": inner}):
    value = 1
    for _ in range(levels):
        value = make(value)
    return value


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({1: "x"}, r"metadata: the key 1 is no text"),
        ({"a": {"b": [{None: 1}]}}, r"metadata\.a\.b\[0\]: the key None is no text"),
        ({"a": {10**5000: 1}}, r"metadata\.a: the key int is no text"),
        ({"a": {("x" * 200,): 1}}, r"the key \('x+… is no text"),
        ({"n": 10**5000}, r"metadata\.n: a whole number of more than 1000 digits"),
        ({"n": [-(10**1000)]}, r"metadata\.n\[0\]: a whole number"),
        ({"n": float("inf")}, r"metadata: not JSON: metadata\.n is inf"),
        ({"n": float("nan")}, r"metadata: not JSON: metadata\.n is nan"),
        ({"x": "\udfff"}, "metadata: not JSON"),
        ({"x": b"bytes"}, "metadata: not JSON"),
        (nested(100), "metadata: nested deeper than 99 levels"),
        ({"x": nested(99, lambda inner: [inner])}, "metadata: nested deeper than 99 levels"),
    ],
)
def test_metadata_that_no_authority_reads_is_refused_and_the_place_is_named(metadata, message):
    with pytest.raises(cycles.InvalidRequest, match=message):
        metadata_of("metadata", metadata)


def test_metadata_that_holds_itself_is_refused():
    metadata = {}
    metadata["self"] = metadata
    with pytest.raises(cycles.InvalidRequest, match="nested deeper"):
        metadata_of("metadata", metadata)


def test_the_embedded_authority_reads_the_deepest_and_longest_metadata_that_are_sent():
    metadata = {"deep": nested(98), "long": 10**1000 - 1, "list": nested(97, lambda inner: [inner])}
    metrics = cycles.Metrics(custom={"deep": nested(97)})
    authority = LocalAuthority()
    authority.budget("tenant:acme", tokens(10))
    with authority.client(tenant="acme") as client:
        held = client.reserve(tokens(1), action=("k", "n"), metadata=metadata)
        settled = held.commit(tokens(1), metadata=metadata, metrics=metrics)
    assert (settled.error, settled.left_out) == (None, ())


BAD_METRICS = [
    ({"tokens_input": "5"}, r"metrics\.tokens_input='5': give a whole number"),
    ({"tokens_output": 1.0}, r"metrics\.tokens_output=1\.0"),
    ({"latency_ms": -1}, r"metrics\.latency_ms=-1"),
    ({"latency_ms": True}, r"metrics\.latency_ms=True"),
    ({"tokens_input": 10**5000}, r"metrics\.tokens_input=int"),
    ({"model_version": {"name": "gpt"}}, r"metrics\.model_version=\{'name': 'gpt'\}: give a text"),
    ({"model_version": "x" * 129}, r"metrics\.model_version=.*129 characters"),
    ({"model_version": "\ud800"}, "lone surrogate"),
    ({"custom": [1]}, r"metrics\.custom=\[1\]: give a mapping"),
    ({"custom": {"x": object()}}, r"metrics\.custom: not JSON"),
    ({"custom": nested(99)}, r"metrics\.custom: nested deeper than 98 levels"),
]


@pytest.mark.parametrize(("fields", "message"), BAD_METRICS)
def test_metrics_of_the_wrong_types_are_refused_and_the_figure_is_named(fields, message):
    with pytest.raises(cycles.InvalidRequest, match=message):
        checked_metrics(models.StandardMetrics(**fields))


@pytest.mark.parametrize(("fields", "message"), BAD_METRICS)
def test_of_metrics_that_go_along_with_a_charge_the_good_figures_are_sent(fields, message):
    good = {"tokens_input": 1, "tokens_output": 2, "latency_ms": 3, "model_version": "m", "custom": {"a": 1}}
    kept, wrong = sendable_metrics(models.StandardMetrics(**good | fields))
    assert kept.to_dict() == {name: value for name, value in good.items() if name not in fields}
    assert len(wrong) == 1
    assert re.search(message, wrong[0])


def test_of_metadata_that_go_along_with_a_charge_the_good_entries_are_sent():
    kept, wrong = sendable_metadata({"good": [1, None], "bad": {1}, 5: "no name"})
    assert kept == {"good": [1, None]}
    assert len(wrong) == 2
    assert sendable_metadata({"bad": {1}})[0] is None
    assert sendable_metadata("text") == (None, ["metadata: give a mapping from texts to JSON values, not str"])
    assert sendable_metadata(None) == (None, [])


def test_what_is_no_metrics_is_left_out_whole():
    kept, wrong = sendable_metrics({"tokens_input": 1})
    assert kept is None
    assert "give a cycles.Metrics" in wrong[0]
