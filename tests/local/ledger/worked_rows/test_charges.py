"""What commits, releases and events charge, give back and leave owing."""

from __future__ import annotations

import pytest

from tests.local.ledger.world import AGENT, shows

from .expected import OVERDRAFT, REJECT, refused


def test_01_reserve(ledger):
    ledger.budget(1000)
    answer = ledger.reserve(500)
    assert shows(ledger.row(), R=500, V=500, S=0)
    assert answer["remaining_ttl_ms"] == 60_000


@pytest.mark.parametrize(
    ("row", "amount", "released", "figures"),
    [
        (2, 300, 200, {"R": 700, "V": 0, "S": 300}),
        (3, 500, None, {"R": 500, "V": 0, "S": 500}),
        (4, 0, 500, {"R": 1000, "V": 0, "S": 0}),
        (6, 800, None, {"R": 200, "V": 0, "S": 800, "O": False}),
    ],
)
def test_02_03_04_06_commit(ledger, row, amount, released, figures):
    ledger.budget(1000)
    answer = ledger.commit(ledger.reserve(500), amount)
    assert answer["charged"]["amount"] == amount
    assert answer.get("released", {}).get("amount") == released
    assert shows(ledger.row(), **figures)


def test_05_reject_over_by_one(ledger):
    ledger.budget(1000)
    held = ledger.reserve(500, **REJECT)
    with refused("BUDGET_EXCEEDED"):
        ledger.commit(held, 501)
    assert shows(ledger.row(), R=500, V=500)
    assert ledger.hold(held).status == "ACTIVE"


@pytest.mark.parametrize(
    ("row", "allocated", "actual", "charged", "figures"),
    [
        (7, 1000, 1300, 1000, {"R": 0, "V": 0, "S": 1000, "D": 0, "O": True}),
        (8, 800, 900, 800, {"R": 0, "S": 800, "O": True}),
    ],
)
def test_07_08_capped(ledger, row, allocated, actual, charged, figures):
    ledger.budget(allocated)
    answer = ledger.commit(ledger.reserve(800), actual)
    assert answer["charged"]["amount"] == charged
    assert "released" not in answer
    assert shows(ledger.row(), **figures)
    with refused("OVERDRAFT_LIMIT_EXCEEDED"):
        ledger.reserve(0)


@pytest.mark.parametrize(
    ("row", "held", "actual", "figures"),
    [
        (9, 500, 900, {"R": 100, "S": 900, "D": 0}),
        (10, 800, 1050, {"R": -50, "S": 1000, "D": 50, "O": False}),
        (11, 800, 1100, {"R": -100, "S": 1000, "D": 100, "O": False}),
    ],
)
def test_09_10_11_overdraft(ledger, row, held, actual, figures):
    ledger.budget(1000, overdraft_limit=100)
    assert ledger.commit(ledger.reserve(held, **OVERDRAFT), actual)["charged"]["amount"] == actual
    assert shows(ledger.row(), **figures)


def test_12_overdraft_past_its_limit(ledger):
    ledger.budget(1000, overdraft_limit=100)
    held = ledger.reserve(800, **OVERDRAFT)
    with refused("OVERDRAFT_LIMIT_EXCEEDED"):
        ledger.commit(held, 1101)
    assert shows(ledger.row(), R=200, V=800)


def test_13_second_overdraft_from_below_zero(ledger):
    ledger.budget(1000, overdraft_limit=500)
    first, second = ledger.reserve(400, **OVERDRAFT), ledger.reserve(600, **OVERDRAFT)
    ledger.commit(first, 500)
    assert shows(ledger.row(), R=-100, V=600, S=400, D=100)
    ledger.commit(second, 650)
    assert shows(ledger.row(), R=-150, V=0, S=1000, D=150)
    for amount in (1, 0):
        with refused("BUDGET_EXCEEDED"):
            ledger.reserve(amount)


def test_14_debt_survives_an_under_spend(ledger):
    ledger.budget(1000, overdraft_limit=100)
    first, second = ledger.reserve(300, **OVERDRAFT), ledger.reserve(650, **OVERDRAFT)
    ledger.commit(first, 400)
    assert shows(ledger.row(), R=-50, V=650, S=350, D=50)
    ledger.commit(second, 500)
    assert shows(ledger.row(), R=100, V=0, S=850, D=50)
    ledger.reserve(100)
    with refused("BUDGET_EXCEEDED"):
        ledger.reserve(1)


def test_15_overdraft_without_a_limit_caps(ledger):
    ledger.budget(1000)
    assert ledger.commit(ledger.reserve(800, **OVERDRAFT), 1100)["charged"]["amount"] == 1000
    assert shows(ledger.row(), R=0, S=1000, D=0, O=True)


def test_16_only_the_short_scope_is_marked(ledger):
    ledger.budget(150)
    ledger.budget(1000, AGENT)
    assert ledger.commit(ledger.reserve(100, agent=True), 200)["charged"]["amount"] == 150
    assert shows(ledger.row(), R=0, S=150, O=True)
    assert shows(ledger.row(AGENT), R=850, S=150, O=False)


def test_17_a_parent_without_limit_caps_the_childs_debt(ledger):
    ledger.budget(150)
    ledger.budget(120, AGENT, overdraft_limit=50)
    assert ledger.commit(ledger.reserve(100, agent=True, **OVERDRAFT), 200)["charged"]["amount"] == 150
    assert shows(ledger.row(), R=0, S=150, O=True)
    assert shows(ledger.row(AGENT), D=30, R=-30, S=120, O=False)


def test_18_the_childs_limit_is_too_small(ledger):
    ledger.budget(130)
    ledger.budget(110, AGENT, overdraft_limit=10)
    held = ledger.reserve(100, agent=True, **OVERDRAFT)
    with refused("OVERDRAFT_LIMIT_EXCEEDED"):
        ledger.commit(held, 200)


def test_19_release(ledger):
    ledger.budget(1000)
    assert ledger.release(ledger.reserve(400))["released"]["amount"] == 400
    assert shows(ledger.row(), R=1000, V=0)


def test_36_events(ledger):
    ledger.budget(1000)
    assert "charged" not in ledger.event(300, **REJECT)
    assert shows(ledger.row(), R=700, S=300)
    with refused("BUDGET_EXCEEDED"):
        ledger.event(701, **REJECT)
    ledger.budget(1000)
    assert ledger.event(1500)["charged"]["amount"] == 1000
    assert shows(ledger.row(), R=0, O=True)
    ledger.budget(1000, overdraft_limit=100)
    assert "charged" not in ledger.event(1080, **OVERDRAFT)
    assert shows(ledger.row(), R=-80, S=1000, D=80)
    ledger.budget(1000, overdraft_limit=100)
    with refused("OVERDRAFT_LIMIT_EXCEEDED"):
        ledger.event(1101, **OVERDRAFT)
    ledger.budget(1000)
    assert ledger.event(1500, **OVERDRAFT)["charged"]["amount"] == 1000
    assert shows(ledger.row(), O=True)


@pytest.mark.parametrize(
    ("fields", "figures"), [({"is_over_limit": True}, {"R": 990}), ({"debt": 5}, {"R": 985, "D": 5})]
)
def test_37_events_ignore_over_limit_and_debt(ledger, fields, figures):
    ledger.budget(1000, **fields)
    ledger.event(10, **REJECT)
    assert shows(ledger.row(), S=10, **figures)


def test_38_event_on_two_scopes(ledger):
    ledger.budget(50)
    ledger.budget(950, AGENT)
    assert ledger.event(300, agent=True)["charged"]["amount"] == 50
    assert shows(ledger.row(), R=0, S=50, O=True)
    assert shows(ledger.row(AGENT), R=900, S=50, O=False)
