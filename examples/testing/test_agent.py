"""How to test an agent's spending: install the extra `testing`, and run pytest here. See docs/testing.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

import agent
import pytest

import cycles
from cycles import usd

if TYPE_CHECKING:
    from cycles.testing.plugin import AuthorityOfTest


def test_my_agent_stops_at_one_dollar(cycles_authority: AuthorityOfTest) -> None:
    thoughts = agent.work("chess")
    assert thoughts[-1] == "out of money"
    assert cycles_authority.spent().amount <= usd("1.00").amount
    assert cycles_authority.reserved() == usd("0"), "nothing is held by what was refused"


@pytest.mark.cycles(budget="usd:0.20")
def test_a_smaller_budget_buys_fewer_thoughts() -> None:
    assert agent.work("chess") == [*["chess is harder than it seems"] * 2, "out of money"]


def test_a_lost_commit_response_does_not_charge_twice(cycles_authority: AuthorityOfTest) -> None:
    lost = cycles_authority.faults.lose_response(operation="commit")
    agent.work("go", steps=1)
    assert lost.happened == 1
    commits = [seen for seen in cycles_authority.requests if seen.operation == "commit"]
    assert len({seen.idempotency_key for seen in commits}) == 1, "it was sent again under its own key"
    assert cycles_authority.spent() == usd("0.052")


def test_an_outage_stops_the_agent_and_costs_nothing(cycles_authority: AuthorityOfTest) -> None:
    with cycles_authority.faults.refuse_connection(times=None), pytest.raises(cycles.AuthorityUnavailable):
        agent.work("go")
    assert cycles_authority.spent() == usd("0")


@pytest.mark.cycles(caps={"tool_denylist": ["web"]})
def test_caps_are_honoured(cycles_authority: AuthorityOfTest) -> None:
    assert agent.search("go") == []
    assert cycles_authority.spent() == usd("0")
    assert [hold.status for hold in cycles_authority.reservations()] == ["RELEASED"]


def test_the_lease_expires_while_a_tool_hangs(
    cycles_authority: AuthorityOfTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hangs(question: str) -> list[str]:
        cycles_authority.advance(120)
        return [question]

    monkeypatch.setattr(agent, "read", hangs)
    assert agent.search("go") == ["go"]
    assert [event.type for event in cycles_authority.events] == ["reservation.expired"]
    assert cycles_authority.reserved() == usd("0"), "the hold is gone"
    assert cycles_authority.spent() == usd("0.02"), "and what was spent is charged all the same, by an event"


def test_a_frozen_budget_stops_everything(cycles_authority: AuthorityOfTest) -> None:
    cycles_authority.freeze(cycles_authority.scope, "USD_MICROCENTS")
    with pytest.raises(cycles.BudgetFrozen):
        agent.search("go")
