"""Many records, clients, principals or sections of one process, and how few threads and files they need."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

import cycles
from cycles import usd
from cycles._client.upkeep import Upkeep
from cycles._core.record_format import dump, name_of
from cycles._journal.partitions import partition_of
from tests.support.authorities import ACTION
from tests.support.net import DROP, Answer, error, serving
from tests.support.records import pending
from tests.support.waiting import PATIENCE

from .spending import spend


@pytest.mark.slow
def test_many_pending_records_start_no_thread_each(server, config, journal_dir, kept):
    target = journal_dir / partition_of(config.base_url, "acme", config.api_key)
    target.mkdir(parents=True)
    with cycles.Client(config) as client:
        held = [client.reserve(usd("0.0001"), action=ACTION) for _ in range(300)]
    for number, reservation in enumerate(held):
        one = pending(reservation.id, actual=usd("0.0001"), key=f"key-{number}")
        (target / name_of(one)).write_bytes(dump(one, None, ""))
    ours = lambda: {thread for thread in threading.enumerate() if thread.name.startswith("cycles-")}  # noqa: E731
    before = ours()
    with cycles.Client(config) as client:
        most = 0
        while kept():
            most = max(most, len(ours() - before))
            time.sleep(0.01)  # looks again, until all is settled
        assert client.drain(PATIENCE).pending == 0
    assert most <= 1
    assert (server.spent(), len(set(server.keys("commit")))) == (3, 300)


def test_servers_and_tenants_of_one_process_are_kept_apart(server, config, journal_dir):
    config = config.replace(retry_enabled=False)  # nothing is settled in the background meanwhile
    with serving() as other:
        server.authority.budget("tenant:zeta", usd("1.00"))
        configs = [
            config,
            config.replace(tenant="zeta", api_key=server.authority.key(tenant="zeta")),
            config.replace(base_url=other.url, api_key=other.authority.key(tenant="acme")),
        ]
        clients = [cycles.Client(one) for one in configs]
        for one in (server, other):
            one.always["commit"] = DROP
        for client in clients:
            spend(client)
        for one in (server, other):
            one.always.clear()
        assert len(list(journal_dir.glob("*/v2-*.json"))) == 3
        for done, client in enumerate(clients):
            assert client.drain(PATIENCE).pending == 0
            assert len(list(journal_dir.glob("*/v2-*.json"))) == 2 - done
            client.close()
        assert (server.spent(), other.spent()) == (3, 3)
        assert server.authority.balance("tenant:zeta", "USD_MICROCENTS").spent == 3_000_000


def test_without_a_tenant_another_key_is_another_principal(server, config, journal_dir):
    first = config.replace(tenant=None)
    other = first.replace(api_key=server.authority.key(tenant="acme"))
    server.always["commit"] = DROP
    with cycles.Client(first) as client, cycles.Guard(usd("0.10"), action=ACTION, client=client, tenant="acme") as held:
        held.report(actual=usd("0.03"))
    server.always.clear()
    with cycles.Client(other) as client:
        assert client.drain(PATIENCE) == cycles.Drained()
    assert len(list(journal_dir.glob("*/v2-*.json"))) == 1
    with cycles.Client(first) as client:
        assert client.drain(PATIENCE).pending == 0
    assert server.spent() == 3


def test_many_clients_of_one_start_one_recovery(server, config, journal_dir, monkeypatch):
    """A program that has a tenant for each request makes a client for each: none starts a thread for old records."""
    server.always["commit"] = Answer(503, error("INTERNAL_ERROR"))
    with cycles.Client(config) as client:
        spend(client)
        begun = []
        monkeypatch.setattr(Upkeep, "recover", lambda self, **how: begun.append(self))
        others = [client.with_options(read_timeout=1.0) for _ in range(20)]
        assert begun == [others[0]._runtime.upkeep]
        fresh = cycles.Client(config)
        assert begun == [others[0]._runtime.upkeep, fresh._runtime.upkeep]
        fresh.close()


@pytest.mark.slow
def test_many_sections_at_once_are_all_served_and_no_more_than_the_pool_holds_are_in_flight(server, config):
    lock, now, most = threading.Lock(), [0], [0]
    handle = server.authority.app.handle

    def counted(request):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.005)  # requests overlap
        try:
            return handle(request)
        finally:
            with lock:
                now[0] -= 1

    server.authority.app.handle = counted

    async def main():
        async with cycles.AsyncClient(
            config.replace(read_timeout=30.0, connect_timeout=30.0, settle_wait=60.0)
        ) as client:
            held = await asyncio.gather(*(client.reserve(usd("0.0001"), action=ACTION) for _ in range(300)))
            ended = await asyncio.gather(*(one.commit(usd("0.0001")) for one in held))
        assert {settlement.attempts for settlement in ended} == {1}

    asyncio.run(main())
    assert 1 < most[0] <= 100
    assert server.spent() == 3


@pytest.mark.slow
def test_many_principals_of_one_process_need_one_lock_and_one_thread(config, journal_dir):
    """A program that serves a thousand tenants by with_options runs out of neither threads nor descriptors."""
    before = threading.active_count()
    with cycles.Client(config) as client:
        siblings = [client.with_options(api_key=f"key-{number}", tenant=None) for number in range(20)]
        for number, sibling in enumerate(siblings):
            sibling._runtime.upkeep.journal.write(pending(f"res_{number}"))
        held = [client.with_options(agent=f"a{number}").reserve(usd("0.001"), action=ACTION) for number in range(20)]
        assert threading.active_count() <= before + 2
        assert len({id(sibling._runtime.upkeep.journal) for sibling in siblings}) == 20
        assert len(list(journal_dir.glob("owners/*.lock"))) == 1
        for reservation in held:
            reservation.release()
        for number, sibling in enumerate(siblings):
            sibling._runtime.upkeep.journal.forget(pending(f"res_{number}"))
            sibling._runtime.upkeep.journal.leave()
    assert list(journal_dir.glob("owners/*.lock")) == []
