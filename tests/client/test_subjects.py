"""Who spends: `cycles.subject`, values that the protocol refuses, and tenants that the key is not of."""

from __future__ import annotations

import asyncio
import contextvars
import shlex
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import trio

import cycles
from cycles import tokens, usd
from cycles._client.key_tenant import KeyTenant
from tests.support.authorities import ACTION

HELD = usd("0.01")


@pytest.fixture
def sync_client(authority):
    with authority.client(tenant="acme") as client:
        yield client


def spenders(authority):
    """The scope paths of all reservations, oldest first, below the tenant."""
    return [row.affected[-1].removeprefix("tenant:acme").lstrip("/") for row in authority.reservations()]


# -- which level wins --------------------------------------------------------------------------------------------------
def test_a_block_names_the_levels_of_what_happens_inside(side, guard, authority):
    with cycles.subject(workspace="zoe", agent="planner"), side.block(guard()):
        pass
    with side.block(guard()):
        pass
    # The portal's tasks take the context of the call along, as any task does.
    assert spenders(authority) == ["workspace:zoe/agent:planner", ""]


def test_the_guards_own_level_wins_then_the_innermost_block_then_the_configuration(authority):
    config = cycles.Config("local:", tenant="acme", api_key="k", app="shop", workflow="refund", toolset="web")
    config = config.replace(api_key=authority.session_key(tenant="acme"))
    with cycles.Client(config, http_client=authority.http_client()) as client:

        @cycles.Guard(HELD, action=ACTION, client=client, agent=lambda agent: agent)
        def work(agent):
            return None

        with cycles.subject(app="site", agent="outer"):
            work("own")
            with cycles.subject(workflow=None, workspace="zoe"):
                work("own")
                work(None)
                client.reserve(HELD, action=ACTION, workspace=None).release()
        work("own")
    assert spenders(authority) == [
        "app:site/workflow:refund/agent:own/toolset:web",
        "workspace:zoe/app:site/agent:own/toolset:web",
        "workspace:zoe/app:site/toolset:web",
        "app:site/agent:outer/toolset:web",
        "app:shop/workflow:refund/agent:own/toolset:web",
    ]


def test_reserve_decide_and_record_take_it_and_lists_do_not(side, authority):
    with cycles.subject(agent="a"):
        reservation = side.call(side.client.reserve, HELD, action=ACTION)
        decision = side.call(side.client.decide, HELD, action=ACTION)
        side.call(side.client.record, HELD, action=ACTION)
        side.call(reservation.release)
    with cycles.subject(agent="nobody"):
        rows = side.client.balances()
        found = side.call(_all, rows) if side.kind == "async" else list(rows)
    assert reservation.scope_path == decision.affected_scopes[-1] == "tenant:acme/agent:a"
    assert authority.requests[2].body["subject"] == {"tenant": "acme", "agent": "a"}
    assert [row.scope_path for row in found] == ["tenant:acme"]


async def _all(rows):
    return [row async for row in rows]


# -- where it reaches --------------------------------------------------------------------------------------------------
def test_it_ends_with_its_block_whatever_happens(sync_client, authority):
    with pytest.raises(ZeroDivisionError), cycles.subject(agent="a"):
        raise ZeroDivisionError
    sync_client.reserve(HELD, action=ACTION).release()
    assert spenders(authority) == [""]


def test_tasks_have_what_was_named_where_they_began(authority):
    async def run():
        async with authority.async_client(tenant="acme") as client:
            both = asyncio.Barrier(2)

            async def work():
                await both.wait()  # both are inside at once
                async with cycles.Guard(HELD, action=ACTION, client=client) as reservation:
                    return reservation.scope_path

            async def request(user):
                with cycles.subject(workspace=user):
                    return await asyncio.create_task(work())

            found = await asyncio.gather(request("zoe"), request("bob"))
            outside = await client.reserve(HELD, action=ACTION)
            await outside.release()
            return [*found, outside.scope_path]

    assert asyncio.run(run()) == ["tenant:acme/workspace:zoe", "tenant:acme/workspace:bob", "tenant:acme"]


def test_trios_tasks_do_too(authority):
    async def run():
        async with authority.async_client(tenant="acme") as client, trio.open_nursery() as nursery:

            async def work():
                async with cycles.Guard(HELD, action=ACTION, client=client):
                    pass

            with cycles.subject(workspace="zoe"):
                nursery.start_soon(work)

    trio.run(run)
    assert spenders(authority) == ["workspace:zoe"]


def test_threads_do_with_a_copied_context(sync_client, authority):
    def work():
        sync_client.reserve(HELD, action=ACTION).release()

    async def to_thread():
        await asyncio.to_thread(work)

    with cycles.subject(workspace="zoe"):
        asyncio.run(to_thread())
        with ThreadPoolExecutor(1) as pool:
            pool.submit(contextvars.copy_context().run, work).result()
        thread = threading.Thread(target=contextvars.copy_context().run, args=(work,))
        thread.start()
        thread.join()
    assert spenders(authority) == ["workspace:zoe"] * 3


def test_a_guarded_generator_keeps_what_it_began_with_and_shows_nothing_of_its_own(sync_client, authority):
    def guarded(name):
        return cycles.Guard(HELD, action=ACTION, client=sync_client, toolset=name)

    @guarded("stream")
    def stream():
        with guarded("one"):
            yield 1
        with cycles.subject(agent="inner"):
            with guarded("two"):
                pass
            yield 2
            with guarded("three"):
                pass
            yield 3

    with cycles.subject(workspace="zoe"):
        steps = stream()
        next(steps)
    with cycles.subject(workspace="bob"):
        next(steps)
        with guarded("callers"):
            pass
        next(steps)
    steps.close()
    with guarded("after"):
        pass
    assert spenders(authority) == [
        "workspace:zoe/toolset:stream",
        "workspace:zoe/toolset:one",
        "workspace:zoe/agent:inner/toolset:two",
        "workspace:bob/toolset:callers",
        "workspace:zoe/agent:inner/toolset:three",
        "toolset:after",
    ]


def test_so_does_an_asynchronous_one(authority):
    async def run():
        async with authority.async_client(tenant="acme") as client:

            def guarded(name):
                return cycles.Guard(HELD, action=ACTION, client=client, toolset=name)

            @guarded("stream")
            async def stream():
                with cycles.subject(agent="inner"):
                    yield 1
                    async with guarded("two"):
                        yield 2

            with cycles.subject(workspace="zoe"):
                steps = stream()
                await anext(steps)
            with cycles.subject(workspace="bob"):
                async with guarded("callers"):
                    await anext(steps)
            await steps.aclose()
            async with guarded("after"):
                pass

    asyncio.run(run())
    assert spenders(authority) == [
        "workspace:zoe/toolset:stream",
        "workspace:bob/toolset:callers",
        "workspace:zoe/agent:inner/toolset:two",
        "toolset:after",
    ]


def test_blocks_may_be_left_in_any_order(sync_client, authority):
    """Two generators of the program's own that run in turns leave their blocks so."""
    one, two = cycles.subject(workspace="zoe"), cycles.subject(agent="a")
    one.__enter__()
    two.__enter__()
    one.__exit__(None, None, None)
    sync_client.reserve(HELD, action=ACTION).release()
    two.__exit__(None, None, None)
    sync_client.reserve(HELD, action=ACTION).release()
    assert spenders(authority) == ["agent:a", ""]


def test_a_block_left_in_another_context_changes_nothing_there(sync_client, authority):
    block = cycles.subject(workspace="zoe")
    contextvars.copy_context().run(block.__enter__)
    with cycles.subject(agent="a"):
        block.__exit__(None, None, None)
        sync_client.reserve(HELD, action=ACTION).release()
    assert spenders(authority) == ["agent:a"]


def test_a_block_may_be_entered_again(sync_client, authority):
    block = cycles.subject(workspace="zoe")
    for _ in range(2):
        with block, block:
            pass
        sync_client.reserve(HELD, action=ACTION).release()
    assert spenders(authority) == ["", ""]


def test_it_is_no_decorator():
    with pytest.raises(cycles.InvalidRequest, match="no decorator"):

        @cycles.subject(agent="a")
        def work():
            pass


# -- values ------------------------------------------------------------------------------------------------------------
BAD = ["zoe@example.com", "two words", "a/b", "zoë", "", " ", "x" * 129, "a\n", 7]


@pytest.mark.parametrize("level", ["tenant", "workspace", "app", "workflow", "agent", "toolset"])
@pytest.mark.parametrize("bad", BAD, ids=ascii)
def test_a_value_that_the_protocol_refuses_is_refused_before_sending(sync_client, authority, level, bad):
    with pytest.raises(cycles.InvalidRequest, match=f"^{level}="):
        cycles.subject(**{level: bad})
    for call in (sync_client.reserve, sync_client.decide, sync_client.record):
        with pytest.raises(cycles.InvalidRequest, match=f"^{level}="):
            call(HELD, action=ACTION, **{level: bad})
    with pytest.raises(cycles.InvalidRequest, match=f"^{level}="):
        sync_client.balances(**{level: bad})
    with pytest.raises(cycles.InvalidRequest, match=f"^{level}="):
        cycles.Guard(HELD, action=ACTION, client=sync_client, **{level: lambda: bad})(lambda: None)()
    assert len(authority.requests) == 0


def test_the_refusal_offers_a_value(sync_client, authority):
    with pytest.raises(cycles.InvalidRequest, match=r"workspace='Zoë <z@x>'.*workspace=cycles\.level\(…\)"):
        cycles.subject(workspace="Zoë <z@x>")
    with cycles.subject(workspace=cycles.level("Zoë <z@x>")):
        sync_client.reserve(HELD, action=ACTION).release()
    assert spenders(authority) == [f"workspace:{cycles.level('Zoë <z@x>')}"]


def test_a_level_that_there_is_not_is_refused():
    with pytest.raises(TypeError, match="unexpected keyword argument 'user'"):
        cycles.subject(user="zoe")


# -- the key's tenant --------------------------------------------------------------------------------------------------
def test_a_tenant_that_the_key_is_not_of_is_said_once_an_answer_told(side, authority):
    with pytest.raises(cycles.Forbidden):
        side.call(side.client.reserve, HELD, action=ACTION, tenant="other")
    sent = len(authority.requests)
    for call in (side.client.reserve, side.client.decide, side.client.record):
        with pytest.raises(cycles.InvalidRequest, match=r"tenant='other'.*is of tenant 'acme'"):
            side.call(call, HELD, action=ACTION, tenant="other")
    with cycles.subject(tenant="other"), pytest.raises(cycles.InvalidRequest, match="tenant='other'"):
        side.call(side.client.decide, HELD, action=ACTION)
    assert len(authority.requests) == sent


def test_the_case_of_a_tenant_counts(side):
    side.call(side.client.decide, HELD, action=ACTION)
    with pytest.raises(cycles.InvalidRequest, match="tenant='Acme'"):
        side.call(side.client.decide, HELD, action=ACTION, tenant="Acme")


def test_a_local_authority_knows_it_from_the_start(monkeypatch, tmp_path):
    with cycles.Client(cycles.Config(f"local:{tmp_path / 'ledger.db'}?usd=1", tenant="acme")) as client:
        with pytest.raises(cycles.InvalidRequest, match="is of tenant 'acme'"):
            client.reserve(HELD, action=ACTION, tenant="other")
        sibling = client.with_options(tenant="other")
        with pytest.raises(cycles.InvalidRequest, match="is of tenant 'other'"):
            sibling.reserve(HELD, action=ACTION, tenant="acme")
        with pytest.raises(cycles.BudgetNotFound):  # the key may, but nobody has given this tenant a budget
            sibling.reserve(HELD, action=ACTION)


@pytest.mark.parametrize("name", ["ledger.db", "my ledger.db", None])
def test_a_local_ledger_without_a_budget_says_how_one_is_made(name, tmp_path):
    url = "local:" if name is None else f"local:{tmp_path / name}"
    ways = "let CYCLES_BASE_URL end in ?tokens=1"
    if name is not None:
        ways += f", or call `cycles local budget create SCOPE --tokens 1 --db {shlex.quote(str(tmp_path / name))}`"
    with cycles.Client(cycles.Config(url, tenant="nobodys")) as client:
        for enter in (
            lambda: client.reserve(tokens(1), action=ACTION),
            cycles.Limit(tokens(1), action=ACTION, client=client).__enter__,
        ):
            with pytest.raises(cycles.BudgetNotFound) as caught:
                enter()
            assert caught.value.remedy == f"check the subject's levels and the unit, or make a budget: {ways}"

    async def main():
        async with cycles.AsyncClient(cycles.Config(url, tenant="nobodys")) as client:
            with pytest.raises(cycles.BudgetNotFound, match="CYCLES_BASE_URL"):
                await client.reserve(tokens(1), action=ACTION)
            with pytest.raises(cycles.BudgetNotFound, match="CYCLES_BASE_URL"):
                await cycles.Limit(tokens(1), action=ACTION, client=client).__aenter__()

    asyncio.run(main())


def test_a_sibling_with_another_key_has_another_tenant(server, client):
    client.reserve(HELD, action=ACTION).release()
    key = server.authority.key(tenant="other")
    server.authority.budget("tenant:other", usd("1.00"))
    sibling = client.with_options(api_key=key, tenant="other")
    sibling.reserve(HELD, action=ACTION).release()
    same = client.with_options(agent="a")
    with pytest.raises(cycles.InvalidRequest, match="is of tenant 'acme'"):
        same.reserve(HELD, action=ACTION, tenant="other")


def test_an_authority_that_says_now_this_now_that_says_nothing():
    key = KeyTenant()
    key.see({"x-cycles-tenant": "acme"})
    with pytest.raises(cycles.InvalidRequest):
        key.check("other")
    key.see({"x-cycles-tenant": "other"})
    key.see({"x-cycles-tenant": "acme"})
    key.check("anybody")
