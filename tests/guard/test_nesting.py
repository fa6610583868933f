"""Guards inside guards: both are held, and that is said once for each pair."""

from __future__ import annotations

import asyncio

import pytest

import cycles
from cycles import tokens, usd
from cycles._guard import nesting
from tests.support.authorities import ACTION, SCOPE


@pytest.fixture(autouse=True)
def _nothing_said_yet(monkeypatch):
    monkeypatch.setattr(nesting, "_said", {})


@pytest.fixture
def said(caplog):
    def lines():
        return [
            (record.levelname, record.cycles_outer, record.cycles_inner)
            for record in caplog.records
            if record.cycles_event == "guard inside a guard, both are held"
        ]

    return lines


CHAT, SEARCH = "llm.completion gpt-4o", "tool.search web"


@pytest.fixture
def nest(authority):
    """Run guards inside each other, as often as wanted; each is the fields of a guard."""
    with authority.client(tenant="acme") as client:

        def nested(*guards, times=1):
            def run(rest):
                if rest:
                    fields = {"estimate": usd("0.01"), "action": ACTION, "client": client, **rest[0]}
                    cycles.Guard(**fields)(lambda: run(rest[1:]))()

            for _ in range(times):
                run(guards)

        yield nested


def test_it_is_said_once_for_each_pair(nest, said, caplog, figures):
    search = {"action": ("tool.search", "web")}
    nest({}, search, times=3)
    assert said() == [("WARNING", CHAT, SEARCH)]
    assert "cycles.Limit" in caplog.text
    nest({}, {}, times=2)
    nest({}, search)
    assert said() == [("WARNING", CHAT, SEARCH), ("WARNING", CHAT, CHAT)]
    assert figures() == (12, 0, 88)  # each is held and charged by itself


def test_with_blocks_streams_and_coroutines_say_it_too(authority, said):
    def guard(name, client):
        return cycles.Guard(usd("0.01"), action=("k", name), client=client)

    async def run():
        async with authority.async_client(tenant="acme") as client:

            @guard("inner", client)
            async def inner():
                pass

            @guard("stream", client)
            async def stream():
                await inner()
                yield 1

            async with guard("block", client):
                async for _ in stream():
                    pass

    asyncio.run(run())
    assert said() == [("WARNING", "k block", "k stream"), ("WARNING", "k stream", "k inner")]


@pytest.mark.parametrize("guards", [({}, {"dry_run": True}), ({}, {"estimate": tokens(5)})])
def test_what_is_not_held_twice_is_not_said(nest, said, authority, guards):
    authority.budget(SCOPE, tokens(100))
    nest(*guards)
    assert said() == []


def test_another_tenants_budget_is_not_held_twice(authority, said):
    authority.budget("tenant:other", usd("1.00"))
    with authority.client(tenant="acme") as acme, authority.client(tenant="other") as other:
        inner = cycles.Guard(usd("0.01"), action=ACTION, client=other)(lambda: None)
        cycles.Guard(usd("0.01"), action=ACTION, client=acme)(inner)()
    assert said() == []


def test_a_section_that_was_settled_is_not_around(authority, said):
    with authority.client(tenant="acme") as client:
        guards = [cycles.Guard(usd("0.01"), action=ACTION, client=client) for _ in range(2)]
        with guards[0] as reservation:
            reservation.commit(usd("0.01"))
            with guards[1]:
                pass
    assert said() == []


def test_one_after_the_other_is_not_nested(nest, said):
    nest({}, times=3)
    assert said() == []


def test_names_made_for_each_call_do_not_fill_the_memory(nest, said):
    for number in range(nesting._MOST + 5):
        nest({"estimate": usd("0.0001"), "action": ("k", f"run-{number}")}, {"estimate": usd("0.0001")})
    assert len(said()) == len(nesting._said) == nesting._MOST
