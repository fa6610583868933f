"""Whose directories and files these are: only this user's are used, and no link is followed to them.

Whoever may write into the journal could have spend charged or forgotten, or have a program write elsewhere. What is
wrong with a path is said with the path and its owner. Windows has neither owners nor modes that could be looked at.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from cycles.errors import JournalError

QUIETLY: Final = (
    getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
"""Flags to open with: no link is followed, and a FIFO or a device does not keep its reader waiting."""

MOST_BYTES: Final = 16 * 1024 * 1024
"""Of a file that is read: more than any authority takes in one request."""

_REMEDY: Final = "set CYCLES_JOURNAL_DIR to a directory that only this user can write to"


class Foreign(Exception):
    """Something in the journal that is no plain file of this user's; the text says what it is."""


def must_be_ours(*directories: str | os.PathLike[str]) -> None:
    """Refuse directories that others may write to; those that are not there yet are fine.

    Raises:
        JournalError: naming the path and its owner.
    """
    for directory in directories:
        try:
            about = os.lstat(directory)
        except OSError:
            continue  # it is made, or that fails
        wrong = _wrong_with(os.fspath(directory), about)
        if wrong is not None:
            raise JournalError(f"the journal can't be trusted: {wrong}; {_REMEDY}")


def _wrong_with(path: str, about: os.stat_result) -> str | None:
    if stat.S_ISLNK(about.st_mode):
        to = "something"
        with suppress(OSError):
            to = str(Path(path).readlink())
        return f"{path} is a link to {to}{_of(about)}, and links are not followed"
    if not stat.S_ISDIR(about.st_mode):
        return f"{path} is {_kind(about)}{_of(about)}, and no directory"
    if not _is_ours(about):
        return f"{path} belongs to {owner_of(about)}, and this program runs as {_name(_me())}"
    if hasattr(os, "geteuid") and about.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        who = "everybody" if about.st_mode & stat.S_IWOTH else "its group"
        mode = stat.S_IMODE(about.st_mode)
        return f"{path} (of {owner_of(about)}, mode {mode:04o}) can be written to by {who}; chmod 700 mends that"
    return None


def read_own(path: str) -> bytes:
    """Return what a plain file of this user's holds.

    Raises:
        Foreign: it is something else, somebody else's, or too large.
        OSError: it is gone, or can't be read.
    """
    _must_be_plain(os.lstat(path))  # before it is opened: opening some devices does something
    descriptor = os.open(path, os.O_RDONLY | QUIETLY)
    try:
        _must_be_plain(os.fstat(descriptor))
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(MOST_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(content) > MOST_BYTES:
        raise Foreign(f"more than {MOST_BYTES} bytes")
    return content


def _must_be_plain(about: os.stat_result) -> None:
    if not stat.S_ISREG(about.st_mode):
        raise Foreign(f"it is {_kind(about)}{_of(about)}, and no plain file")
    if not _is_ours(about):
        raise Foreign(f"it belongs to {owner_of(about)}, and this program runs as {_name(_me())}")
    if about.st_size > MOST_BYTES:
        raise Foreign(f"it has {about.st_size} bytes, and no record has more than {MOST_BYTES}")


_KINDS: Final = (
    (stat.S_ISLNK, "a link"),
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISREG, "a file"),
)


def _kind(about: os.stat_result) -> str:
    return next((name for test, name in _KINDS if test(about.st_mode)), "a device")


def _of(about: os.stat_result) -> str:
    return f" of {owner_of(about)}" if hasattr(os, "geteuid") else ""


def owner_of(about: os.stat_result) -> str:
    """Return whose a file is: the user's name, or its number where it has none here."""
    return _name(about.st_uid)


def _name(uid: int) -> str:
    try:
        import pwd  # noqa: PLC0415 - only for messages, and not on Windows

        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except (ImportError, KeyError):
        return f"uid {uid}"


def _me() -> int:
    geteuid = getattr(os, "geteuid", None)
    return -1 if geteuid is None else int(geteuid())


def _is_ours(about: os.stat_result) -> bool:
    return _me() in (-1, about.st_uid)
