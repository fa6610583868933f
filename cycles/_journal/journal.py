"""The durable settlement journal: spend that happened and is not settled yet, one JSON file a record (protocol.md §9).

    <journal_dir>/                   0700, with a README
      owners/<owner>.lock            locked by each process that has records here, as long as it lives
      <partition>/                   one per authority and principal; partition.json says which
        v2-<sha256 of the reservation id>.json
        rejected/                    the authority understood and refused: for a person to look at
        quarantine/                  files that are no records of this version
        recovery.lock                locked by the one process that settles the records of dead ones

A file is written under another name in the same directory, flushed, renamed, and the directory flushed. Locks are the
kernel's, so a crash leaves none behind. Nothing here talks to an authority: see `recovery`.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import threading
import time
import uuid
import weakref
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cycles._core.record_format import UnusableRecord, dump, load, name_of
from cycles._core.records import Claim
from cycles._journal.entries import Entry, _entry, _is_file_of, _is_record
from cycles._journal.files import created, discarded, flush_directory, flush_file, write_all
from cycles._journal.locks import Owner, is_locked
from cycles._journal.queue import JournalQueue
from cycles._journal.writer import _writer
from cycles.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from concurrent.futures import Future

    from cycles._core.records import Pending

README: Final = """Settlement journal of cycles (cycles-guard on PyPI).

Each v2-*.json file is spend that happened and that the authority has not acknowledged yet. It is settled, and the file
removed, in the background, at exit, or at the next start of a program with the same authority and tenant.
To look at it:   cycles journal list
To settle it:    cycles journal drain
No API key is in these files. Deleting a file means that its spend is never charged.
"""

REPORT_PERIOD: Final = 0.1
"""Seconds between two writes of what one running section reports."""

_RECORDS: Final = "v"
_REJECTED: Final = "rejected"
_QUARANTINE: Final = "quarantine"
_OWNERS: Final = "owners"
_TEMPORARY: Final = ".tmp-"
_CHECKED: Final = 4096
"""Bytes that there must be room for: a record is smaller."""
_MANY_OWNERS: Final = 64
"""Lock files of processes from which on those of dead ones are looked for."""

_OLD_DRAFT: Final = 60.0
"""Seconds after which an unfinished write of a dead process is removed."""


class Journal:
    """The records of one authority and principal; safe to share between threads and processes.

    Get it with `opened`: in one process there is one for each directory.

    Args:
        directory: Of the partition; made when first written to.
        fsync: Whether a record survives the machine's crash too, and not only the process's.
        about: What partition.json says, for people; no secrets.
        tell: Takes what happens: an event and its facts.

    Attributes:
        was_visited: Whether a client of this process has begun to settle what it found here.
    """

    def __init__(
        self,
        directory: Path,
        *,
        fsync: bool = True,
        about: Mapping[str, Any] | None = None,
        tell: Callable[[str, dict[str, Any]], None] | None = None,
    ) -> None:
        self.directory: Final = directory
        self.fsync: Final = fsync
        self._about: Final = dict(about or {})
        self._notify: Final = tell
        self._path: Final = str(directory)
        self._owners: Final = directory.parent / _OWNERS
        self._counter: Final = itertools.count()
        self.was_visited = False
        self._reset()
        _journals.add(self)

    def _reset(self) -> None:
        self._lock = threading.RLock()
        self._claims: dict[str, Claim] = {}
        self._late: dict[str, tuple[float, Pending]] = {}
        self._reported_at: dict[str, float] = {}
        self._owner: Owner | None = None
        self.failures: set[str] = set()

    def forked(self) -> None:
        """Begin anew in a forked child: records and their lock stay the parent's."""
        self._reset()

    def check(self) -> None:
        """Make the directory, for who can't do without.

        Raises:
            JournalError: when that can't be done, or it can't be written to.
        """
        try:
            self._made()
            temporary = self._of(f"{_TEMPORARY}{os.getpid()}-check")
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT, 0o600)
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

    def leave(self) -> None:
        """Take back the sign that this process lives, at its end; its records are then any process's to settle."""
        with self._lock:
            owner, self._owner = self._owner, None
            if owner is not None:
                owner.end()

    # -- writing -------------------------------------------------------------------------------------------------------
    def write(self, pending: Pending, claim: Claim | None = None) -> None:
        """Keep *pending*; what was kept of it before is replaced.

        Raises:
            OSError: when it can't be kept.
        """
        if claim is not None:
            self.claimed(name_of(pending), claim)
        self.publish(pending, self._drafted(pending, fsync=self.fsync))
        if self.fsync:
            flush_directory(self._path)

    def report(self, pending: Pending) -> None:
        """Keep what a running section reports, at most once in `REPORT_PERIOD`; the last report wins.

        It survives the process at once, and the machine as soon as the writer has flushed it.

        Raises:
            OSError: when it can't be kept.
        """
        if self._owning() is None:
            return  # nobody could tell that this process lives, and its running section would be settled by others
        name, now = name_of(pending), time.monotonic()
        with self._lock:
            due = self._reported_at.get(name, -REPORT_PERIOD) + REPORT_PERIOD
            if due > now:
                is_waiting = name in self._late
                self._late[name] = (due, pending)
                if not is_waiting:
                    _writer().later(due, self, name)
                return
            self._late.pop(name, None)  # the writer is late itself: what waits for it is older
            os.replace(self._drafted(pending, fsync=False), self._of(name))
            self._reported_at[name] = now
        if self.fsync:
            _writer().later(now, self, name)

    def catch_up(self, name: str) -> None:
        """Write what was reported last of *name*, if it waits, and flush it; on the writer's thread."""
        with self._lock:
            late = self._late.pop(name, None)
            if late is not None:
                self._reported_at[name] = time.monotonic()
                os.replace(self._drafted(late[1], fsync=False), self._of(name))
        if self.fsync:
            try:
                flush_file(self._of(name))
            except FileNotFoundError:
                return  # settled meanwhile
            flush_directory(self._path)

    def write_soon(self, pending: Pending, claim: Claim | None) -> Future[None]:
        """Keep *pending* on the writer's thread, together with others that come at the same time."""
        if claim is not None:
            self.claimed(name_of(pending), claim)
        return _writer().write(self, pending)

    def publish(self, pending: Pending, temporary: str) -> None:
        """Give a draft its name; what was reported before and waits to be written is overtaken."""
        name = name_of(pending)
        with self._lock:
            self._late.pop(name, None)
            self._reported_at.pop(name, None)
            os.replace(temporary, self._of(name))

    def forget(self, pending: Pending, refusal: Mapping[str, Any] | None = None) -> None:
        """Drop what was kept of *pending*; with a *refusal* it is kept aside under rejected/, with the answer.

        Raises:
            OSError: when that can't be done.
        """
        name = name_of(pending)
        with self._lock:
            self._late.pop(name, None)
            self._reported_at.pop(name, None)
            if refusal is not None:
                self._reject(name, pending, refusal)
            with suppress(FileNotFoundError):  # another process settled it too, or it could not be kept
                os.unlink(self._of(name))

    def _reject(self, name: str, pending: Pending, refusal: Mapping[str, Any]) -> None:
        record = json.loads(dump(pending, None, _now()))
        record |= {"rejected_at": _now(), "answer": dict(refusal)}
        self._made(_REJECTED)
        # The same reservation may be refused twice, of two intents: none is overwritten.
        target = self.directory / _REJECTED / f"{name.removesuffix('.json')}-{_digest(pending.key)}.json"
        temporary = self._of(f"{_TEMPORARY}{uuid.uuid4().hex}")
        with os.fdopen(created(temporary), "wb") as file:
            file.write(json.dumps(record, ensure_ascii=False, indent=1).encode() + b"\n")
            file.flush()
            if self.fsync:
                os.fsync(file.fileno())
        os.replace(temporary, target)

    def _drafted(self, pending: Pending, *, fsync: bool) -> str:
        temporary, descriptor = self.draft(pending)
        try:
            if fsync:
                os.fsync(descriptor)
        except BaseException:
            discarded(temporary)
            raise
        finally:
            os.close(descriptor)
        return temporary

    def draft(self, pending: Pending) -> tuple[str, int]:
        """Write *pending* under a temporary name, and return that and its open file."""
        owner = self._owning()
        content = dump(pending, owner, _now())
        temporary = self._of(f"{_TEMPORARY}{owner or os.getpid()}-{next(self._counter)}")
        try:
            descriptor = created(temporary)
        except FileNotFoundError:  # the first record, or somebody removed the directory
            self._made()
            descriptor = created(temporary)
        try:
            write_all(descriptor, content)
        except BaseException:
            os.close(descriptor)
            discarded(temporary)
            raise
        return temporary, descriptor

    def _owning(self) -> str | None:
        with self._lock:
            if self._owner is None:
                self._made()
                self._owners.mkdir(mode=0o700, exist_ok=True)
                self._owner = Owner.of(self._owners)
                if len(os.listdir(self._owners)) > _MANY_OWNERS:
                    self.sweep()
            return self._owner.name

    def _made(self, *below: str) -> None:
        """Make the directory, and what is *below* it; only the user can look into it."""
        target = self.directory.joinpath(*below)
        missing = [path for path in (target, *target.parents) if not path.exists()]
        for path in reversed(missing):
            path.mkdir(mode=0o700, exist_ok=True)
        readme = self.directory.parent / "README.txt"
        if not readme.exists():
            readme.write_text(README, encoding="utf-8")
        about = self.directory / "partition.json"
        if not about.exists():
            about.write_text(json.dumps(self._about, ensure_ascii=False) + "\n", encoding="utf-8")
            about.chmod(0o600)

    def _of(self, name: str) -> str:
        return f"{self._path}{os.sep}{name}"

    def _tell(self, event: str, facts: dict[str, Any]) -> None:
        if self._notify is not None:
            self._notify(event, facts)

    def failed(self, error: Exception) -> None:
        """Tell that something can't be kept."""
        self._tell("journal failed", {"directory": self._path, "reason": f"{type(error).__name__}: {error}"})

    # -- claims: who in this process settles what ----------------------------------------------------------------------
    def claimed(self, name: str, claim: Claim) -> None:
        """Note that *claim* settles the record *name* from now on."""
        with self._lock:
            self._claims[name] = claim
            if len(self._claims) > 1024:
                self._claims = {name: claim for name, claim in self._claims.items() if claim.active}

    def is_claimed(self, name: str) -> bool:
        """Whether somebody in this process is settling *name* now."""
        with self._lock:
            claim = self._claims.get(name)
            return claim is not None and claim.active

    def busy(self) -> int:
        """Return how many records somebody in this process is settling now."""
        with self._lock:
            return sum(claim.active for claim in self._claims.values())

    def claim(self, name: str) -> Claim | None:
        """Claim *name*; None when somebody has."""
        with self._lock:
            if self.is_claimed(name):
                return None
            claim = self._claims[name] = Claim()
            return claim

    # -- reading -------------------------------------------------------------------------------------------------------
    def names(self) -> list[str]:
        """Return the names of all records, whatever they hold."""
        try:
            with os.scandir(self._path) as found:
                return [entry.name for entry in found if _is_record(entry.name)]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            self._tell("journal unreadable", {"directory": self._path, "reason": str(error)})
            return []

    def read(self, name: str) -> tuple[Pending, str | None] | None:
        """Return a record and its owner; None when it is gone. What is no record goes to quarantine."""
        try:
            content = Path(self._of(name)).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            self._tell("journal unreadable", {"file": self._of(name), "reason": str(error)})
            return None
        try:
            return load(content, name)
        except UnusableRecord as error:
            self.quarantine(name, str(error))
            return None

    def quarantine(self, name: str, reason: str) -> None:
        """Set a file aside, with the *reason* beside it, and tell."""
        try:
            self._made(_QUARANTINE)
            target = self.directory / _QUARANTINE / name
            if target.exists():
                target = target.with_name(f"{uuid.uuid4().hex[:8]}-{name}")
            Path(f"{target}.reason").write_text(reason + "\n", encoding="utf-8")
            os.replace(self._of(name), target)
        except FileNotFoundError:
            return  # another process was quicker
        except OSError as error:
            reason = f"{reason}; and it can't be moved: {error}"
        self._tell("record quarantined", {"file": self._of(name), "reason": reason})

    def is_alive(self, owner: str | None) -> bool:
        """Whether the process that wrote a record still runs; not known of one without locks, so no."""
        if owner is None:
            return False
        if self._owner is not None and owner == self._owner.name:
            return True
        return is_locked(self._owners / f"{Path(owner).name}.lock")

    def is_own(self, owner: str | None) -> bool:
        """Whether this process wrote a record."""
        return self._owner is not None and owner == self._owner.name and owner is not None

    def queue(self, *, everyone: bool = False) -> JournalQueue:
        """Return the records that this process may settle: its own, and those of processes that died.

        Args:
            everyone: Also those of processes that live; the keys make that safe, and needless.
        """
        return JournalQueue(self, everyone=everyone)

    def waiting(self) -> int:
        """Return how many records this process has to see to: its own, and those of processes that died."""
        count = 0
        for name in self.names():
            found = self.read(name)
            if found is not None:
                pending, owner = found
                count += not pending.provisional if self.is_own(owner) else not self.is_alive(owner)
        return count

    def sweep(self) -> None:
        """Remove what processes that died left over: unfinished writes, and the files of their locks."""
        try:
            entries = list(os.scandir(self._path))
            owners = list(os.scandir(self._owners))
        except OSError:
            return
        for entry in entries:
            if entry.name.startswith(_TEMPORARY):
                owner = entry.name[len(_TEMPORARY) :].rpartition("-")[0]
                with suppress(OSError):
                    # On a file system without locks nobody seems to live: a draft is only minutes old while it matters.
                    if not self.is_alive(owner) and time.time() - entry.stat().st_mtime > _OLD_DRAFT:
                        discarded(entry.path)
        for entry in owners:
            if not self.is_alive(entry.name.removesuffix(".lock")):
                discarded(entry.path)

    # -- for people ----------------------------------------------------------------------------------------------------
    def entries(self) -> Iterator[Entry]:
        """Return every file of the partition, pending ones first; nothing is moved."""
        for where, directory in (
            ("pending", self.directory),
            (_REJECTED, self.directory / _REJECTED),
            (_QUARANTINE, self.directory / _QUARANTINE),
        ):
            names = sorted(path.name for path in directory.glob("*") if _is_file_of(where, path.name))
            for name in names:
                entry = _entry(directory / name, where)
                if entry is not None:
                    yield entry

    def restore(self, name: str) -> None:
        """Move a file out of quarantine, to be read again at the next recovery.

        Raises:
            OSError: when it is not there, or can't be moved.
        """
        source = self.directory / _QUARANTINE / name
        target = self.directory / (name if name.startswith(_RECORDS) else name.partition("-")[2])
        if target.exists():
            raise FileExistsError(f"{target.name} is pending already")
        source.rename(target)
        discarded(f"{source}.reason")

    def remove(self, name: str, where: str = _QUARANTINE) -> None:
        """Delete a file from "quarantine" or "rejected" for good.

        Raises:
            OSError: when it is not there, or can't be deleted.
        """
        source = self.directory / where / name
        source.unlink()
        discarded(f"{source}.reason")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


_journals: Final[weakref.WeakSet[Journal]] = weakref.WeakSet()


def _in_child() -> None:
    for journal in list(_journals):
        journal.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
