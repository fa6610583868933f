"""Rejected records: spend that the authority understood and refused, kept with its answer. Nothing reads them back."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from typing import TYPE_CHECKING, Any

from cycles._core.record_format import dump, name_of
from cycles._journal.files import created
from cycles._journal.partitions import REJECTED, TEMPORARY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cycles._core.records import Pending
    from cycles._journal.partitions import Partition


def keep(partition: Partition, pending: Pending, answer: Mapping[str, Any], rejected_at: str, *, fsync: bool) -> None:
    """Write *pending* with the *answer* that refused it, for a person to look at.

    Raises:
        OSError: when it can't be written.
    """
    record = json.loads(dump(pending, None, rejected_at))
    record |= {"rejected_at": rejected_at, "answer": dict(answer)}
    partition.make(REJECTED)
    # The same reservation may be refused twice, of two intents: none is overwritten.
    intent = hashlib.sha256(pending.key.encode()).hexdigest()[:8]
    target = partition.directory / REJECTED / f"{name_of(pending).removesuffix('.json')}-{intent}.json"
    temporary = partition.file(f"{TEMPORARY}{uuid.uuid4().hex}")
    with os.fdopen(created(temporary), "wb") as file:
        file.write(json.dumps(record, ensure_ascii=False, indent=1).encode() + b"\n")
        file.flush()
        if fsync:
            os.fsync(file.fileno())
    os.replace(temporary, target)
