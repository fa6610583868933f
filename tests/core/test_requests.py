"""What may be sent: subjects, actions, texts, metadata and metrics."""

from __future__ import annotations

import pytest

import cycles
from cycles._core import requests
from cycles._core.requests import checked_metrics, metadata_of
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


@pytest.mark.parametrize("metadata", [[1], {1: "x"}, "text"])
def test_metadata_is_a_mapping_from_texts(metadata):
    with pytest.raises(cycles.InvalidRequest, match="metadata: give a mapping"):
        metadata_of("metadata", metadata)


def test_metrics_that_can_not_be_sent_are_refused():
    with pytest.raises(cycles.InvalidRequest, match="give a cycles"):
        checked_metrics({"tokens_input": 1})
    with pytest.raises(cycles.InvalidRequest, match="metrics: "):
        checked_metrics(models.StandardMetrics(custom={"x": object()}))
