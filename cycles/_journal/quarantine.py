"""Quarantine: files that are no records of this version, set aside with the reason. No record is written here."""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING

from cycles._journal.files import discarded, made_once
from cycles._journal.partitions import QUARANTINE, RECORDS
from cycles.errors import JournalError

if TYPE_CHECKING:
    from cycles._journal.partitions import Partition


def set_aside(partition: Partition, name: str, reason: str) -> None:
    """Move the file *name* to quarantine, with the *reason* beside it, and tell."""
    try:
        partition.make(QUARANTINE)
        target = partition.directory / QUARANTINE / name
        if os.path.lexists(target) or os.path.lexists(f"{target}.reason"):
            target = target.with_name(f"{uuid.uuid4().hex[:8]}-{name}")
        made_once(f"{target}.reason", reason.encode(errors="replace") + b"\n")
        os.replace(partition.file(name), target)
    except FileNotFoundError:
        return  # another process was quicker
    except (OSError, JournalError) as error:
        reason = f"{reason}; and it can't be moved: {error}"
    partition.tell("record quarantined", {"file": partition.file(name), "reason": reason})


def restore(partition: Partition, name: str) -> None:
    """Move the file *name* out of quarantine: the next recovery reads it again.

    Raises:
        OSError: when it is not there, or can't be moved.
    """
    source = partition.directory / QUARANTINE / name
    target = partition.directory / (name if name.startswith(RECORDS) else name.partition("-")[2])
    if os.path.lexists(target):
        raise FileExistsError(f"{target.name} is pending already")
    source.rename(target)
    discarded(f"{source}.reason")
