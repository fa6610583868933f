"""Which process a name is of, and whether it still runs, as far as this machine's system says. No file is kept here.

It is the second sign of life, for when the first one, the lock file, is gone. Linux says when a process began, so that
another one with its number is not taken for it; elsewhere, and in another container, nothing is known.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Final

_NAME: Final = re.compile(r"[0-9a-f]+-([0-9]{1,10})-([0-9]{1,20})-([0-9a-f]{12})")


def named(unique: str) -> str:
    """Return a name that is *unique* and tells of this process, where the system says when that began."""
    began = _began(os.getpid())
    return unique if began is None else f"{unique}-{os.getpid()}-{began}-{_place()}"


def is_running(name: str) -> bool:
    """Whether the process of *name* is known to run; False also when nothing is known."""
    found = _NAME.fullmatch(name)
    return found is not None and found[3] == _place() and _began(int(found[1])) == int(found[2])


def is_own(name: str) -> bool:
    """Whether *name* is of this process."""
    found = _NAME.fullmatch(name)
    return found is not None and int(found[1]) == os.getpid() and is_running(name)


def _began(pid: int) -> int | None:
    """Return when a process began, in ticks since the machine did; None when it has ended, or nobody says."""
    try:
        told = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return None if told[0] in (b"Z", b"X") else int(told[19])
    except (OSError, ValueError, IndexError):
        return None


@functools.cache
def _place() -> str:
    """Return what tells this run of this machine, and this container, from all others."""
    boot = space = ""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii")
    with suppress(OSError):
        space = str(Path("/proc/self/ns/pid").readlink())
    return hashlib.sha256(f"{boot}\n{space}".encode()).hexdigest()[:12]
