"""One way to drive both kinds of client."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import anyio.from_thread

if TYPE_CHECKING:
    import cycles
    from cycles.local import LocalAuthority


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
