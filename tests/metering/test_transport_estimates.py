"""What a request is reserved with: an estimate of the caller's own, tiktoken's count, or no bound of the input."""

from __future__ import annotations

import logging
import sys
import types

import pytest

import cycles
from tests.metering.metered import CHAT, Metered, completion, told


@pytest.fixture
def metered(side, authority):
    return Metered(side, authority)


def test_tiktoken_counts_the_input(metered, monkeypatch):
    class Tokens:
        def encode_ordinary(self, text):
            return text.split()

    def unknown(model):
        raise KeyError(model)

    tiktoken = types.SimpleNamespace(encoding_for_model=unknown, get_encoding={"o200k_base": Tokens()}.get)
    monkeypatch.setitem(sys.modules, "tiktoken", tiktoken)
    metered.answers = [completion()]
    metered.post(metered.client(estimate="tiktoken", max_output=300), {**CHAT, "user": "a b c d"})
    words = len(metered.sent[0].content.decode().split())
    assert metered.figures == (words + 256 + 300, 0), "256 for what the provider adds"


def test_an_input_that_nothing_bounds_is_said_once(metered, caplog):
    metered.answers = [completion(told(20, 5)), completion(told(20, 5))]
    client = metered.client()
    body = {**CHAT, "messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "f1"}}]}]}
    with caplog.at_level(logging.WARNING, "cycles.guard"):
        metered.post(client, body)
        metered.post(client, body)
    assert [record.cycles_event for record in caplog.records] == ["input without a bound"]
    assert metered.figures == (50, 0)


def test_tiktoken_is_named_when_it_is_missing(metered, monkeypatch):
    monkeypatch.setitem(sys.modules, "tiktoken", None)
    with pytest.raises(cycles.ConfigError, match="pip install tiktoken"):
        metered.post(metered.client(estimate="tiktoken"))


@pytest.mark.parametrize("given", [-1, 1.5, True, cycles.usd("0.01")])
def test_an_estimate_of_another_kind_is_refused(metered, given):
    with pytest.raises(cycles.InvalidRequest, match="estimate"):
        metered.post(metered.client(estimate=lambda request: given))
    assert metered.sent == []


def test_an_estimate_may_be_an_amount(metered):
    metered.answers = [completion()]
    metered.post(metered.client(estimate=lambda request: cycles.tokens(len(request["messages"]) * 77)))
    assert metered.figures == (77, 0)
