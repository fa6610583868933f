"""A tool call runs once, however often its framework replays it, and is charged once."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

import cycles
from cycles import usd
from cycles.integrations import ToolCall, ToolCallReplayed, tool_call_key
from cycles.integrations._tool_calls import authority_of
from tests.support.authorities import SCOPE

COST = usd("0.02")


@pytest.fixture(params=["sync", "async"])
def calling(request, authority):
    """A function that runs one tool call: *tool* inside its section, in blocking or in asynchronous code."""
    clients = []

    def call(tool=lambda: "found", *, run_id="thread-1", call_id="call-1", limit=None, **options):
        if request.param == "sync":
            client = authority.client(tenant="acme")
            clients.append(client)
            made = ToolCall("search", COST, run_id=run_id, call_id=call_id, authority=authority_of(client), **options)
            with made.running() as reservation:
                assert cycles.current() is reservation
                return tool()

        async def work():
            async with authority.async_client(tenant="acme") as client:
                held = authority_of(client)
                made = ToolCall("search", COST, run_id=run_id, call_id=call_id, authority=held, **options)
                async with made.arunning() as reservation:
                    assert cycles.current() is reservation
                    return tool()

        return asyncio.run(work())

    yield call
    for client in clients:
        client.close()


def _fail():
    raise LookupError("nothing there")


def test_a_call_is_charged_what_its_tool_costs(calling, figures, authority):
    assert calling() == "found"
    assert figures() == (2.0, 0.0, 98.0)
    (hold,) = authority.reservations()
    assert hold.action == {"kind": "tool.call", "name": "search"}
    assert hold.committed_metadata is None  # the price is known: it is no guess
    assert hold.metadata["tool_call"]["call_id"] == "call-1"


def test_a_replay_does_not_run_the_tool(calling, figures):
    ran = []
    calling(lambda: ran.append(1))
    with pytest.raises(ToolCallReplayed, match="'call-1' of 'search' has begun before") as refused:
        calling(lambda: ran.append(2))
    assert (ran, refused.value.state, refused.value.code) == ([1], "COMMITTED", "TOOL_CALL_REPLAYED")
    assert refused.value.reservation_id is not None
    assert not refused.value.is_retryable
    assert figures() == (2.0, 0.0, 98.0)


def test_other_calls_and_other_runs_run(calling, figures):
    calling()
    calling(call_id="call-2")
    calling(run_id="thread-2")
    assert figures() == (6.0, 0.0, 94.0)


def test_a_call_that_failed_is_tried_again(calling, figures):
    """And again; then it has run, and is not run any more."""
    for _ in range(3):
        with pytest.raises(LookupError):
            calling(_fail)
    assert figures() == (0.0, 0.0, 100.0)
    assert calling() == "found"
    with pytest.raises(ToolCallReplayed):
        calling()
    assert figures() == (2.0, 0.0, 98.0)


def test_a_failed_call_that_was_charged_is_not_tried_again(calling, figures):
    with pytest.raises(LookupError):
        calling(_fail, on_error="estimate")
    with pytest.raises(ToolCallReplayed):
        calling(on_error="estimate")
    assert figures() == (2.0, 0.0, 98.0)


def test_a_call_that_was_denied_may_be_tried_again(calling, authority, figures):
    authority.budget(SCOPE, usd("0.01"))
    ran = []
    with pytest.raises(cycles.BudgetExceeded):
        calling(lambda: ran.append(1))
    authority.budget(SCOPE, usd("1.00"))
    calling(lambda: ran.append(2))
    assert ran == [2]
    assert figures() == (2.0, 0.0, 98.0)


def test_a_call_that_is_still_running_is_not_run_beside_itself(calling, authority, figures):
    def tool():
        with authority.client(tenant="acme") as client:
            again = ToolCall("search", COST, run_id="thread-1", call_id="call-1", authority=authority_of(client))
            with pytest.raises(ToolCallReplayed) as refused, again.running():
                pytest.fail("it ran beside itself")
        assert refused.value.state == "ACTIVE"

    calling(tool)
    assert figures() == (2.0, 0.0, 98.0)


def test_a_call_whose_process_died_is_not_run_again(calling, authority, clock):
    """Nobody knows whether its side effect has happened."""
    with authority.client(tenant="acme") as client:
        dead = ToolCall("search", COST, run_id="thread-1", call_id="call-1", authority=authority_of(client))
        abandoned = dead.running()
        abandoned.__enter__()
        clock.advance(3600)
        with pytest.raises(ToolCallReplayed) as refused:
            calling()
        assert refused.value.state == "EXPIRED"
        with pytest.raises(ZeroDivisionError):
            abandoned.gen.throw(ZeroDivisionError())


def test_a_stored_denial_is_no_replay(authority, figures):
    """An authority may keep a DENY under the key: the next attempt asks under the next key."""
    key = tool_call_key("thread-1", "call-1")
    with authority.client(tenant="acme") as client:
        client.reserve(usd("5.00"), action=("tool.call", "search"), dry_run=True, idempotency_key=key)
        made = ToolCall("search", COST, run_id="thread-1", call_id="call-1", authority=authority_of(client))
        with made.running():
            pass
    assert figures() == (2.0, 0.0, 98.0)


def test_caps_forbid_a_tool(calling, authority, figures):
    authority.budget(SCOPE, usd("1.00"), caps={"tool_denylist": ["search"]})
    ran = []
    with pytest.raises(cycles.Denied, match="caps") as refused:
        calling(lambda: ran.append(1))
    assert refused.value.code == "TOOL_DENIED"
    assert ran == []
    assert figures() == (0.0, 0.0, 100.0)


def test_twenty_attempts_at_once_run_it_once(authority, figures):
    async def work():
        ran, refused = [], []
        gate = asyncio.Event()

        @asynccontextmanager
        async def counted():
            try:
                yield
            except ToolCallReplayed:
                refused.append(1)

        async with authority.async_client(tenant="acme") as client:
            held = authority_of(client)

            async def attempt():
                made = ToolCall("search", COST, run_id="r", call_id="c", authority=held)
                async with counted(), made.arunning():
                    ran.append(1)
                    await gate.wait()

            tasks = [asyncio.create_task(attempt()) for _ in range(20)]
            while len(refused) + len(ran) < 20:
                await asyncio.sleep(0)
            gate.set()
            await asyncio.gather(*tasks)
        return len(ran), len(refused)

    assert asyncio.run(work()) == (1, 19)
    assert figures() == (2.0, 0.0, 98.0)


def test_inside_a_limit_a_replay_does_not_run_either(authority, figures):
    """There no authority is asked, so the limit's own run remembers."""
    with authority.client(tenant="acme") as client:

        def call(tool=lambda: None, **options):
            made = ToolCall("search", COST, run_id="r", call_id="c", authority=authority_of(client), **options)
            with made.running():
                tool()

        for _ in range(2):  # each run is one of its own
            with cycles.Limit(usd("0.05"), action=("agent.run", "x"), client=client) as limit:
                with pytest.raises(LookupError):
                    call(_fail)
                call()
                with (
                    cycles.Limit(usd("0.02"), action=("agent.step", "x"), client=client),
                    pytest.raises(ToolCallReplayed),
                ):
                    call()
                assert limit.spent == COST
    assert figures() == (4.0, 0.0, 96.0)


def test_inside_a_limit_a_charged_failure_is_not_tried_again(authority):
    with (
        authority.client(tenant="acme") as client,
        cycles.Limit(usd("0.05"), action=("agent.run", "x"), client=client) as limit,
    ):
        held = authority_of(client)
        for error in (LookupError, ToolCallReplayed):
            made = ToolCall("search", COST, run_id="r", call_id="c", authority=held, on_error="estimate")
            with pytest.raises(error), made.running():
                _fail()
        assert limit.spent == COST


@pytest.mark.parametrize(
    ("run_id", "call_id"),
    [("", ""), ("r" * 10_000, "c"), ("run", "\ud800"), ("a", "b\x00c"), ("ü" * 300, "☃")],
)
def test_a_key_is_one_that_the_protocol_takes(calling, run_id, call_id):
    key = tool_call_key(run_id, call_id)
    assert key == tool_call_key(run_id, call_id)
    assert 1 <= len(tool_call_key(run_id, call_id, 99)) <= 256
    assert key.isascii()
    calling(run_id=run_id, call_id=call_id)


def test_keys_tell_runs_and_calls_apart():
    keys = {tool_call_key(*ids) for ids in [("a", "bc"), ("ab", "c"), ("abc", ""), ("", "abc"), ("a", "bc", 1)]}
    assert len(keys) == 5


def test_a_client_must_be_one():
    with pytest.raises(cycles.InvalidRequest, match="client="):
        authority_of("acme")  # type: ignore[arg-type]
