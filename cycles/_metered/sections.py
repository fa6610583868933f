"""The sections of metered requests: a guard's, with the request itself for their policy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cycles._client.faces import runtime_of
from cycles._client.subjects import resolved
from cycles._guard.fields import Asked
from cycles._guard.sections import AsyncSection, BlockingSection
from cycles._telemetry import spans
from cycles.errors import BudgetExceeded
from cycles_api.types import UNSET

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from cycles._client.async_runtime import AsyncRuntime
    from cycles._client.blocking_runtime import BlockingRuntime
    from cycles._client.opened_section import Opened
    from cycles._metered.calls import Call
    from cycles.config import Config
    from cycles.reservation import AsyncReservation, Reservation


def opening(call: Call) -> AbstractContextManager[Opened[Reservation]]:
    """Return what reserves for *call*, and settles as it says."""
    client = call.meter.client()
    opened = _Section(runtime_of(client), call)
    return spans.around(opened, _shown(call), _tenant(client.config)) if spans.are_watched() else opened


def opening_async(call: Call) -> AbstractAsyncContextManager[Opened[AsyncReservation]]:
    """The same for asynchronous code; see `opening`."""
    client = call.meter.async_client()
    opened = _AsyncSection(runtime_of(client), call)
    return spans.around(opened, _shown(call), _tenant(client.config)) if spans.are_watched() else opened


def _shown(call: Call) -> dict[str, Any]:
    return {"tenant": UNSET, **_asked(call).options, "estimate": call.estimate}


def _tenant(config: Config) -> str | None:
    return resolved({}, config)["tenant"]


def _asked(call: Call) -> Asked:
    return Asked(call.estimate, *call.meter.asked(call.billable.action))


class _Section(BlockingSection):
    """A section that asks once more, for less, if its request can be fitted into what remains."""

    __slots__ = ("_call",)

    def __init__(self, runtime: BlockingRuntime, call: Call) -> None:
        super().__init__(runtime, _asked(call), call)
        self._call = call

    def __enter__(self) -> Opened[Reservation]:
        try:
            return super().__enter__()
        except BudgetExceeded as denied:
            if not self._call.fit(denied):
                raise
        self._asked = _asked(self._call)
        return super().__enter__()


class _AsyncSection(AsyncSection):
    """The same for asynchronous code; see `_Section`."""

    __slots__ = ("_call",)

    def __init__(self, runtime: AsyncRuntime, call: Call) -> None:
        super().__init__(runtime, _asked(call), call)
        self._call = call

    async def __aenter__(self) -> Opened[AsyncReservation]:
        try:
            return await super().__aenter__()
        except BudgetExceeded as denied:
            if not self._call.fit(denied):
                raise
        self._asked = _asked(self._call)
        return await super().__aenter__()
