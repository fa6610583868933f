"""The sections of metered requests: a guard's, with the request itself for their policy."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, cast

from cycles._client.faces import runtime_of
from cycles._client.opened_section import Opened
from cycles._client.subjects import resolved
from cycles._guard.sections import AsyncSection, section
from cycles._telemetry import spans
from cycles.errors import BudgetExceeded
from cycles.reservation import AsyncReservation, Reservation
from cycles_api.types import UNSET

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from cycles._client.async_runtime import AsyncRuntime
    from cycles._client.blocking_runtime import BlockingRuntime
    from cycles._client.options import ReserveOptions
    from cycles._metered.calls import Call
    from cycles.config import Config


def opening(call: Call) -> AbstractContextManager[Opened[Reservation]]:
    """Return what reserves for *call*, and settles as it says."""
    client = call.meter.client()
    opened = section(functools.partial(_reserved, runtime_of(client), call), call)
    return spans.around(opened, _asked(call), _tenant(client.config)) if spans.are_watched() else opened


def opening_async(call: Call) -> AbstractAsyncContextManager[Opened[AsyncReservation]]:
    """The same for asynchronous code; see `opening`."""
    client = call.meter.async_client()
    opened = AsyncSection(functools.partial(_reserved_async, runtime_of(client), call), call)
    return spans.around(opened, _asked(call), _tenant(client.config)) if spans.are_watched() else opened


def _asked(call: Call) -> dict[str, Any]:
    return {"tenant": UNSET, **call.options(), "estimate": call.estimate}


def _tenant(config: Config) -> str | None:
    return resolved({}, config)["tenant"]


def _reserved(runtime: BlockingRuntime, call: Call) -> Opened[Reservation]:
    try:
        running = runtime.reserve(call.estimate, cast("ReserveOptions", call.options()))
    except BudgetExceeded as denied:
        if not call.fit(denied):
            raise
        running = runtime.reserve(call.estimate, cast("ReserveOptions", call.options()))
    return Opened(running, Reservation(running))


async def _reserved_async(runtime: AsyncRuntime, call: Call) -> Opened[AsyncReservation]:
    try:
        running = await runtime.reserve(call.estimate, cast("ReserveOptions", call.options()))
    except BudgetExceeded as denied:
        if not call.fit(denied):
            raise
        running = await runtime.reserve(call.estimate, cast("ReserveOptions", call.options()))
    return Opened(running, AsyncReservation(running))
