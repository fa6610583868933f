"""Which journal a client has: one for each authority and principal."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from cycles._journal.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cycles.config import Config


def default_directory() -> Path:
    """Return where the journal is unless configured: the platform's directory for the user's state."""
    import platformdirs  # noqa: PLC0415 - only who journals needs it

    return platformdirs.user_state_path("cycles", appauthor=False) / "journal"


def partition_of(base_url: str, tenant: str | None, api_key: str | None) -> str:
    """Return the partition of an authority and a principal: the tenant, or, without one, the key.

    With a tenant it stays the same when the key is rotated. The key itself can't be had from it.
    """
    principal = f"tenant {tenant}" if tenant is not None else f"key {api_key or ''}"
    return hashlib.sha256(f"{server_of(base_url)}\n{principal}".encode()).hexdigest()[:32]


def server_of(base_url: str) -> str:
    """Return *base_url* so that two ways to write one server are the same text."""
    if base_url.startswith("local:"):
        return "local:" + os.path.abspath(Path(base_url[len("local:") :].partition("?")[0]).expanduser())  # noqa: PTH100 - not resolved
    parts = urlsplit(base_url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return f"{parts.scheme}://{(parts.hostname or '').lower()}:{port}{parts.path.rstrip('/')}"


_opened: Final[dict[str, Journal]] = {}
_guard = threading.RLock()


def opened(
    directory: Path,
    *,
    fsync: bool,
    about: Mapping[str, Any],
    tell: Callable[[str, dict[str, Any]], None],
) -> Journal:
    """Return this process's journal of *directory*; two clients of one partition share their claims."""
    key = f"{directory}\n{fsync}"
    with _guard:
        if key not in _opened:
            _opened[key] = Journal(directory, fsync=fsync, about=about, tell=tell)
        return _opened[key]


def journal_of(config: Config, tell: Callable[[str, dict[str, Any]], None]) -> Journal | None:
    """Return the journal of whom *config* spends for; None when it is turned off, or the authority ends with us."""
    if not config.journal_enabled or config.is_in_memory:
        return None
    root = default_directory() if config.journal_dir is None else Path(config.journal_dir).expanduser().absolute()
    partition = partition_of(config.base_url, config.tenant, config.api_key)
    about = {"authority": server_of(config.base_url), "tenant": config.tenant}
    return opened(root / partition, fsync=config.journal_fsync, about=about, tell=tell)


def _in_child() -> None:
    global _guard  # noqa: PLW0603
    _guard = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
