"""What the end of a section needs is loaded before its reserve is sent.

By the end a package may have been upgraded underneath the program, or its descriptors may be used up: an import that
fails there would cost the charge. The bindings load their models and endpoints when each is first used.
"""

from __future__ import annotations

import importlib
from contextlib import suppress
from functools import cache
from typing import Final

from cycles._core import operations
from cycles._drivers.world import endpoint
from cycles.errors import ConfigError
from cycles_api import models

_OPERATIONS: Final = (
    operations.COMMIT_RESERVATION,
    operations.CREATE_EVENT,
    operations.CREATE_RESERVATION,
    operations.EXTEND_RESERVATION,
    operations.GET_RESERVATION,
    operations.LIST_RESERVATIONS,
    operations.RELEASE_RESERVATION,
)

_MODELS: Final = (
    "CommitRequest",
    "ErrorResponse",
    "EventCreateRequest",
    "ReleaseRequest",
    "ReservationDetail",
    "ReservationExtendRequest",
    "StandardMetrics",
)
"""Beside those of the answers, which the endpoints load."""

_LOOPS: Final = ("asyncio", "encodings.ascii")
"""What a background runs on, and what the journal reads files by."""

_POOL: Final = "concurrent.futures.thread"
"""Threads in which asyncio looks a name up. It refuses to be loaded once the main thread has ended."""

_NETWORK: Final = (
    "anyio",
    "cycles._drivers.network",
    "encodings.idna",  # of each look-up
)
"""What sends again, and connects again; in blocking code too, whose background is an event loop."""

_BELOW: Final = {
    "httpx": ("httpcore._backends.anyio", "httpcore._backends.auto", "httpx._transports.default"),
    "httpx2": ("httpcore2._backends.anyio", "httpcore2._backends.auto", "httpx2._transports.default"),
}
"""The same, by the library that sends."""

_BACKENDS: Final = {
    "asyncio": ("anyio._backends._asyncio", "anyio.to_thread"),
    "trio": ("anyio._backends._trio", "anyio.to_thread"),
}
"""What anyio runs on, by library."""

_BELOW_TRIO: Final = {"httpx": ("httpcore._backends.trio",), "httpx2": ("httpcore2._backends.trio",)}
"""What else the library that sends needs in trio."""


@cache
def get_ready(*needs: str) -> None:
    """Load what settling takes, once: with "asyncio" or "trio", "httpx" or "httpx2" also what those need.

    Raises:
        ConfigError: a module can't be loaded.
    """
    try:
        for operation in _OPERATIONS:
            endpoint(operation.module)
        for name in _MODELS:
            getattr(models, name)
        for name in _LOOPS:
            importlib.import_module(name)
        with suppress(RuntimeError):
            importlib.import_module(_POOL)
        for need in needs:
            for name in (*_NETWORK, *_BELOW[need]) if need in _BELOW else _BACKENDS[need]:
                importlib.import_module(name)
            for name in _BELOW_TRIO.get(need, ()) if "trio" in needs else ():
                importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"can't load {error.name}, which settling needs, so nothing is reserved: {error}; if the package was "
            "upgraded or removed underneath this program, start it again"
        ) from None
