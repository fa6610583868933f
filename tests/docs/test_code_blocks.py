"""Every Python block of the README and of docs/ runs, in order, against a live authority on loopback."""

from __future__ import annotations

import asyncio
import inspect
import signal
from pathlib import Path

import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

import cycles
from cycles.client import DEFAULTS
from cycles.local import LocalAuthority
from cycles.local.registry import forget_shared
from cycles.local.server import serve

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.fixture
def live():
    """An authority on loopback, and what the blocks may take as given."""
    with LocalAuthority() as authority, serve(authority) as base_url:
        authority.budget("tenant:acme", cycles.tokens(1_000_000))
        yield {"base_url": base_url, "api_key": authority.key(tenant="acme")}


@pytest.fixture(autouse=True)
def embedded(monkeypatch):
    """Guards without a client spend a dollar of an authority in this process."""
    monkeypatch.setenv("CYCLES_BASE_URL", "local:?usd=1.00&tokens=1000000")
    cycles.configure(None)
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)
    cycles.configure(None)
    forget_shared()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_blocks_of_a_page_run(page, live):
    document = Sybil(parsers=[PythonCodeBlockParser()]).parse(page)
    document.namespace.update(live)
    blocks = list(document.examples())
    for block in blocks:
        block.evaluate()
    if page.name == "README.md":
        finish_readme(document.namespace, len(blocks))


def finish_readme(namespace, blocks):
    """What README's blocks define but do not call is called here, and what they did is checked."""
    assert blocks >= 6
    assert namespace["reservation"].state == "COMMITTED"
    assert namespace["authority"].balance("tenant:acme", "USD_MICROCENTS").remaining == 96_800_000

    async def words():
        return [word async for word in namespace["stream"]("a b c", 10)]

    async def rest():
        reservation, answer = await namespace["reserve_again"]()
        client = DEFAULTS.async_client()
        assert await words() == ["a", "b", "c"]
        await client.close()
        return reservation, answer

    reservation, answer = asyncio.run(rest())
    assert reservation.reservation_id == answer.parsed.reservation_id
    namespace["client"].close()
    namespace["authority"].close()
    assert inspect.isasyncgenfunction(namespace["stream"])
