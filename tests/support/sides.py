"""An authority of the test's own, and one way to drive both kinds of client."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any

import anyio.from_thread
import pytest

import cycles
from cycles.amounts import usd
from cycles.local import LocalAuthority

SCOPE = "tenant:acme"
ACTION = ("llm.completion", "gpt-4o")


class Clock:
    """Milliseconds that pass only when the test says so."""

    def __init__(self) -> None:
        self.now = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += round(seconds * 1000)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def authority(clock):
    with LocalAuthority(clock=clock) as authority:
        authority.budget(SCOPE, usd("1.00"))
        yield authority


class Sync:
    """Drives blocking code."""

    kind = "sync"

    def __init__(self, authority: LocalAuthority) -> None:
        self.client: Any = authority.client(tenant="acme")

    def call(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    def function(self, body: Any) -> Any:
        """A function of this kind with this body."""
        return body

    def block(self, guard: cycles.Guard) -> Any:
        return guard

    def close(self) -> None:
        self.client.close()


class Async(Sync):
    """Drives asynchronous code from a blocking test, through a loop in another thread."""

    kind = "async"

    def __init__(self, authority: LocalAuthority, portal: anyio.from_thread.BlockingPortal) -> None:
        self.portal = portal
        self.client = authority.async_client(tenant="acme")

    def call(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        async def called() -> Any:
            return await function(*args, **kwargs)

        return self.portal.call(called)

    def function(self, body: Any) -> Any:
        async def function(*args: Any, **kwargs: Any) -> Any:
            return body(*args, **kwargs)

        return function

    def block(self, guard: cycles.Guard) -> Any:
        return self.portal.wrap_async_context_manager(guard)

    def close(self) -> None:
        self.portal.call(self.client.close)


@contextmanager
def driving(kind: str, authority: LocalAuthority):
    if kind == "sync":
        yield Sync(authority)
        return
    with anyio.from_thread.start_blocking_portal() as portal:
        yield Async(authority, portal)


@pytest.fixture(params=["sync", "async"])
def side(request, authority):
    """Both kinds of client, one test each."""
    with driving(request.param, authority) as driver:
        yield driver
        driver.close()


@pytest.fixture
def guard(side):
    """A Guard of this side's client; keyword arguments over the usual ones."""

    def made(estimate: Any = None, **fields: Any) -> cycles.Guard:
        fields = {"action": ACTION, "client": side.client, **fields}
        return cycles.Guard(usd("0.10") if estimate is None else estimate, **fields)

    return made


@pytest.fixture
def figures(authority):
    """The budget's row as (spent, reserved, remaining) in dollar cents."""

    def shown() -> tuple[float, float, float]:
        row = authority.balance(SCOPE, "USD_MICROCENTS")
        return row.spent / 1e6, row.reserved / 1e6, row.remaining / 1e6

    return shown
