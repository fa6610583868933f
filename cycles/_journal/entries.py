"""The files of a partition as people see them: pending, rejected, in quarantine. Nothing is settled or moved here."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from cycles._core.record_format import UnusableRecord, load
from cycles._journal.files import discarded
from cycles._journal.partitions import QUARANTINE, REJECTED, is_record
from cycles._journal.trust import Foreign, read_own

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from cycles._core.records import Floor
    from cycles._journal.partitions import Partition


class Entry(NamedTuple):
    """One file of the journal.

    Attributes:
        name: Its file name.
        where: "pending", "rejected" or "quarantine".
        record: What it holds, as JSON; None if it is none.
        reason: Why it is in quarantine, or what is wrong with it; else "".
        written_at: When it was last written (UTC).
        floor: Of a pending record: what the authority asked to wait, or None.
    """

    name: str
    where: str
    record: Mapping[str, Any] | None
    reason: str
    written_at: datetime
    floor: Floor | None = None

    @property
    def is_running(self) -> bool:
        """Whether it is pending as what a running section has reported, or one whose process was killed."""
        return self.where == "pending" and bool((self.record or {}).get("provisional"))

    def parked_until(self) -> datetime | None:
        """Return until when a pending record is not sent again, for the authority asked to wait; None when it may be.

        By this machine's clock; when that went back since, the wait begins anew.
        """
        left = 0.0 if self.floor is None else self.floor.left(time.time_ns() // 1_000_000)
        return datetime.now(UTC) + timedelta(seconds=left) if left > 0 else None


def entries(partition: Partition) -> Iterator[Entry]:
    """Return every file of *partition*, pending ones first; nothing is moved.

    Raises:
        JournalError: when its directory can't be trusted.
    """
    partition.must_be_ours(REJECTED, QUARANTINE)
    for where, directory in (
        ("pending", partition.directory),
        (REJECTED, partition.directory / REJECTED),
        (QUARANTINE, partition.directory / QUARANTINE),
    ):
        names = sorted(path.name for path in directory.glob("*") if _is_file_of(where, path.name))
        for name in names:
            entry = _entry(directory / name, where)
            if entry is not None:
                yield entry


def remove(partition: Partition, name: str, where: str) -> None:
    """Delete a file from "quarantine" or "rejected" for good.

    Raises:
        OSError: when it is not there, or can't be deleted.
    """
    source = partition.directory / where / name
    source.unlink()
    discarded(f"{source}.reason")


def _is_file_of(where: str, name: str) -> bool:
    return name.endswith(".json") and (where != "pending" or is_record(name))


def _entry(path: Path, where: str) -> Entry | None:
    record, reason, content, floor = None, "", b"", None
    try:
        written = path.lstat().st_mtime
    except OSError:
        return None
    try:
        content = read_own(str(path))
    except OSError:
        return None
    except Foreign as foreign:
        reason = str(foreign)
    try:
        parsed = None if reason else json.loads(content)
        record = parsed if isinstance(parsed, dict) else None
        if where == "pending" and not reason:
            floor = load(content, path.name)[0].floor
    except UnusableRecord as error:
        reason = str(error)
    except (ValueError, RecursionError) as error:
        reason = f"not JSON: {error}"
    with suppress(OSError, Foreign):
        reason = read_own(f"{path}.reason").decode(errors="replace").strip()
    return Entry(path.name, where, record, reason, datetime.fromtimestamp(written, UTC), floor)
