"""What the bodies of streamed answers are read from. It outlives the body: what the caller leaves may be read on."""

from __future__ import annotations

import _thread
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from cycles._metered.messages import parts
from cycles._outside.arrivals import harmless

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cycles._guard.handover import Rest
    from cycles._metered.calls import Call

DRAIN_SECONDS: Final = 60.0
"""How long `partial="drain"` reads on after the caller has left."""
DRAIN_BYTES: Final = 16_777_216
"""How much it reads at most."""


class AnySource:
    """The part of a source that blocking and asynchronous code share.

    Args:
        response: The provider's answer.
        call: Its request.
        rest: The rest of its section.
    """

    def __init__(self, response: Any, call: Call, rest: Rest[Any]) -> None:
        self._response: Final = response
        self._call: Final = call
        self._rest: Final = rest

    @property
    def _drains(self) -> bool:
        """Whether what the caller leaves is to be read in the background."""
        return self._call.meter.choices.partial == "drain"

    @property
    def _reads_on(self) -> bool:
        return self._drains and self._call.may_tell


class Source(AnySource):
    """A streamed answer, for blocking code."""

    def __init__(self, response: Any, call: Call, rest: Rest[Any]) -> None:
        super().__init__(response, call, rest)
        self.pieces: Final[Iterator[bytes]] = parts(call.library, response)

    def end(self, error: BaseException | None, *, whole: bool) -> None:
        """Close the answer, and end its section."""
        try:
            self._response.close()
        finally:
            if error is None:
                with self._rest as opened:  # what interrupts the reckoning ends it, too
                    opened.result = self._call.streamed(whole=whole)
            else:
                self._rest.__exit__(type(error), error, error.__traceback__)

    def left(self) -> None:
        """End the section of an answer whose reader has left, or read on."""
        if not (self._reads_on and self._began_draining()):
            self.end(None, whole=False)

    def dropped(self) -> None:
        """Leave to the background what nobody reads any more. Called while its reader is collected."""
        with harmless():
            if not (self._reads_on and self._began_draining()):
                self._call.dropped()

    def _began_draining(self) -> bool:
        try:
            _thread.start_new_thread(self._drain, ())  # without the locks of `threading`, which collection may be in
        except RuntimeError:  # there can be no more threads, perhaps because the interpreter ends
            return False
        return True

    def _drain(self) -> None:
        limit, whole = threading.Timer(DRAIN_SECONDS, self._cut), False
        limit.daemon = True
        with harmless():  # nobody waits for this thread: what came is charged, whatever ends the reading
            limit.start()
            ends, came = time.monotonic() + DRAIN_SECONDS, 0
            for data in self.pieces:
                self._call.feed(data)
                came += len(data)
                if not self._call.may_tell or came > DRAIN_BYTES or time.monotonic() > ends:
                    break
            else:
                self._call.rest()
                whole = True
        limit.cancel()
        with harmless():
            self.end(None, whole=whole)

    def _cut(self) -> None:
        """End a connection on which nothing comes any more; one of HTTP/2 serves others, too."""
        stream = self._response.extensions.get("network_stream")
        if stream is not None and self._response.extensions.get("http_version") == b"HTTP/1.1":
            with harmless():
                stream.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
