"""What both drivers share: local effects, and turning httpx's results and exceptions into answers."""

from __future__ import annotations

import importlib
import os
import time
from typing import TYPE_CHECKING, Any, Final, TypeVar

import httpx

from cycles._core.effects import Effect, Forget, Jitter, NewKey, Notify, Now, Record
from cycles._core.outcomes import Answer, Trouble
from cycles._drivers.tracing import Trace
from cycles_api import models
from cycles_api.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import ModuleType

    from cycles_api.client import AuthenticatedClient
    from cycles_api.types import Response

T = TypeVar("T")

_NOT_SENT: Final = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.UnsupportedProtocol,
    httpx.LocalProtocolError,
    httpx.ProxyError,
)
"""Transport trouble in which no byte of the request reached the authority."""

_modules: Final[dict[str, ModuleType]] = {}


def endpoint(name: str) -> ModuleType:
    """Return the generated endpoint module, imported when first used: its models cost import time."""
    module = _modules.get(name)
    if module is None:
        module = _modules[name] = importlib.import_module(name)
    return module


class World:
    """The outside as flows of one client see it.

    Args:
        api: The generated client that requests go through.
        notify: Takes what flows tell (`telemetry.notify`).
        trace: What its requests are counted to; each request to a trace of its own when None.
    """

    def __init__(
        self,
        api: AuthenticatedClient,
        notify: Callable[[str, dict[str, Any]], None],
        trace: Trace | None = None,
    ) -> None:
        self.api: Final = api
        self.trace: Final = trace
        self._notify: Final = notify

    def traced(self) -> World:
        """Return the same world for one piece of work, whose requests share a trace."""
        return World(self.api, self._notify, Trace())

    def headers(self) -> Mapping[str, str]:
        """Return what the next request carries beside the client's own headers."""
        return (self.trace or Trace()).headers()

    def perform(self, effect: Effect[Any]) -> Any:
        """Perform an effect that needs no waiting."""
        match effect:
            case Now():
                return time.monotonic()
            case NewKey():
                return os.urandom(16).hex()
            case Jitter():
                return int.from_bytes(os.urandom(7)) / 2**56
            case Notify(event=event, facts=facts):
                self._notify(event, dict(facts))
                return None
            case Record() | Forget():
                return None  # no journal yet: what is pending lives as long as its section
            case _:
                raise TypeError(f"not an effect that can be performed here: {effect!r}")

    def answered(self, response: Response[Any], sent_at: float) -> Answer[Any]:
        """Return the answer in a complete response."""
        failed = isinstance(response.parsed, models.ErrorResponse)
        return Answer(
            status=response.status_code,
            parsed=None if failed else response.parsed,
            error=response.parsed if failed else None,
            headers=response.headers,
            sent_at=sent_at,
            received_at=time.monotonic(),
        )

    def failed(self, error: Exception, sent_at: float) -> Answer[Any]:
        """Return the answer that an exception of the transport or the decoder amounts to.

        Whatever a transport raises becomes an answer: an exception here would hide the section's own result. The
        exception itself is dropped, for httpx's carry the request with its key.
        """
        status = None
        if isinstance(error, DecodeError):
            trouble, status = Trouble.UNREADABLE, error.status_code
        elif isinstance(error, _NOT_SENT):
            trouble = Trouble.NOT_SENT
        else:
            trouble = Trouble.LOST
        text = str(error).replace(self.api.token, "***")
        return Answer(
            status=status,
            trouble=trouble,
            reason=f"{type(error).__name__}: {text}" if text else type(error).__name__,
            sent_at=sent_at,
            received_at=time.monotonic(),
        )
