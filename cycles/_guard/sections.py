"""Guarded sections, blocking and asynchronous: reserved where they begin, settled where they end."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, TypeVar

from cycles._core import section_flows

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from cycles._client.opened_section import Opened
    from cycles._guard.settlement_policy import SettlementPolicy

H = TypeVar("H")


@contextmanager
def section(reserve: Callable[[], Opened[H]], policy: SettlementPolicy) -> Iterator[Opened[H]]:
    """Open the section that *reserve* gives, and settle it at the end by *policy*."""
    opened = reserve()
    running = opened.running
    try:
        yield opened
    except BaseException as raised:
        if running.ends_here():
            flow = section_flows.end(running.section, raised=raised)
            running.settle(flow, hurried=not isinstance(raised, Exception))
        raise
    result = opened.take_result()
    if running.ends_here():
        ending, interrupt = policy.end(running.section, result)
        settlement = running.settle(ending, hurried=interrupt is not None)
        if interrupt is not None:
            raise interrupt
        if settlement is not None:
            running.conclude(settlement, asked=False)


@asynccontextmanager
async def async_section(
    reserve: Callable[[], Awaitable[Opened[H]]], policy: SettlementPolicy
) -> AsyncIterator[Opened[H]]:
    """Open and settle a section; see `section`."""
    opened = await reserve()
    running = opened.running
    try:
        yield opened
    except BaseException as raised:
        hurried = not isinstance(raised, Exception)
        if running.ends_here():
            await running.settle_async(section_flows.end(running.section, raised=raised), hurried=hurried)
        if hurried and running.is_cancelled:
            raise raised from running.lost()
        raise
    result = opened.take_result()
    if running.ends_here():
        ending, interrupt = policy.end(running.section, result)
        settlement = await running.settle_async(ending, hurried=interrupt is not None)
        if interrupt is not None:
            raise interrupt
        if settlement is not None:
            running.conclude(settlement, asked=False)
