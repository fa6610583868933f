"""The journal itself: what it writes, what it makes of what it finds, and clients of both kinds that use it."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
import threading
import time

import anyio
import pytest

import cycles
from cycles import usd
from cycles._client.upkeep import Upkeep
from cycles._core import section_flows
from cycles._core.record_format import dump, name_of
from cycles._core.records import Claim
from cycles._drivers import aio
from cycles._journal import locks
from cycles._journal.journal import Journal
from cycles._journal.partitions import partition_of
from cycles.local import LocalAuthority
from tests.support.authorities import ACTION
from tests.support.net import DROP, Answer, error, serving
from tests.support.records import pending
from tests.support.waiting import until


@pytest.fixture
def told():
    return []


@pytest.fixture
def journal(tmp_path, told):
    return Journal(tmp_path / "journal" / "partition", tell=lambda event, facts: told.append((event, facts)))


def files(journal, where=""):
    return sorted(path.name for path in (journal.directory / where).glob("v*.json"))


# -- partitions --------------------------------------------------------------------------------------------------------
def test_a_partition_is_a_server_and_a_principal():
    usual = partition_of("https://Cycles.example/v1/", "acme", "key-1")
    assert usual == partition_of("https://cycles.example:443/v1", "acme", "key-2"), "a tenant outlives its key"
    others = [
        partition_of("https://cycles.example", "acme", "key-1"),
        partition_of("http://cycles.example/v1", "acme", "key-1"),
        partition_of("https://cycles.example:8443/v1", "acme", "key-1"),
        partition_of("https://cycles.example/v1", "other", "key-1"),
        partition_of("https://cycles.example/v1", None, "key-1"),
        partition_of("https://cycles.example/v1", None, "key-2"),
        partition_of("https://cycles.example/v1", "key key-1", None),
    ]
    assert len({usual, *others}) == 8


def test_a_local_file_is_the_same_however_it_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written = partition_of("local:ledger.db?usd=1", "acme", "k")
    assert written == partition_of(f"local:{tmp_path}/ledger.db", "acme", "other")
    assert written != partition_of("local:other.db", "acme", "k")


# -- what it does with files -------------------------------------------------------------------------------------------
def test_a_second_write_replaces_the_first_and_leaves_nothing_behind(journal):
    journal.write(pending())
    journal.write(pending(actual=usd("0.04")))
    assert files(journal) == [name_of(pending())]
    assert journal.read(name_of(pending()))[0].actual == usd("0.04")
    journal.forget(pending())
    journal.forget(pending())
    left = [path.name for path in journal.directory.iterdir() if path.is_file()]
    assert left == ["partition.json"]


def test_a_directory_that_was_removed_is_made_again(journal):
    journal.write(pending())
    for path in sorted(journal.directory.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    journal.directory.rmdir()
    journal.write(pending("res_2"))
    assert files(journal) == [name_of(pending("res_2"))]


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_a_write_that_fails_leaves_the_record_before_it_and_no_litter(journal, monkeypatch, step):
    journal.write(pending())
    real = getattr(os, step)

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(os, step, full)
    with pytest.raises(OSError, match="no space"):
        journal.write(pending(actual=usd("0.09")))
    monkeypatch.setattr(os, step, real)
    assert journal.read(name_of(pending()))[0].actual == usd("0.03")
    journal.forget(pending())
    litter = [path.name for path in journal.directory.iterdir() if path.name.startswith(".tmp-")]
    assert len(litter) <= (step == "replace"), "a rename that fails may leave one, for the next sweep"


def test_what_a_dead_process_left_over_is_swept_and_a_living_ones_kept(journal):
    journal.write(pending())
    dead, living = journal.directory / ".tmp-feed-1", journal.directory / f".tmp-{journal.owners.own()}-9"
    lock = journal.directory.parent / "owners" / "feed.lock"
    for path in (dead, living, lock):
        path.write_text("")
        os.utime(path, (time.time() - 100, time.time() - 100))
    journal.sweep()
    assert not dead.exists()
    assert not lock.exists()
    assert living.exists()
    assert (journal.directory.parent / "owners" / f"{journal.owners.own()}.lock").exists()


def test_without_file_locks_what_is_committed_is_kept_and_reports_are_not(journal, monkeypatch):
    def unsupported(descriptor):
        raise OSError(errno.ENOTSUP, "no locks here")

    monkeypatch.setattr("cycles._journal.locks._lock", unsupported)
    journal.report(pending(provisional=True))
    assert files(journal) == []
    journal.write(pending())
    queue = journal.queue()
    assert queue.take()[0].key == "key-1"
    queue.close()


def test_a_claimed_record_is_given_to_nobody_else(journal):
    claim = Claim()
    journal.write(pending(), claim)
    queue = journal.queue()
    assert queue.take() is None
    assert queue.is_contended
    claim.active = False
    assert journal.queue().take()[0].key == "key-1"


def test_a_record_that_failed_comes_after_the_others(journal):
    for number in range(3):
        journal.write(pending(f"res_{number}", key=f"key-{number}"))
    queue = journal.queue()
    first, claim = queue.take()
    claim.active = False
    queue.close()
    queue, order = journal.queue(), []
    while (taken := queue.take()) is not None:
        order.append(taken[0].key)
    assert order[-1] == first.key
    assert len(order) == 3


def test_the_last_report_wins_and_an_end_overtakes_it(journal):
    for cents in range(1, 60):
        journal.report(pending(actual=usd("0.01") if cents < 59 else usd("0.05"), provisional=True))
    until(lambda: journal.read(name_of(pending()))[0].actual == usd("0.05"))
    journal.report(pending(actual=usd("0.06"), provisional=True))
    journal.write(pending(actual=usd("0.07")))
    time.sleep(0.3)
    found = journal.read(name_of(pending()))[0]
    assert (found.actual, found.provisional) == (usd("0.07"), False)
    journal.report(pending(actual=usd("0.08"), provisional=True))
    journal.forget(pending())
    time.sleep(0.3)
    assert files(journal) == []


def test_what_can_not_be_read_is_told_and_nothing_fails(journal, told, monkeypatch):
    journal.write(pending())

    def fails(path):
        raise OSError(errno.EIO, "a failing disk")

    monkeypatch.setattr("cycles._journal.records.read_own", fails)
    assert journal.queue().take() is None
    assert [event for event, _ in told] == ["journal unreadable"]


# -- clients that use it -----------------------------------------------------------------------------------------------
def spend(client, amount="0.03"):
    with cycles.Guard(usd("0.10"), action=ACTION, client=client) as held:
        held.report(actual=usd(amount))
    return held


async def spend_async(client, amount="0.03"):
    async with cycles.Guard(usd("0.10"), action=ACTION, client=client) as held:
        held.report(actual=usd(amount))
    return held


@pytest.mark.parametrize("fsync", [True, False])
def test_both_kinds_of_client_keep_it_until_it_is_acknowledged(server, config, kept, fsync):
    server.always["commit"] = Answer(503, error("INTERNAL_ERROR"))
    config = config.replace(journal_fsync=fsync)

    async def main():
        async with cycles.AsyncClient(config) as client:
            return await spend_async(client)

    with cycles.Client(config) as client:
        held = [spend(client), asyncio.run(main())]
    assert [one.state for one in held] == ["UNSETTLED", "UNSETTLED"]
    assert all(one.settlement.is_kept for one in held)
    assert sorted(record["reservation_id"] for record in kept()) == sorted(one.id for one in held)
    server.always.clear()
    with cycles.Client(config) as client:
        assert client.drain(10).pending == 0
    assert (server.spent(), kept()) == (6, [])


def test_trio_keeps_it_too(server, config, kept):
    server.always["commit"] = Answer(503, error("INTERNAL_ERROR"))

    async def main():
        async with cycles.AsyncClient(config) as client:
            await spend_async(client)
            assert len(kept()) == 1
            server.always.clear()
            drained = await client.drain(10)
            assert drained.pending == 0

    anyio.run(main, backend="trio")
    assert (server.spent(), kept()) == (3, [])


def test_a_full_disk_is_reported_and_settlement_goes_on(server, config, kept, monkeypatch, caplog):
    def full(*args):
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr("cycles._journal.records.write_all", full)

    async def main():
        async with cycles.AsyncClient(config) as client:
            return await spend_async(client)

    with cycles.Client(config) as client:
        assert spend(client).state == "COMMITTED"
    assert asyncio.run(main()).state == "COMMITTED"
    failures = [record for record in caplog.records if "journal failed" in record.getMessage()]
    assert failures
    assert all(record.levelno == logging.ERROR and "no space" in record.getMessage() for record in failures)
    assert (server.spent(), kept()) == (6, [])


def test_a_cancelled_commit_is_on_disk_before_it_leaves(server, config, kept, monkeypatch):
    """Cancelled while the disk is slow: the cancellation waits for the record, and no request goes without it."""
    real, slow = os.fsync, threading.Event()

    def fsync(descriptor):
        slow.set()
        time.sleep(0.3)
        real(descriptor)

    async def main():
        async with cycles.AsyncClient(config) as client:
            held = await client.reserve(usd("0.10"), action=ACTION)
            monkeypatch.setattr(os, "fsync", fsync)
            flow = section_flows.commit(
                held._section, usd("0.03")
            )  # without what else finishes a commit that is cancelled
            commit = asyncio.create_task(aio.run(flow, held._running.world))
            await asyncio.to_thread(slow.wait)
            commit.cancel()
            with pytest.raises(asyncio.CancelledError):
                await commit
            assert server.of("commit") == []
            assert len(kept()) == 1
            assert (await client.drain(10)).pending == 0

    asyncio.run(main())
    assert (server.spent(), kept()) == (3, [])


def test_pending_settlements_are_tried_again_in_the_background(server, config, kept, monkeypatch):
    monkeypatch.setattr("cycles._client.upkeep.LATER", 0.05)
    told = []
    server.always["commit"] = DROP
    with cycles.Client(config, on_settlement=told.append) as client:
        spend(client)
        assert [details.outcome for details in told] == ["pending"]
        server.always.clear()
        until(lambda: len(told) == 2)
    assert [(details.outcome, details.recovered) for details in told] == [("pending", False), ("settled", True)]
    assert (server.spent(), kept()) == (3, [])


def test_what_a_loop_that_ended_left_is_taken_up_in_the_next(server, config, kept):
    server.always["commit"] = DROP
    told = []
    settled = asyncio.Event()

    def note(details):
        told.append(details)
        if details.outcome == "settled":
            settled.set()

    client = cycles.AsyncClient(config, on_settlement=note)

    async def first():
        await spend_async(client)

    async def second():
        await client.decide(usd("0.01"), action=ACTION)
        await asyncio.wait_for(settled.wait(), 10)
        await client.close()

    asyncio.run(first())
    assert len(kept()) == 1
    told.clear()
    server.always.clear()
    asyncio.run(second())
    assert [details.outcome for details in told] == ["settled"]
    assert (server.spent(), kept()) == (3, [])


def test_a_refused_key_stops_this_run_and_keeps_everything(server, config, kept, caplog):
    with cycles.Client(config) as client:
        held = [client.reserve(usd("0.01"), action=ACTION) for _ in range(5)]
        server.always["commit"] = Answer(401, error("UNAUTHORIZED"))
        for one in held:
            with pytest.raises(cycles.SettlementPending):
                one.commit(usd("0.01"))
        asked = len(server.of("commit"))
        assert asked == 5
        assert client.drain(5).pending == 5
        assert len(server.of("commit")) == asked + 1, "one 401 is enough to know"
    assert "settlement stopped" in caplog.text
    assert len(kept()) == 5


def test_a_hook_that_raises_is_logged_and_hides_nothing(server, config, caplog):
    def hook(details):
        raise RuntimeError("by the test")

    with cycles.Client(config, on_settlement=hook) as client:
        assert spend(client).state == "COMMITTED"
    assert "on_settlement failed" in caplog.text


def test_details_are_frozen(server, config):
    told = []
    with cycles.Client(config, on_settlement=told.append) as client:
        held = spend(client)
    (details,) = told
    assert (details.reservation_id, details.actual, details.charged) == (held.id, usd("0.03"), usd("0.03"))
    assert (details.outcome, details.attempts, details.error, details.via) == ("settled", 1, None, "commit")
    with pytest.raises(AttributeError, match="frozen"):
        details.outcome = "rejected"


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
            time.sleep(0.01)
        assert client.drain(10).pending == 0
    assert most <= 1
    assert (server.spent(), len(set(server.keys("commit")))) == (3, 300)


def test_servers_and_tenants_of_one_process_are_kept_apart(server, config, journal_dir):
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
            assert client.drain(10).pending == 0
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
        assert client.drain(5) == cycles.Drained()
    assert len(list(journal_dir.glob("*/v2-*.json"))) == 1
    with cycles.Client(first) as client:
        assert client.drain(5).pending == 0
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


def test_an_authority_in_memory_has_no_journal(tmp_path):
    with LocalAuthority() as authority:
        authority.budget("tenant:acme", usd("1.00"))
        client = authority.client(tenant="acme")
        assert client.drain() == cycles.Drained()
        assert client.reserve(usd("0.10"), action=ACTION).commit(usd("0.01")).state == "COMMITTED"
    assert not (tmp_path / "state" / "cycles").exists()


# -- UNAVAILABLE=allow -------------------------------------------------------------------------------------------------
def test_an_unreachable_authority_lets_both_kinds_run(server, config, kept):
    server.always = dict.fromkeys(("reservations", "events", "read"), DROP)
    config = config.replace(unavailable="allow")

    async def main():
        async with (
            cycles.AsyncClient(config) as client,
            cycles.Guard(usd("0.10"), action=ACTION, client=client, actual=lambda _: usd("0.02")) as held,
        ):
            assert (held.state, held.id, held.caps) == ("UNRESERVED", None, None)
            held.report(actual=usd("0.02"))
        return held

    with cycles.Client(config) as client:
        with cycles.Guard(usd("0.10"), action=ACTION, client=client) as held:
            assert (held.state, held.id) == ("UNRESERVED", None)
            with pytest.raises(cycles.AlreadySettled):
                held.extend(5)
            held.report(actual=usd("0.01"))
            held.report(actual=usd("0.03"))
        with cycles.Guard(usd("0.10"), action=ACTION, client=client) as given_back:
            given_back.report(actual=usd("0.03"))
            given_back.release()
        assert given_back.state == "RELEASED"
        assert asyncio.run(main()).state == "UNSETTLED"
        assert len(kept()) == 2
        server.always.clear()
        assert client.drain(10).pending == 0
    assert (held.state, server.spent(), kept()) == ("UNSETTLED", 5, [])


def test_running_unguarded_needs_a_journal_that_can_be_written(config, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(cycles.JournalError, match="CYCLES_JOURNAL_DIR"):
        cycles.Client(config.replace(unavailable="allow", journal_dir=str(tmp_path / "file")))


def test_nothing_runs_unguarded_while_the_disk_is_full(server, config, kept, monkeypatch, caplog):
    """Its spend would be in memory alone, and nobody would hold it back."""
    server.always = dict.fromkeys(("reservations", "read"), DROP)

    def full(*args):
        raise OSError(errno.ENOSPC, "no space left on device")

    with cycles.Client(config.replace(unavailable="allow")) as client:
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(cycles.AuthorityUnavailable), cycles.Guard(usd("0.10"), action=ACTION, client=client):
            pytest.fail("it ran")
        monkeypatch.undo()
        assert "no space left on device" in caplog.text
        with cycles.Guard(usd("0.10"), action=ACTION, client=client) as held:
            held.report(actual=usd("0.01"))
        assert held.settlement is not None
        assert (held.settlement.via, held.state) == ("event", "COMMITTED")
    assert kept() == []


def test_a_process_that_ends_leaves_no_lock_behind(server, start, journal_dir):
    start("spend").result()
    assert list(journal_dir.glob("owners/*.lock")) == []


def test_locks_of_dead_processes_do_not_pile_up(journal):
    owners = journal.directory.parent / "owners"
    owners.mkdir(parents=True, exist_ok=True)
    for number in range(100):
        (owners / f"{number:032x}.lock").write_text("")
    journal.write(pending())
    assert [path.stem for path in owners.iterdir()] == [journal.owners.own()]


def test_a_denial_is_no_unreachable_authority(server, config):
    with cycles.Client(config.replace(unavailable="allow")) as client, pytest.raises(cycles.BudgetExceeded):
        client.reserve(usd("2.00"), action=ACTION)


def test_running_unguarded_needs_a_journal(environ):
    with pytest.raises(cycles.ConfigError, match=r"CYCLES_UNAVAILABLE='allow'.*journal_enabled"):
        cycles.Config.from_env({**environ, "CYCLES_UNAVAILABLE": "allow", "CYCLES_JOURNAL_ENABLED": "false"})


# -- many at once ------------------------------------------------------------------------------------------------------
@pytest.mark.slow
def test_many_sections_at_once_are_all_served_and_no_more_than_the_pool_holds_are_in_flight(server, config):
    lock, now, most = threading.Lock(), [0], [0]
    handle = server.authority.app.handle

    def counted(request):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.005)
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


@pytest.mark.parametrize(
    "spoiled",
    [{"reservation_id": "\ud800"}, {"metadata": {"x": "\ud800"}}, {"metadata": {"x": float("nan")}}, {"subject": 5}],
    ids=str,
)
def test_what_no_request_can_carry_is_set_aside_and_the_others_are_settled(server, environ, kept, spoiled):
    config = cycles.Config.from_env(environ)
    server.always["commit"] = DROP
    with cycles.Client(config) as client:
        for _ in range(2):
            with pytest.raises(cycles.SettlementPending):
                client.reserve(usd("0.10"), action=("tool.pay", "web")).commit(usd("0.03"))
        file = next(client._runtime.upkeep.journal.directory.glob("v2-*.json"))
        file.with_name("v2-000.json").write_text(json.dumps(json.loads(file.read_text()) | spoiled))
        file.unlink()
        server.always.clear()
        assert client.drain(timeout=5).settled == 1
    assert server.spent() == 3
    assert len(kept("quarantine")) == 1


def test_two_that_look_whether_a_process_lives_do_not_take_each_other_for_it(tmp_path):
    path = tmp_path / "dead.lock"
    path.touch()
    with path.open("rb") as other:
        assert locks._lock(other.fileno(), shared=True)
        assert not locks.is_locked(path)
        held = locks.Lock.taken(tmp_path / "alive.lock")
        assert locks.is_locked(tmp_path / "alive.lock")
        held.leave()


def test_a_lock_that_somebody_looked_at_just_then_is_made_anew(tmp_path, monkeypatch):
    taken, refused = locks.Lock.taken, []

    def looked_at(path):
        if not refused:
            refused.append(path)
            path.touch()
            return None
        return taken(path)

    monkeypatch.setattr(locks.Lock, "taken", looked_at)
    owner = locks.Owner(tmp_path)
    assert owner.name is not None
    assert owner.name != refused[0].stem
    assert locks.is_locked(tmp_path / f"{owner.name}.lock")
    owner.end()


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
