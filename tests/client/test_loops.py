"""Event loops of several threads at once: connections belong to one of them."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import cycles
from cycles import usd
from cycles.client import DEFAULTS
from tests.support.authorities import ACTION


@pytest.fixture
def config(config):
    return config.replace(journal_enabled=False, read_timeout=60.0)


async def guarded(client: cycles.AsyncClient | None) -> cycles.AsyncReservation:
    async with cycles.Guard(usd("0.02"), action=ACTION, client=client) as reservation:
        await reservation.commit(usd("0.01"))
    return reservation


@pytest.mark.slow
def test_the_default_client_serves_loops_of_six_threads_at_once(server, config):
    together = threading.Barrier(6)

    async def main():
        together.wait()
        for _ in range(5):
            await guarded(None)
        used = DEFAULTS.async_client()
        await used.close()
        return used

    with DEFAULTS.set_aside():
        cycles.configure(config)
        with ThreadPoolExecutor(6) as threads:
            clients = list(threads.map(lambda _: asyncio.run(main()), range(6)))
    assert len(set(map(id, clients))) == 6
    assert server.spent() == 30


def test_a_client_in_use_elsewhere_says_so(server, config):
    client = cycles.AsyncClient(config)

    async def main():
        await guarded(client)
        with pytest.raises(cycles.ConfigError, match="a client for each loop"):
            await asyncio.to_thread(asyncio.run, guarded(client))
        await guarded(client)
        await client.close()

    asyncio.run(main())
    assert server.spent() == 2
