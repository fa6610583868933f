"""What a model is told about a call that was refused."""

from __future__ import annotations

import pytest

import cycles
from cycles.integrations import Refusal, ToolCallReplayed
from cycles.integrations._denials import checked_on_denied


def test_a_model_is_told_why_and_when_to_come_back():
    refusal = Refusal.of(cycles.BudgetExceeded("asked at tenant:acme", code="BUDGET_EXCEEDED", retry_after=30.0))
    assert refusal.as_dict() == {
        "text": refusal.text,
        "code": "BUDGET_EXCEEDED",
        "retry_after": 30.0,
        "status": "error",
    }
    assert str(refusal).endswith("(status: error, code: BUDGET_EXCEEDED, retry_after: 30)")
    assert "too little left" in refusal.text
    assert "after 30 seconds" in refusal.text


def test_a_model_is_not_told_the_operators_facts():
    error = cycles.BudgetExceeded("asked for $0.05 at tenant:acme", code="BUDGET_EXCEEDED", request_id="req-1")
    told = str(Refusal.of(error))
    assert "acme" not in told
    assert "req-1" not in told
    assert "retry_after" not in told


def test_a_reason_that_is_unknown_here_is_a_plain_refusal():
    refusal = Refusal.of(cycles.Denied("no", code="MOON_IS_FULL"))
    assert (refusal.code, refusal.status) == ("MOON_IS_FULL", "error")
    assert "not allowed" in refusal.text
    assert "code" not in str(Refusal.of(cycles.Denied("no")))


def test_a_replay_is_told_as_one():
    error = ToolCallReplayed("again", tool="search", state="COMMITTED", reservation_id="r")
    assert "begun before" in str(Refusal.of(error))


def test_what_a_denial_does_is_one_of_two():
    assert checked_on_denied("raise") == "raise"
    assert checked_on_denied("message") == "message"
    with pytest.raises(cycles.InvalidRequest, match="on_denied='ignore'"):
        checked_on_denied("ignore")
