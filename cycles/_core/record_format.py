"""A pending settlement as JSON: what the journal's files hold (docs/protocol.md, Settlement and recovery).

Readable by people, without secrets, and checked field by field when it is read again: a file may be of another version,
cut off, or written by something else.
"""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from cycles._core.records import Floor, Pending
from cycles._core.requests import Terms
from cycles_api import models
from cycles_api.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION: Final = 2
"""Of the format; the names of files begin with it."""

_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))

_MOST_ID: Final = 4096
"""Characters of an id: the protocol's bound is 128, and a file is no proof of who wrote it."""


class UnusableRecord(ValueError):
    """A file that is no record of this version; the text says why."""


def name_of(pending: Pending) -> str:
    """Return the file name of *pending*: of its reservation, or, without one, of its key; the two never collide."""
    if pending.reservation_id is None:
        return f"v{VERSION}-event-{_digest(pending.key)}.json"
    return f"v{VERSION}-{_digest(pending.reservation_id)}.json"


@lru_cache(maxsize=256)  # one record's name is asked for when it is claimed, written and forgotten
def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def dump(pending: Pending, owner: str | None, written_at: str) -> bytes:
    """Return the file's bytes.

    Args:
        pending: What is to be settled.
        owner: Names the process that settles it while that lives, or None.
        written_at: For people.
    """
    terms = pending.terms
    record: dict[str, Any] = {
        "version": VERSION,
        "written_at": written_at,
        "owner": owner,
        "mode": pending.via,
        "provisional": pending.provisional,
        "reservation_id": pending.reservation_id,
        "idempotency_key": pending.key,
        "reported_key": pending.reported_key,
        "actual": pending.actual.to_dict(),
        "metrics": None if pending.metrics is None else pending.metrics.to_dict(),
        "metadata": pending.metadata,
        "subject": terms.subject.to_dict(),
        "action": terms.action.to_dict(),
        "overage_policy": None if terms.overage_policy is None else str(terms.overage_policy),
        "not_before": None
        if pending.floor is None
        else {"set_at_ms": pending.floor.set_at_ms, "until_ms": pending.floor.until_ms},
    }
    return _ENCODER.encode(record).encode() + b"\n"


def load(content: bytes, name: str | None = None) -> tuple[Pending, str | None]:
    """Return the settlement in a file's *content*, and its owner.

    Args:
        content: What the file holds.
        name: The file's name, which must be the record's; None to leave that unchecked.

    Raises:
        UnusableRecord: saying what is wrong with it.
    """
    try:
        record = json.loads(content)
        json.dumps(record, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:  # also what JSON's grammar lets through, but no request can carry
        raise UnusableRecord(f"not JSON: {error}") from None
    if not isinstance(record, dict):
        raise UnusableRecord("not a JSON object")
    version = record.get("version")
    if version != VERSION:
        raise UnusableRecord(f"version {version!r}, and this package reads {VERSION}")
    try:
        pending = _pending(record)
    except (DecodeError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise UnusableRecord(f"{type(error).__name__}: {error}") from None
    if name is not None and name != name_of(pending):
        raise UnusableRecord("its name is not the one of its reservation")
    owner = record.get("owner")
    return pending, owner if isinstance(owner, str) else None


def _pending(record: Mapping[str, Any]) -> Pending:
    mode, actual = record["mode"], models.Amount.from_dict(record["actual"])
    held = record["reservation_id"]
    if mode not in ("commit", "event") or (held is None and mode == "commit"):
        raise UnusableRecord(f"mode {mode!r} with reservation {held!r}")
    if held is not None:
        _text("reservation_id", held)
    metadata, policy = record["metadata"], record["overage_policy"]
    if metadata is not None and not isinstance(metadata, dict):
        raise UnusableRecord("metadata is no object")
    return Pending(
        reservation_id=held,
        terms=Terms(
            subject=models.Subject.from_dict(record["subject"]),
            action=models.Action.from_dict(record["action"]),
            estimate=actual,
            overage_policy=None if policy is None else models.CommitOveragePolicy(_text("overage_policy", policy)),
        ),
        actual=actual,
        key=_text("idempotency_key", record["idempotency_key"]),
        metrics=None if record["metrics"] is None else models.StandardMetrics.from_dict(record["metrics"]),
        metadata=metadata,
        by_event=mode == "event",
        provisional=record["provisional"] is True,
        reported_key=_text("reported_key", reported) if (reported := record.get("reported_key")) is not None else None,
        floor=_floor(record["not_before"]),
    )


def _text(field: str, value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _MOST_ID:
        raise UnusableRecord(f"{field} is no text of 1 to {_MOST_ID} characters")
    return value


def _floor(value: object) -> Floor | None:
    if value is None:
        return None
    if not isinstance(value, dict) or any(type(value.get(name)) is not int for name in ("set_at_ms", "until_ms")):
        raise UnusableRecord("not_before is no pair of whole milliseconds")
    return Floor(value["set_at_ms"], value["until_ms"])
