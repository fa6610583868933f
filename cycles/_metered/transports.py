"""The transports that meter: each wraps the user's own, with its proxies, connections and hooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cycles._drivers import aio, blocking
from cycles._guard.handover import AsyncHandover, Handover
from cycles._metered.calls import Call
from cycles._metered.messages import decoded, is_event_stream, replay, restreamed, unread
from cycles._metered.refusals import refused
from cycles._metered.sections import opening, opening_async
from cycles._metered.streams import metered_async_body, metered_body
from cycles.errors import CyclesError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from cycles._metered.meter import Meter


class _Transport:
    """The part of a metered transport that blocking and asynchronous code share.

    Args:
        inner: Sends.
        meter: Prices what is sent.
        library: httpx or httpx2.
        owner: Whose transport *inner* is; kept alive, for some clients close it when they are collected.
    """

    def __init__(self, inner: Any, meter: Meter, library: Any, owner: object) -> None:
        self._inner: Final = inner
        self._meter: Final = meter
        self._library: Final = library
        self._owner: Final = owner

    def _call(self, request: Any, body: bytes) -> Call | None:
        """Return the call that *request* is; None when it is free."""
        billable = self._meter.read(request, body)
        return None if billable is None else Call(self._meter, billable, self._library, self._inner)


def _has_text(request: Any) -> bool:
    """Return whether the body says what the request is; an upload is neither read nor understood."""
    return not str(request.headers.get("content-type", "")).startswith("multipart/")


def _is_streamed(call: Call, response: Any) -> bool:
    return call.is_billed(response.status_code) and (call.billable.streamed or is_event_stream(response))


class MeteredTransport(_Transport):
    """Reserves before each request that bills, and settles after it."""

    def handle_request(self, request: Any) -> Any:
        """Send *request* inside a section of its own, if it bills."""
        try:
            call = self._call(request, request.read() if _has_text(request) else b"")
            return self._inner.handle_request(request) if call is None else self._metered(call, request)
        except CyclesError as error:
            return refused(self._library, request, error)

    def _metered(self, call: Call, request: Any) -> Any:
        handover = Handover(opening(call))
        with handover as opened:
            blocking.run(call.granted(opened), opened.running.world)
            response = unread(self._library, self._inner.handle_request(call.sending(request)))
            if _is_streamed(call, response):
                body = metered_body(self._library, response, call, handover.keep())
                return restreamed(self._library, response, body)
            try:
                raw = b"".join(response.stream)
            finally:
                response.stream.close()
            replay(self._library, response, raw)
            opened.result = call.answered(decoded(self._library, response, raw))
        return response

    def close(self) -> None:
        """Close the transport inside."""
        self._inner.close()

    def __enter__(self) -> Self:
        self._inner.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inner.__exit__(kind, error, trace)


class AsyncMeteredTransport(_Transport):
    """The same for asynchronous code; see `MeteredTransport`."""

    async def handle_async_request(self, request: Any) -> Any:
        """Send *request* inside a section of its own, if it bills."""
        try:
            call = self._call(request, await request.aread() if _has_text(request) else b"")
            if call is None:
                return await self._inner.handle_async_request(request)
            return await self._metered(call, request)
        except CyclesError as error:
            return refused(self._library, request, error)

    async def _metered(self, call: Call, request: Any) -> Any:
        handover = AsyncHandover(opening_async(call))
        async with handover as opened:
            await aio.run(call.granted(opened), opened.running.world)
            response = unread(self._library, await self._inner.handle_async_request(call.sending(request)))
            if _is_streamed(call, response):
                body = metered_async_body(self._library, response, call, handover.keep())
                return restreamed(self._library, response, body)
            try:
                raw = b"".join([data async for data in response.stream])
            finally:
                await response.stream.aclose()
            replay(self._library, response, raw)
            opened.result = call.answered(decoded(self._library, response, raw))
        return response

    async def aclose(self) -> None:
        """Close the transport inside."""
        await self._inner.aclose()

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._inner.__aexit__(kind, error, trace)
