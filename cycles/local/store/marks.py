"""The mark of a ledger file, read beneath SQLite, which shows a file and its log as one.

The table `log_state` has a mark: the ledger's id, and how often its log was moved into the file. Between two moves
nobody writes to the file. So a file with the mark of another ledger, or of an earlier move, is not the one that its
log belongs to: somebody restored or overwrote it.
"""

from __future__ import annotations

import os
import re
import threading
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from cycles._outside.forks import in_forked_child

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator
    from pathlib import Path

_MARK: Final = re.compile(rb"(ledger:[0-9a-f]{32})([0-9]{12})")
_LEAF: Final = 0x0D
"""The first byte of a page that holds rows; its first cell's offset is in bytes 8 and 9."""

_MARK_SIZE: Final = 51
_PART: Final = 1024 * 1024


class Mark(NamedTuple):
    """Which state of which ledger a file holds.

    Attributes:
        ledger: The ledger's id; a backup has one of its own.
        moved: How often the log was moved into the file.
    """

    ledger: str
    moved: int


class Seen(NamedTuple):
    """What a file and its log together say.

    Attributes:
        mark: The mark as the log has it.
        in_file: The last move that is known to be in the file as a whole.
        is_elsewhere: Whether later transactions than the file's are in its log.
        page: Of the file: where the mark is.
        page_size: Bytes of a page.
    """

    mark: Mark
    in_file: int
    is_elsewhere: bool
    page: int
    page_size: int

    def fits(self, found: Mark | None) -> bool:
        """Whether a file with the mark *found* is the one that this log belongs to."""
        if self.in_file == 0:
            return True  # the log was never moved: the file may be of a version without marks
        return found is not None and found.ledger == self.mark.ledger and found.moved >= self.in_file


def seen(connection: sqlite3.Connection) -> Seen | None:
    """Return what the ledger says; None when it is of a version without marks."""
    row = connection.execute("SELECT rootpage, sql FROM sqlite_master WHERE name = 'log_state'").fetchone()
    if row is None or "in_file" not in row[1]:
        return None
    (page_size,) = connection.execute("PRAGMA page_size").fetchone()
    found = connection.execute("SELECT ledger, moved, in_file, is_elsewhere FROM log_state").fetchone()
    if found is None:
        return None
    ledger, moved, in_file, is_elsewhere = found
    return Seen(Mark(str(ledger), int(moved)), int(in_file), bool(is_elsewhere), row[0], page_size)


class _Shared:
    """The descriptors of one file, and how many use them."""

    def __init__(self) -> None:
        self.descriptors: list[int] = []
        self.users = 0


_shared: Final[dict[tuple[int, int], _Shared]] = {}
_lock = threading.Lock()


@in_forked_child
def _renew_lock() -> None:
    global _lock  # noqa: PLW0603 - another thread of the parent may have held it
    _lock = threading.Lock()


class Beneath:
    """A ledger file that is read beside SQLite, until it is closed.

    Closing any descriptor of a file takes away all locks that the process has on it, SQLite's too. So the stores of
    a process share descriptors, and close them when the last store has closed its connections.

    Args:
        path: The file, which is there.
    """

    def __init__(self, path: Path) -> None:
        with _lock:
            found = path.stat()
            known = _shared.get((found.st_dev, found.st_ino))
            if known is None:
                descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0))
                found = os.fstat(descriptor)  # it may have been replaced just now
                known = _shared.setdefault((found.st_dev, found.st_ino), _Shared())
                known.descriptors.append(descriptor)
            known.users += 1
        self._descriptor: Final = known.descriptors[0]
        self.close: Final = weakref.finalize(self, _give_up, (found.st_dev, found.st_ino), known)
        """Close it; doing so again does nothing."""
        self.close.atexit = False

    def read(self, start: int, size: int) -> bytes:
        """Return *size* bytes from *start* on, or fewer at the end."""
        if hasattr(os, "pread"):
            return os.pread(self._descriptor, size, start)
        with _lock:  # Windows
            os.lseek(self._descriptor, start, os.SEEK_SET)
            return os.read(self._descriptor, size)

    def mark(self, where: Seen) -> Mark | None:
        """Return the file's own mark, or None when it has none of this ledger."""
        page = self.read((where.page - 1) * where.page_size, where.page_size)
        found = None
        if len(page) == where.page_size and page[0] == _LEAF:
            found = _MARK.search(page, int.from_bytes(page[8:10], "big"))
        if found is not None:
            return _mark(found)
        # A VACUUM gives the mark another page, in the log long before it does in the file.
        of_this = [mark for mark in _all(self.read) if mark.ledger == where.mark.ledger]
        return max(of_this, default=None)


def _mark(found: re.Match[bytes]) -> Mark:
    return Mark(found[1].decode(), int(found[2]))


def _all(read: Callable[[int, int], bytes]) -> Iterator[Mark]:
    """Give every mark, live or left over, in what *read* gives."""
    start, before = 0, b""
    while part := read(start, _PART):
        text = before + part
        yield from map(_mark, _MARK.finditer(text))
        start, before = start + len(part), text[1 - _MARK_SIZE :]


def log_is_foreign(path: Path, log: Path) -> bool:
    """Whether *log* is surely not of the file *path*, though SQLite can't read the two together."""
    with beneath(path) as file:
        in_file = list(_all(file.read))
    with log.open("rb") as opened:
        in_log = list(_all(lambda _, size: opened.read(size)))
    if not in_file or not in_log:
        return False
    is_another = {mark.ledger for mark in in_log}.isdisjoint(mark.ledger for mark in in_file)
    return is_another or max(in_file) < min(in_log)


def _give_up(identity: tuple[int, int], shared: _Shared) -> None:
    with _lock:
        shared.users -= 1
        if shared.users == 0:
            _shared.pop(identity, None)
            for descriptor in shared.descriptors:
                os.close(descriptor)


@contextmanager
def beneath(path: Path) -> Iterator[Beneath]:
    """Give the ledger file *path* to be read beside SQLite."""
    file = Beneath(path)
    try:
        yield file
    finally:
        file.close()
