"""The part of the public clients that is the same in both, and the one door to what they have."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Generic, NoReturn, TypeVar

from cycles._client.async_runtime import AsyncRuntime
from cycles._client.blocking_runtime import BlockingRuntime
from cycles._client.exit_world import journal_world
from cycles._outside.urls import local_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cycles._client.teller import OnSettlement
    from cycles._drivers.world import World
    from cycles._journal.journal import Journal
    from cycles.config import Config
    from cycles_api.client import AuthenticatedClient

R = TypeVar("R", BlockingRuntime, AsyncRuntime)


class Face(Generic[R]):
    """A public client: it has a runtime, and shows some of it."""

    def __init__(self, runtime: R) -> None:
        self._runtime: Final[R] = runtime
        self.config: Final[Config] = runtime.access.config
        self.api: Final[AuthenticatedClient] = runtime.access.api

    @property
    def shares_config(self) -> bool:
        """Whether another client made of the same configuration reaches the same authority."""
        return self._runtime.access.shares_config

    def world(self, *, journal: Journal, on_settlement: OnSettlement | None = None) -> World:
        """Return a world of this client's connections in which *journal* is settled: for the CLI."""
        return journal_world(self._runtime.access, journal, on_settlement)

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__} can't be pickled or copied, for it has connections and a key: make one in each "
            "process, or leave client= out of the Guard and call cycles.configure() there"
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {local_name(self.config.base_url)} tenant {self.config.tenant!r}>"


@contextmanager
def calm(error: BaseException | None) -> Iterator[None]:
    """Do inside what closing does: trouble with it never replaces the *error* that the program's own block raised."""
    try:
        yield
    except Exception as trouble:
        if error is None:
            raise
        error.add_note(f"closing the cycles client failed, too: {type(trouble).__name__}: {trouble}")


def runtime_of(client: Face[R]) -> R:
    """Return what *client* has: for this package's own use."""
    return client._runtime  # noqa: SLF001 - the one door from the public faces to their working parts
