"""Requests that must become smaller: an authority grants with caps, or denies what was asked for first."""

from __future__ import annotations

import pytest

import cycles
from tests.metering.metered import CHAT, Metered, completion, told

TOOLS = [{"type": "function", "function": {"name": name, "parameters": {}}} for name in ("search", "delete")]


def capped(side, authority, **caps):
    return Metered(side, authority, caps=caps)


def test_caps_lower_what_is_sent(side, authority):
    metered = capped(side, authority, max_tokens=50)
    metered.answers = [completion(told(20, 5)), completion(told(20, 5))]
    client = metered.client()
    metered.post(client)
    assert metered.body["max_completion_tokens"] == 50
    metered.post(client, {**CHAT, "max_completion_tokens": 7})
    assert metered.body["max_completion_tokens"] == 7, "never raised"


def test_caps_without_output_refuse(side, authority):
    metered = capped(side, authority, max_tokens=0)
    with pytest.raises(cycles.Denied, match="no output"):
        metered.post(metered.client())
    assert metered.sent == []
    assert metered.figures == (0, 0)


def test_a_cap_holds_for_what_was_predicted_too(side, authority):
    """What the model does not use of a prediction is billed as output, whatever `max_tokens` says."""
    metered = capped(side, authority, max_tokens=50)
    metered.answers = [completion(told(10, 5)), completion(told(10, 5))]
    prediction = {"type": "content", "content": "x" * 70}
    metered.post(metered.client(), body={**CHAT, "max_tokens": 40, "prediction": prediction})
    assert metered.body == {**CHAT, "max_tokens": 40}
    metered.post(metered.client(), body={**CHAT, "max_tokens": 40, "prediction": {**prediction, "content": "x" * 10}})
    assert metered.body["prediction"], "40 and 10 tokens are within the cap"


def test_a_cap_that_has_no_token_for_each_answer_refuses(side, authority):
    metered = capped(side, authority, max_tokens=2)
    with pytest.raises(cycles.Denied, match="asks for 3 at least") as denied:
        metered.post(metered.client(), body={**CHAT, "n": 3})
    assert denied.value.code == "MAX_TOKENS"
    assert metered.sent == []
    assert metered.figures == (0, 0)


@pytest.mark.parametrize("caps", [{"tool_denylist": ["delete"]}, {"tool_allowlist": ["search"]}])
def test_denied_tools_are_taken_out(side, authority, caps):
    metered = capped(side, authority, **caps)
    metered.answers = [completion(told(20, 5))]
    metered.post(metered.client(), {**CHAT, "tools": TOOLS})
    assert [tool["function"]["name"] for tool in metered.body["tools"]] == ["search"]


def test_a_cooldown_is_waited(side, authority, monkeypatch):
    waited = []
    metered = capped(side, authority, cooldown_ms=1500)
    metered.answers = [completion(told(20, 5))]
    monkeypatch.setattr("cycles._drivers.blocking.time.sleep", waited.append)

    async def slept(seconds):
        waited.append(seconds)

    monkeypatch.setattr("anyio.sleep", slept)
    metered.post(metered.client())
    assert waited == [1.5]


def test_steps_are_counted(side, authority):
    metered = capped(side, authority, max_steps_remaining=2)
    metered.answers = [completion(told(20, 5)), completion(told(20, 5))]
    client = metered.client()
    metered.post(client)
    metered.post(client)
    with pytest.raises(cycles.Denied, match="no step remains"):
        metered.post(client)
    assert len(metered.sent) == 2
    assert metered.figures == (50, 0)


# -- fitting -----------------------------------------------------------------------------------------------------------
def test_a_denied_request_is_fitted_into_what_remains(side, authority):
    metered = Metered(side, authority, budget=700)
    metered.answers = [completion(told(20, 5))]
    metered.post(metered.client(fit=True, estimate=lambda request: 100))
    assert metered.body["max_completion_tokens"] == 600


def test_too_little_is_not_worth_it(side, authority):
    metered = Metered(side, authority, budget=300)
    with pytest.raises(cycles.BudgetExceeded):
        metered.post(metered.client(fit=True, estimate=lambda request: 100))
    assert metered.sent == []
