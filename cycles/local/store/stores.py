"""Which store a name means: memory, a file, or a database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cycles._outside.urls import is_postgres
from cycles.local.store.sqlite import SqliteStore

if TYPE_CHECKING:
    import os

    from cycles.local.store.protocols import Store


def store_of(name: str | os.PathLike[str] | None) -> Store:
    """Return the store that *name* means.

    Args:
        name: None: in memory; postgresql://…: a database; anything else: a file.

    Raises:
        ConfigError: when it can't be used.
    """
    if isinstance(name, str) and is_postgres(name):
        from cycles.local.store.postgres.store import PostgresStore  # noqa: PLC0415 - an extra

        return PostgresStore(name)
    return SqliteStore(name)
