"""The list of events: what was charged without a reservation, on each store."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest
from attrs import evolve

from cycles import tokens
from cycles.errors import InvalidRequest
from cycles.local import LocalAuthority
from cycles.local.admin import spending
from cycles.local.store.encoding import EVENT_KEPT_MS
from tests.support.authorities import SCOPE
from tests.support.wire import Wire

KEYS = "abcdef"


def keys(authority, *arguments, **filters):
    return "".join(event.idempotency_key for event in authority.charged_events(*arguments, **filters))


@pytest.fixture
def charged(wire, authority):
    """Events a to f, a second apart; every other one is of an agent, and f is of another tenant."""
    authority.budget(SCOPE, tokens(1000))
    authority.budget("tenant:other", tokens(1000))
    wire.start = wire.clock.now
    for number, key in enumerate(KEYS[:-1]):
        subject = {"tenant": "acme"} | ({"agent": "Bot"} if number % 2 else {})
        assert wire.event(number, key=key, subject=subject).status_code == 201
        wire.clock.now += 1_000
    assert Wire(authority, wire.clock, "other").event(5, key="f").status_code == 201
    return wire


def test_an_event_is_listed_as_it_was_charged(wire, authority):
    authority.budget(SCOPE, tokens(10))
    notes = {
        "metadata": {"job": 7, "odd": "\0ü", "n": [1.5]},
        "metrics": {"tokens_input": 3},
        "client_time_ms": 5,
        "overage_policy": "ALLOW_IF_AVAILABLE",
    }
    subject = {"tenant": "acme", "agent": "Bot", "dimensions": {"team": "x"}}
    answer = wire.event(25, key="k\0", subject=subject, **notes).json()
    (event,) = authority.charged_events()
    assert event.event_id == answer["event_id"]
    assert (event.actual, event.charged, event.unit) == (25, 10, "TOKENS"), "what was not there was not charged"
    assert (event.subject, event.action) == (subject, {"kind": "k", "name": "n"})
    assert event.affected == ("tenant:acme", "tenant:acme/agent:bot")
    assert (event.tenant, event.idempotency_key, event.created_at_ms) == ("acme", "k\0", wire.clock.now)
    assert {name: getattr(event, name) for name in notes} == notes


def test_what_is_replayed_or_refused_is_listed_once_or_not_at_all(wire, authority):
    authority.budget(SCOPE, tokens(10))
    for key, amount, status in (("a", 4, 201), ("a", 4, 201), ("a", 5, 409), ("b", 90, 409)):
        assert wire.event(amount, key=key, overage_policy="REJECT").status_code == status
    assert keys(authority) == "a"


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, "fedcba"),
        ({"tenant": "acme"}, "edcba"),
        ({"tenant": "none"}, ""),
        ({"key": "c"}, "c"),
        ({"levels": {"agent": "BOT"}}, "db"),
        ({"levels": {"agent": "bo"}}, ""),
        ({"tenant": "other", "levels": {"agent": "bot"}}, ""),
    ],
)
def test_filters(charged, authority, filters, expected):
    assert keys(authority, **filters) == expected


def test_times_are_inclusive_and_exact(charged, authority):
    first, third = (datetime.fromtimestamp((charged.start + 1_000 * n) / 1000, UTC) for n in (0, 2))
    just = timedelta(microseconds=1)
    assert keys(authority, created=(first, third)) == "cba"
    assert keys(authority, created=(first + just, third - just)) == "b"
    assert keys(authority, "acme", created=(third, None)) == "edc"


def test_what_can_not_be_asked_for_is_refused_at_once(authority):
    with pytest.raises(InvalidRequest, match="there is no level 'scope'; there are tenant"):
        authority.charged_events(levels={"scope": "x"})
    with pytest.raises(InvalidRequest, match="has no zone"):
        authority.charged_events(created=(datetime(2026, 1, 1), None))  # noqa: DTZ001


@pytest.mark.parametrize("at_once", [1, 2, 5, 6, 7])
def test_every_page_begins_where_the_last_one_ended(charged, authority, monkeypatch, at_once):
    """Also among those of one millisecond, and while more are charged."""
    monkeypatch.setattr(spending, "AT_ONCE", at_once)
    for key in "ghi":
        assert charged.event(1, key=key).status_code == 201
    found = authority.charged_events("acme")
    shown = [next(found).idempotency_key]
    charged.clock.now += 1
    assert charged.event(1, key="j").status_code == 201
    shown += [event.idempotency_key for event in islice(found, 20)]  # one that begins anew would never end
    assert (sorted(shown[:3]), shown[3:]) == (list("ghi"), list("edcba"))


def test_events_go_after_thirty_days(charged, authority):
    charged.clock.now = charged.start + 1_000 + EVENT_KEPT_MS
    authority.sweep()
    assert keys(authority) == "fedcb"
    assert authority.check() == []


def test_a_transaction_that_is_undone_lists_nothing(charged, authority):
    another = evolve(next(authority.charged_events()), event_id="another")
    with pytest.raises(ZeroDivisionError), authority.store.writing() as books:
        books.put_event(another)
        raise ZeroDivisionError
    assert keys(authority) == "fedcba"


def test_check_finds_a_row_that_says_two_things(opened, path):
    opened.authority.close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE events SET charged = 3")
    with LocalAuthority(path) as authority:
        (problem,) = authority.check()
    assert problem.endswith("has two values of charged: 30 and 3")
