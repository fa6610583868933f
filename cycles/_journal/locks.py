"""Locked files: the kernel's locks, so that a crash leaves none behind. Nothing here reads what a file holds."""

from __future__ import annotations

import os
import threading
import time
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar, Final

from cycles._journal import processes
from cycles._journal.files import discarded
from cycles._journal.trust import QUIETLY
from cycles._outside.forks import in_forked_child

if TYPE_CHECKING:
    from pathlib import Path

TOUCHED_EVERY: Final = 60.0
"""Seconds between two touches of what must not look old."""

LOOKED_EVERY: Final = 1.0
"""Seconds after which a write looks again whether this process's lock is still there."""

_guard = threading.RLock()


class Lock:
    """A locked file."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: Final = descriptor

    @classmethod
    def taken(cls, path: Path) -> Lock | None:
        """Lock the file at *path*; None when another process holds the lock.

        Raises:
            OSError: when files can't be locked here.
        """
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | QUIETLY, 0o600)
        try:
            if _lock(descriptor):
                return cls(descriptor)
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)
        return None

    def has_name(self) -> bool:
        """Whether the file has a name still; without looking for it, which would take longer than all else here."""
        try:
            return os.fstat(self._descriptor).st_nlink > 0
        except OSError:
            return False

    def is_at(self, path: Path) -> bool:
        """Whether the file at *path* is the locked one: it may have been removed, replaced or moved."""
        try:
            there, ours = os.lstat(path), os.fstat(self._descriptor)
        except OSError:
            return False
        return os.path.samestat(there, ours)

    def leave(self) -> None:
        """Close the file, and with it the lock if no other process shares it."""
        os.close(self._descriptor)


class Owner:
    """The sign that this process lives: a locked file, named in its records; one for all partitions of a journal.

    Whatever sweeps directories of temporary files may remove it while the process lives. So it is touched now and then,
    made again when it is gone, and its name says which process it is of (see `processes`).

    Attributes:
        name: The name of that file without its suffix; None when files can't be locked here.
    """

    _shared: ClassVar[dict[Path, Owner]] = {}

    @classmethod
    def of(cls, directory: Path) -> Owner:
        """Return the owner with its file in *directory*, for one more partition."""
        with _guard:
            owner = cls._shared.get(directory)
            if owner is None:
                owner = cls._shared[directory] = cls(directory)
            owner._partitions += 1
            return owner

    @classmethod
    def forked(cls) -> None:
        """Let go of the locks in a forked child; the parent still has them."""
        for owner in cls._shared.values():
            if owner._lock is not None:  # noqa: SLF001 - same class
                owner._lock.leave()  # noqa: SLF001
        cls._shared.clear()

    def __init__(self, directory: Path) -> None:
        self.name: str | None = None
        self._lock: Lock | None = None
        self._directory: Final = directory
        self._partitions = 0
        self._touched_at = self._looked_at = time.monotonic()
        while self.name is None:
            name = processes.named(uuid.uuid4().hex)
            self._path = directory / f"{name}.lock"
            try:
                self._lock = Lock.taken(self._path)
            except OSError:
                return
            # Otherwise somebody tested the lock, or swept the file, before it was locked: try another name.
            if self._lock is not None and self._path.exists():
                self.name = name
            elif self._lock is not None:
                self._lock.leave()

    def look(self) -> None:
        """Refresh the file, unless that was done just now.

        A lock that was swept since is missing until the next look. What others do with this process's records then,
        they do under the same keys.
        """
        if time.monotonic() - self._looked_at >= LOOKED_EVERY:
            self.refresh()

    def refresh(self) -> bool:
        """Make the file again if it is gone; touch it if that was long ago, and return whether it was."""
        if self._lock is None:
            return False
        now = self._looked_at = time.monotonic()
        is_due = now - self._touched_at >= TOUCHED_EVERY
        if self._lock.has_name() and not is_due:
            return False
        with _guard:
            if not self._lock.is_at(self._path):
                self._make_again()
            if not is_due:
                return False
            self._touched_at = now
            with suppress(OSError):
                os.utime(self._path)
            return True

    def _make_again(self) -> None:
        try:
            self._directory.mkdir(mode=0o700, exist_ok=True)
            lock = Lock.taken(self._path)
        except OSError:
            return  # the next write tries again
        if lock is not None and self._lock is not None:
            self._lock.leave()
            self._lock = lock

    @classmethod
    def is_known(cls, name: str) -> bool:
        """Whether *name* is that of an owner of this process."""
        return any(owner.name == name for owner in list(cls._shared.values()))

    def end(self) -> None:
        """Remove the file and its lock when no other partition needs them."""
        with _guard:
            self._partitions -= 1
            if self._partitions > 0:
                return
            self._shared.pop(self._directory, None)
            if self._lock is not None:
                discarded(str(self._path))
                self._lock.leave()


def is_locked(path: Path) -> bool | None:
    """Whether a process holds the lock on the file at *path*; None when there is no file."""
    try:
        descriptor = os.open(path, os.O_RDWR | QUIETLY)
    except FileNotFoundError:
        return None
    except OSError:
        return False
    try:
        return not _lock(descriptor, shared=True)  # two that look at once don't take each other for its owner
    except OSError:
        return False  # nobody can lock it
    finally:
        os.close(descriptor)


if os.name == "nt":  # pragma: no cover - run by the workflow on Windows

    def _lock(descriptor: int, *, shared: bool = False) -> bool:  # noqa: ARG001 - there are only exclusive ones
        import msvcrt  # noqa: PLC0415 - only there

        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        except PermissionError:
            return False
        return True

else:

    def _lock(descriptor: int, *, shared: bool = False) -> bool:
        import fcntl  # noqa: PLC0415 - only there

        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


@in_forked_child
def _leave_locks() -> None:
    global _guard  # noqa: PLW0603 - a lock that another thread of the parent held would never be let go
    _guard = threading.RLock()
    Owner.forked()
