"""Ledger files as the file system shows them: whether this user may use one, and whether it is still the same file."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cycles.errors import ConfigError
from cycles.local.store import marks
from cycles.local.store.marks import Beneath

if TYPE_CHECKING:
    import sqlite3

    from cycles.local.store.marks import Mark, Seen

_KINDS: Final = (
    (stat.S_ISDIR, "folder"),
    (stat.S_ISFIFO, "pipe"),
    (stat.S_ISSOCK, "socket"),
    (stat.S_ISCHR, "device"),
    (stat.S_ISBLK, "device"),
)


def located(path: str | os.PathLike[str]) -> Path:
    """Return *path* as an absolute one.

    Raises:
        ConfigError: when no file can have this name, or nobody knows what it is relative to.
    """
    name = os.fspath(path)
    if "\0" in name:
        raise ConfigError(f"{name!r}: a file's name has no NUL character")
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        raise ConfigError(f"{name!r}: the name is not UTF-8; name another file") from None
    try:
        return Path(name).absolute()
    except OSError as error:
        raise ConfigError(f"{name}: there is no current folder ({error.strerror}); give the whole path") from None


def size_of(path: Path) -> int:
    """Return the size of the ledger file *path*, 0 when there is none yet; this user may use it, or make it.

    Raises:
        ConfigError: saying what may not be read or written, and by whom.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        _must_take_files(path)
        return 0
    except PermissionError:
        raise ConfigError(f"{path}: {_who()} may not search the folders on the way to it") from None
    except OSError as error:  # a name that is too long, links in a circle, a disk that fails
        raise ConfigError(f"{path}: can't be used ({error.strerror}); name another file") from None
    kind = next((name for is_one, name in _KINDS if is_one(found.st_mode)), None)
    if kind is not None:
        raise ConfigError(f"{path}: is a {kind}; name a file")
    _must_be_ours(path)
    beside = [name for name in (_beside(path, "-wal"), _beside(path, "-shm")) if name.exists()]
    for name in beside:
        _must_be_ours(name)
    if len(beside) < 2:
        _must_take_files(path)
    return found.st_size


def made(path: Path) -> None:
    """Make an empty file that only this user may read: subjects and metadata are nobody else's business.

    SQLite gives the files that it keeps beside a ledger the same mode.
    """
    try:
        os.close(os.open(os.path.realpath(path), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        pass  # another process was quicker
    except OSError as error:
        raise ConfigError(f"{path}: can't be made ({error.strerror})") from None


def log_of(path: Path) -> Path:
    """Return the write-ahead log of the ledger file *path*."""
    return _beside(path, "-wal")


def _beside(path: Path, suffix: str) -> Path:
    real = Path(os.path.realpath(path))  # SQLite follows links before it names its files
    return real.with_name(real.name + suffix)


def _must_be_ours(path: Path) -> None:
    """Refuse a file that this user may not read and write."""
    for mode, doing in ((os.R_OK, "read"), (os.W_OK, "write")):
        if not _may(path, mode):
            if doing == "write" and _is_read_only(path):
                raise ConfigError(f"{path}: is on a read-only file system, and a ledger is written to")
            raise ConfigError(f"{path}: {_who()} may not {doing} it ({_owner(path)})")


def _must_take_files(path: Path) -> None:
    """Refuse a folder in which this user may make no files: a ledger keeps two more beside it."""
    folder = Path(os.path.realpath(path)).parent
    try:
        if not folder.is_dir():
            what = f"{folder} is no folder" if folder.exists() else f"there is no folder {folder}; make it first"
            raise ConfigError(f"{path}: {what}")
    except PermissionError:
        raise ConfigError(f"{path}: {_who()} may not search the folders on the way to it") from None
    if not _may(folder, os.W_OK | os.X_OK):
        if _is_read_only(folder):
            raise ConfigError(f"{path}: is on a read-only file system, and a ledger is written to")
        raise ConfigError(
            f"{path}: {_who()} may not make files in {folder} ({_owner(folder)}), where the ledger keeps "
            f"{path.name}-wal and {path.name}-shm"
        )


def _may(path: Path, mode: int) -> bool:
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


def _is_read_only(path: Path) -> bool:
    return hasattr(os, "statvfs") and bool(os.statvfs(path).f_flag & os.ST_RDONLY)


def _who() -> str:
    return f"user {os.geteuid()}" if hasattr(os, "geteuid") else "this user"


def _owner(path: Path) -> str:
    found = path.stat()
    return f"it belongs to user {found.st_uid}, mode {stat.S_IMODE(found.st_mode):04o}"


class Place:
    """The file and the log that a store opened, by device and inode: SQLite would go on with files that nobody sees.

    Args:
        path: The ledger file, which is there.
    """

    def __init__(self, path: Path) -> None:
        self._path: Final = path
        self._log: Final = log_of(path)
        self._names: Final = os.fspath(self._path), os.fspath(self._log)
        self._file_seen = _identity(path)
        self._log_seen: tuple[int, int] | None = None
        self._beneath: Final = Beneath(path)
        self._where: Seen | None = None
        self._mark: Mark | None = None
        self._written: tuple[int, int] | None = None  # when the file was last written, and its size
        self.log_size = 0
        """Bytes of the log when it was last looked at."""

    def opened(self, connection: sqlite3.Connection) -> None:
        """Take note of the log and of the file's mark; *connection* has just opened them."""
        self._log_seen = _identity(self._log)
        if self._mark is None:  # else this is a fork, and its parent knew
            self._where = marks.seen(connection)
            self._mark = None if self._where is None else self._beneath.mark(self._where)

    def trouble(self) -> str | None:
        """Return what happened to the file since it was opened, or None. Every request asks."""
        try:
            file = os.stat(self._names[0])  # noqa: PTH116 - a Path's own takes as long again
        except OSError:
            file = None
        if file is None or (file.st_dev, file.st_ino) != self._file_seen:
            what = "was deleted or renamed" if file is None else "was replaced by another file"
            return (
                f"the ledger {self._path} {what} while this program used it: it spends nothing more from either; "
                "put the file back, or start the program again"
            )
        try:
            found = os.stat(self._names[1])  # noqa: PTH116
        except OSError:
            found = None
        if found is None or (found.st_dev, found.st_ino) != self._log_seen:
            return (
                f"{self._log}, which holds the last moments of the ledger, was deleted or replaced while this program "
                "used it: stop all programs that use the ledger, and start them again"
            )
        self.log_size = found.st_size
        written = (file.st_mtime_ns, file.st_size)
        if written != self._written:
            if self._was_overwritten():
                return (
                    f"the ledger {self._path} was overwritten while this program used it, and its log belongs to what "
                    f"it was before: stop all programs that use it, delete {self._log.name} and {self._path.name}-shm, "
                    "put the file in its place again, and start them"
                )
            self._written = written
        return None

    def _was_overwritten(self) -> bool:
        """Whether the file, which somebody wrote to, has another mark than it can have by now."""
        # First what is known: another thread may see the next move, and note it, before this one has read.
        known = self._mark  # None: the mark of a file of an earlier version came into the log first
        for _ in range(2):  # once more, for another process may just be writing it
            found = None if self._where is None else self._beneath.mark(self._where)
            if known is None or (found is not None and found.ledger == known.ledger and found.moved >= known.moved):
                self._mark = found
                return False
        return True

    def close(self) -> None:
        """Forget the file; its store has closed its connections."""
        self._beneath.close()


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
