"""Tables that only grow: what has no client and no record goes, however many tenants a process has worked for.

100,000 tenants by `with_options`, measured once: 1.9 MB more than before.
"""

from __future__ import annotations

import asyncio
import gc
import tracemalloc

import pytest

import cycles
from cycles import tokens
from cycles._background import exit_drain
from cycles._client.defaults import Defaults
from cycles._journal import journal as journals
from cycles._journal import registry
from cycles._journal.journal import Journal
from cycles.local import LocalAuthority
from tests.support.authorities import ACTION
from tests.support.records import pending

MANY = 100
LEAST = 200
"""Bytes for each tenant: 20 MB for 100,000."""


@pytest.fixture
def measured():
    def bytes_each(work):
        work("warm", MANY)
        gc.collect()
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            work("many", MANY)
            gc.collect()
            return (tracemalloc.get_traced_memory()[0] - before) / MANY
        finally:
            tracemalloc.stop()

    return bytes_each


def known():
    gc.collect()
    return len(registry._opened), len(exit_drain._known), len(journals._with_records)


@pytest.mark.slow
@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "local:"])
def test_a_tenant_that_was_only_named_leaves_nothing(tmp_path, measured, url):
    url = f"local:{tmp_path}/ledger.db" if url == "local:" else url
    with cycles.Client(cycles.Config(url, api_key="k", tenant="acme", journal_dir=str(tmp_path))) as client:
        before = known()

        def work(name, many):
            for number in range(many):
                client.with_options(tenant=f"{name}-{number}")

        assert measured(work) < LEAST
        assert known() == before


@pytest.mark.slow
def test_an_asynchronous_tenant_leaves_nothing_either(tmp_path, measured):
    async def main():
        config = cycles.Config("http://127.0.0.1:9", api_key="k", tenant="acme", journal_dir=str(tmp_path))
        async with cycles.AsyncClient(config) as client:
            before = known()

            def work(name, many):
                for number in range(many):
                    client.with_options(tenant=f"{name}-{number}")

            assert measured(work) < LEAST
            assert known() == before

    asyncio.run(main())


@pytest.mark.slow
def test_a_tenant_whose_spend_is_settled_leaves_nothing(tmp_path):
    """But the few that the next sweep has not come to."""
    authority = LocalAuthority(tmp_path / "ledger.db")
    config = cycles.Config(f"local:{tmp_path}/ledger.db", tenant="acme", journal_dir=str(tmp_path / "journal"))
    with cycles.Client(config.replace(journal_fsync=False)) as client:
        for number in range(3 * journals._LEAST_SWEEP):
            authority.budget(f"tenant:t{number}", tokens(10))
            settled = client.with_options(tenant=f"t{number}").record(tokens(1), action=ACTION)
            assert settled.charged == tokens(1)
        opened, at_exit, with_records = known()
    assert opened <= journals._LEAST_SWEEP + 1
    assert at_exit <= journals._LEAST_SWEEP + 1
    assert with_records <= journals._LEAST_SWEEP
    assert len(list((tmp_path / "journal" / "owners").iterdir())) == 1, "one for all of them"
    authority.close()


@pytest.mark.slow
def test_a_journal_that_has_records_stays_for_the_exit(tmp_path):
    journal = registry.opened(tmp_path / "journal" / "one", fsync=False, about={}, tell=lambda *_: None)
    exit_drain.remember(journal, cycles.Config("http://127.0.0.1:9", api_key="k", tenant="acme"), lambda: None)
    journal.write(pending())
    path = journal.directory
    del journal
    gc.collect()
    (kept,) = [each for each in exit_drain._known if each.directory == path]
    assert kept.waiting() == 1
    for number in range(2 * max(journals._LEAST_SWEEP, journals._sweep_at)):
        Journal(tmp_path / "journal" / f"other-{number}").keep()
    assert kept in journals._with_records
    kept.forget(pending())
    del kept
    for number in range(2 * max(journals._LEAST_SWEEP, journals._sweep_at)):
        Journal(tmp_path / "journal" / f"other-{number}").keep()
    gc.collect()
    assert [each for each in exit_drain._known if each.directory == path] == []


def test_a_journal_that_is_forgotten_gives_up_its_sign_of_life(tmp_path):
    journal = Journal(tmp_path / "journal" / "one")
    journal.write(pending())
    journal.forget(pending())
    (lock,) = (tmp_path / "journal" / "owners").iterdir()
    journals._with_records.discard(journal)
    del journal
    gc.collect()
    assert not lock.exists()


def test_default_clients_of_loops_that_ended_are_let_go():
    defaults = Defaults(cycles.Client, cycles.AsyncClient)
    defaults.configure(cycles.Config("http://127.0.0.1:9", api_key="k", tenant="acme", journal_enabled=False))

    async def main():
        defaults.async_client()

        def inner():
            for _ in range(5):
                asyncio.run(in_another_loop())

        async def in_another_loop():
            defaults.async_client()

        await asyncio.to_thread(inner)

    asyncio.run(main())
    assert len(defaults._by_loop) <= 1
    assert len(defaults._made) <= 2


def test_lengths_of_leases_that_are_too_short_are_told_of_so_often(authority, caplog):
    with authority.client(tenant="acme") as client:
        for ttl in range(1000, 1100):
            client.reserve(cycles.usd("0.001"), action=ACTION, ttl=ttl / 1000).release()
        assert len(client._runtime.upkeep._too_short) <= 64
