"""The journals that this process has open: one for each directory, shared by its clients. No file is touched here.

A journal goes with its last client, unless it has records: see `Journal.keep`.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakValueDictionary

from cycles._journal.journal import Journal
from cycles._journal.partitions import default_directory, partition_of, server_of
from cycles._outside.forks import in_forked_child

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cycles.config import Config


_opened: Final[WeakValueDictionary[str, Journal]] = WeakValueDictionary()
_guard = threading.RLock()


def opened(
    directory: Path,
    *,
    fsync: bool,
    about: Mapping[str, Any],
    tell: Callable[[str, dict[str, Any]], None],
) -> Journal:
    """Return this process's journal of the partition in *directory*; the arguments are as of `Journal`."""
    key = f"{directory}\n{fsync}"
    with _guard:
        found = _opened.get(key)
        if found is None:
            found = _opened[key] = Journal(directory, fsync=fsync, about=about, tell=tell)
        return found


def journal_of(config: Config, tell: Callable[[str, dict[str, Any]], None]) -> Journal | None:
    """Return the journal for the authority and principal of *config*.

    Args:
        config: The settings.
        tell: Takes what happens: an event and its facts.

    Returns:
        None when the journal is turned off, or the authority lives in this process's memory.

    Raises:
        ConfigError: when none is configured, and the user has no home directory.
    """
    if not config.journal_enabled or config.is_in_memory:
        return None
    root = default_directory() if config.journal_dir is None else Path(config.journal_dir)
    partition = partition_of(config.base_url, config.tenant, config.api_key)
    about = {"authority": server_of(config.base_url), "tenant": config.tenant}
    return opened(root / partition, fsync=config.journal_fsync, about=about, tell=tell)


@in_forked_child
def _renew_guard() -> None:
    global _guard  # noqa: PLW0603 - a lock that another thread of the parent held would never be let go
    _guard = threading.RLock()
