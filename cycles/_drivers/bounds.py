"""Answers that come through an http client which was given: read within the same bounds as our own.

The client's transports are its owner's, and are left alone. httpx hands every response to an authentication before it
reads it, those of redirects and of challenges too: here that is what reads, around the client's own authentication.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

from cycles._drivers.bodies import Body, close_surplus, drop_if_more_follows, filled
from cycles._drivers.deadline import left

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator


class Bounds:
    """One half of an authentication; the other half is the library's `Auth`.

    Args:
        client: The client that was given; its own authentication and redirects happen here.
    """

    http: ClassVar[Any]
    """The library."""

    def __init__(self, client: Any) -> None:
        self._client: Final = client
        self._follows: Final[bool] = client.follow_redirects
        self._inner: Final = client.auth or self.http.Auth()

    def sync_auth_flow(self, request: Any) -> Generator[Any, Any, None]:
        """Yield each request to be sent, and read its response."""
        flow = self._inner.sync_auth_flow(request)
        try:
            asked = next(flow)
            while True:
                response = yield asked
                self._read(response)
                while self._follows and response.next_request is not None:
                    response = yield response.next_request
                    self._read(response)
                asked = flow.send(response)
        except StopIteration:
            return
        finally:
            flow.close()

    async def async_auth_flow(self, request: Any) -> AsyncGenerator[Any, Any]:
        """Yield each request to be sent, and read its response."""
        flow = self._inner.async_auth_flow(request)
        try:
            asked = await anext(flow)
            while True:
                self._drop_surplus(asked)
                response = yield asked
                await self._aread(response)
                while self._follows and response.next_request is not None:
                    self._drop_surplus(response.next_request)
                    response = yield response.next_request
                    await self._aread(response)
                asked = await flow.asend(response)
        except StopAsyncIteration:
            return
        finally:
            await flow.aclose()

    def _read(self, response: Any) -> None:
        body, stream = Body(response.status_code, response.headers), response.stream
        if response.is_stream_consumed:  # by a hook of the client, or there from the beginning
            body.take_whole(response.content)
            return
        try:
            for chunk in stream:
                left(None, self.http.ReadTimeout)
                body.feed(chunk)
            content = body.end()
            drop_if_more_follows(stream)
        finally:
            stream.close()
        filled(self.http, response, content)

    async def _aread(self, response: Any) -> None:
        body, stream = Body(response.status_code, response.headers), response.stream
        if response.is_stream_consumed:
            body.take_whole(response.content)
            return
        try:
            async for chunk in stream:
                body.feed(chunk)
            content = body.end()
            drop_if_more_follows(stream)
        finally:
            await stream.aclose()
        filled(self.http, response, content)

    def _drop_surplus(self, request: Any) -> None:
        transport = self._client._transport_for_url(request.url)  # noqa: SLF001 - httpx has no public way to it
        close_surplus(getattr(transport, "client", None))
