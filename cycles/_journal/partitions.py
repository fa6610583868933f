"""Partitions of the journal: one directory for each authority and principal. What its files hold is not known here.

<journal_dir>/                   0700, with a README
  owners/<owner>.lock            locked by each process that has records here, as long as it lives
  <partition>/                   partition.json says of which authority and tenant
    v2-<sha256 of the reservation id>.json
    rejected/                    records that the authority understood and refused: for a person to look at
    quarantine/                  files that are no records of this version
    recovery.lock                locked by the one process that settles the records of dead ones
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from cycles._journal.files import created, made_once
from cycles._journal.trust import must_be_ours
from cycles._outside.urls import database_of, is_postgres
from cycles.errors import ConfigError, JournalError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

README: Final = """Settlement journal of cycles (cycles-guard on PyPI).

Each v2-*.json file is spend that happened and that the authority has not acknowledged yet. It is settled, and the file
removed, in the background, at exit, or at the next start of a program with the same authority and tenant.
To look at it:   cycles journal list
To settle it:    cycles journal drain
No API key is in these files. Deleting a file means that its spend is never charged.
"""

REJECTED: Final = "rejected"
QUARANTINE: Final = "quarantine"
RECORDS: Final = "v"
"""What the names of records begin with."""

TEMPORARY: Final = ".tmp-"
"""What the names of unfinished writes begin with; the writing process follows, then a dash."""

_CHECKED: Final = 4096
"""Bytes that there must be room for: a record is smaller."""


def default_directory() -> Path:
    """Return where the journal is unless configured: the platform's directory for the user's state.

    Raises:
        ConfigError: when the user has no home directory.
    """
    import platformdirs  # noqa: PLC0415 - only clients with a journal need it

    try:
        state = platformdirs.user_state_path("cycles", appauthor=False)
    except RuntimeError:
        state = Path()
    if not state.is_absolute():
        raise ConfigError(
            "there is no home directory to keep the journal in: set CYCLES_JOURNAL_DIR (journal_dir) to a directory "
            "of this user's, or CYCLES_JOURNAL_ENABLED=false"
        )
    return state / "journal"


def partition_of(base_url: str, tenant: str | None, api_key: str | None) -> str:
    """Return the partition of an authority and a principal: the tenant, or, without one, the key.

    With a tenant it stays the same when the key is rotated. It does not reveal the key.
    """
    principal = f"tenant {tenant}" if tenant is not None else f"key {api_key or ''}"
    return hashlib.sha256(f"{server_of(base_url)}\n{principal}".encode()).hexdigest()[:32]


def server_of(base_url: str) -> str:
    """Return a Config's *base_url* so that two ways to write one server are the same text."""
    if is_postgres(base_url.removeprefix("local:")):
        return f"local:{database_of(base_url.removeprefix('local:'))}"
    if base_url.startswith("local:"):
        return "local:" + os.path.abspath(Path(base_url[len("local:") :].partition("?")[0]).expanduser())  # noqa: PTH100 - not resolved
    parts = urlsplit(base_url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return f"{parts.scheme}://{(parts.hostname or '').lower()}:{port}{parts.path.rstrip('/')}"


def is_record(name: str) -> bool:
    """Whether a file in a partition is a record, by its *name*."""
    return name.startswith(RECORDS) and name.endswith(".json")


class Partition:
    """The directory of one authority and principal.

    Args:
        directory: Its path; made when first written to.
        about: What partition.json says, for people; no secrets.
        tell: Takes what happens: an event and its facts.

    Attributes:
        directory: Its path.
        path: The same as text, which costs less to use.
        owners: Where the lock files of living processes are, for all partitions of a journal.
    """

    def __init__(
        self,
        directory: Path,
        about: Mapping[str, Any] | None = None,
        tell: Callable[[str, dict[str, Any]], None] | None = None,
    ) -> None:
        self.directory: Final = directory
        self.path: Final = str(directory)
        self._prefix: Final = self.path + os.sep
        self.owners: Final = directory.parent / "owners"
        self._about: Final = dict(about or {})
        self._tell: Final = tell

    def file(self, name: str) -> str:
        """Return the path of the file *name*."""
        return self._prefix + name

    def make(self, *below: str) -> None:
        """Make the directory, and what is *below* it; only the user can look into it.

        Raises:
            OSError: when it can't be made.
            JournalError: when it is there, and can't be trusted.
        """
        self.must_be_ours()
        target = self.directory.joinpath(*below)
        missing = [path for path in (target, *target.parents) if not path.exists()]
        for path in reversed(missing):
            path.mkdir(mode=0o700, exist_ok=True)
        self.must_be_ours(*below)  # somebody may have been quicker
        made_once(str(self.directory.parent / "README.txt"), README.encode())
        made_once(self.file("partition.json"), json.dumps(self._about, ensure_ascii=False).encode() + b"\n")

    def must_be_ours(self, *below: str) -> None:
        """Refuse a directory that others may write to.

        Raises:
            JournalError: naming the path and its owner.
        """
        inside = [self.directory / name for name in below]
        must_be_ours(self.directory.parent, self.owners, self.directory, *inside)

    def check(self) -> None:
        """Make the directory, and see that a record can be written to it.

        Raises:
            JournalError: when it can't be made or written to.
        """
        try:
            self.make()
            temporary = self.file(f"{TEMPORARY}{uuid.uuid4().hex}-check")
            descriptor = created(temporary)
            try:
                os.write(descriptor, bytes(_CHECKED))  # a full disk still takes an empty file
            finally:
                os.close(descriptor)
                os.unlink(temporary)
        except OSError as error:
            raise JournalError(
                f"the journal can't be written: {error}; make room, or set CYCLES_JOURNAL_DIR to a directory of this "
                "user's"
            ) from None

    def names(self) -> list[str]:
        """Return the names of all records, whatever they hold."""
        try:
            self.must_be_ours()
            with os.scandir(self.path) as found:
                return [entry.name for entry in found if is_record(entry.name)]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except (OSError, JournalError) as error:
            self.tell("journal unreadable", {"directory": self.path, "reason": str(error)})
            return []

    def tell(self, event: str, facts: dict[str, Any]) -> None:
        """Tell the program what happened here."""
        if self._tell is not None:
            self._tell(event, facts)

    def failed(self, error: Exception) -> None:
        """Tell the program that a record can't be kept."""
        self.tell("journal failed", {"directory": self.path, "reason": f"{type(error).__name__}: {error}"})
