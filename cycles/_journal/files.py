"""What the journal asks of the file system: writes that are on disk."""

from __future__ import annotations

import os
from contextlib import suppress


def created(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)


def write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def flush_file(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def discarded(path: str) -> None:
    with suppress(OSError):  # gone already, or swept later
        os.unlink(path)


if os.name == "nt":  # pragma: no cover - run by the workflow on Windows

    def flush_directory(path: str) -> None:
        """Directories can't be flushed there; the file system's own log keeps names."""

else:

    def flush_directory(path: str) -> None:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
