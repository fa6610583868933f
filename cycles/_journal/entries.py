"""The files of a journal, for people."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cycles._core.record_format import UnusableRecord, load

if TYPE_CHECKING:
    from collections.abc import Mapping

_RECORDS = "v"


class Entry(NamedTuple):
    """A file of the journal, for people.

    Attributes:
        name: Its file name.
        where: "pending", "rejected" or "quarantine".
        record: What it holds, as JSON; None if it is none.
        reason: Why it is in quarantine, or what is wrong with it; else "".
        written_at: When it was last written (UTC).
    """

    name: str
    where: str
    record: Mapping[str, Any] | None
    reason: str
    written_at: datetime


def _is_record(name: str) -> bool:
    return name.startswith(_RECORDS) and name.endswith(".json")


def _is_file_of(where: str, name: str) -> bool:
    return name.endswith(".json") and (where != "pending" or _is_record(name))


def _entry(path: Path, where: str) -> Entry | None:
    try:
        content, written = path.read_bytes(), path.stat().st_mtime
    except OSError:
        return None
    record, reason = None, ""
    try:
        parsed = json.loads(content)
        record = parsed if isinstance(parsed, dict) else None
        if where == "pending":
            load(content, path.name)
    except UnusableRecord as error:
        reason = str(error)
    except (ValueError, RecursionError) as error:
        reason = f"not JSON: {error}"
    beside = Path(f"{path}.reason")
    if beside.exists():
        reason = beside.read_text("utf-8", errors="replace").strip()
    return Entry(path.name, where, record, reason, datetime.fromtimestamp(written, UTC))
