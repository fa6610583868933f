"""Writes that are on disk: files created once, written whole, flushed. What they hold is not known here."""

from __future__ import annotations

import os
from contextlib import suppress

from cycles._journal.trust import QUIETLY


def created(path: str) -> int:
    """Create a file that only the user can read, and return it open; nothing that is there is followed or opened."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | QUIETLY, 0o600)


def made_once(path: str, content: bytes) -> None:
    """Create a file with *content*, unless there is something with this name, whatever it is."""
    try:
        descriptor = created(path)
    except FileExistsError:
        return
    try:
        write_all(descriptor, content)
    finally:
        os.close(descriptor)


def write_all(descriptor: int, content: bytes) -> None:
    """Write all of *content*, in as many parts as the system takes."""
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def flush_file(path: str) -> None:
    """Return when what a file holds is on disk."""
    descriptor = os.open(path, os.O_RDONLY | QUIETLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def discarded(path: str) -> None:
    """Remove a file if that can be done."""
    with suppress(OSError):  # gone already, or swept later
        os.unlink(path)


if os.name == "nt":  # pragma: no cover - run by the workflow on Windows

    def flush_directory(path: str) -> None:
        """Directories can't be flushed there; the file system's own log keeps names."""

else:

    def flush_directory(path: str) -> None:
        """Return when the names in a directory are on disk."""
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
