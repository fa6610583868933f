"""From what people write to what goes over the wire, checked before anything leaves.

Every check names the field, the value and the remedy. The bounds are the contract's (openapi/cycles.yaml).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from cycles.amounts import check
from cycles.errors import InvalidRequest
from cycles_api import models
from cycles_api.types import UNSET

LEVELS: Final = ("tenant", "workspace", "app", "workflow", "agent", "toolset")
"""The levels of a subject, widest first."""

MAX_TTL: Final = 86_400.0
"""Seconds: the longest lease that can be asked for, and the longest single extension."""


class Terms:
    """What a reserve asks for, and all that an event needs to charge the same spend later.

    Attributes:
        subject, action, estimate: Who, what and how much.
        ttl_ms, grace_period_ms: Milliseconds, or None for the authority's default.
        overage_policy: What a commit above the estimate does, or None for the authority's default.
        metadata: Sent with the reservation, or None.
        dry_run: Evaluate only.
    """

    __slots__ = (
        "action",
        "dry_run",
        "estimate",
        "grace_period_ms",
        "metadata",
        "overage_policy",
        "subject",
        "ttl_ms",
    )

    def __init__(
        self,
        *,
        subject: models.Subject,
        action: models.Action,
        estimate: models.Amount,
        ttl_ms: int | None = None,
        grace_period_ms: int | None = None,
        overage_policy: models.CommitOveragePolicy | None = None,
        metadata: dict[str, Any] | None = None,
        dry_run: bool = False,
    ) -> None:
        self.subject: Final = subject
        self.action: Final = action
        self.estimate: Final = estimate
        self.ttl_ms: Final = ttl_ms
        self.grace_period_ms: Final = grace_period_ms
        self.overage_policy: Final = overage_policy
        self.metadata: Final = metadata
        self.dry_run: Final = dry_run

    def create_body(self, key: str) -> models.ReservationCreateRequest:
        """Return the create request under *key*; what was left out is not sent."""
        return models.ReservationCreateRequest(
            idempotency_key=key,
            subject=self.subject,
            action=self.action,
            estimate=self.estimate,
            ttl_ms=UNSET if self.ttl_ms is None else self.ttl_ms,
            grace_period_ms=UNSET if self.grace_period_ms is None else self.grace_period_ms,
            overage_policy=UNSET if self.overage_policy is None else self.overage_policy,
            metadata=UNSET if self.metadata is None else self.metadata,
            dry_run=True if self.dry_run else UNSET,
        )


def terms(
    estimate: models.Amount,
    *,
    action: models.Action | tuple[str, str],
    levels: Mapping[str, str | None],
    dimensions: Mapping[str, str] | None = None,
    tags: Sequence[str] | None = None,
    ttl: float | timedelta | None = None,
    grace_period: float | timedelta | None = None,
    overage_policy: models.CommitOveragePolicy | str | None = None,
    metadata: Mapping[str, Any] | None = None,
    dry_run: bool = False,
    field: str = "estimate",
) -> Terms:
    """Return checked terms; *field* is what messages call the amount.

    Raises:
        InvalidRequest: naming the field, the value and what is allowed.
    """
    if not isinstance(dry_run, bool):
        raise InvalidRequest(f"dry_run={dry_run!r}: give True or False")
    return Terms(
        subject=subject_of(levels, dimensions),
        action=action_of(action, tags),
        estimate=check(field, estimate),
        ttl_ms=None if ttl is None else milliseconds("ttl", ttl, low=1.0, high=MAX_TTL),
        grace_period_ms=None
        if grace_period is None
        else milliseconds("grace_period", grace_period, low=0.0, high=60.0),
        overage_policy=None if overage_policy is None else policy_of(overage_policy),
        metadata=metadata_of("metadata", metadata),
        dry_run=dry_run,
    )


def subject_of(levels: Mapping[str, str | None], dimensions: Mapping[str, str] | None) -> models.Subject:
    """Return the subject with the levels that are not None."""
    present: dict[str, Any] = {
        level: text(level, value, most=128) for level, value in levels.items() if value is not None
    }
    if not present:
        raise InvalidRequest(f"the subject has no level: give one of {', '.join(LEVELS)}, or set CYCLES_TENANT")
    subject = models.Subject(**present)
    if dimensions is not None and not isinstance(dimensions, Mapping):
        raise InvalidRequest(f"dimensions={dimensions!r}: give a mapping from names to texts")
    if dimensions:
        if len(dimensions) > 16:
            raise InvalidRequest(f"dimensions: {len(dimensions)} entries, at most 16 are allowed")
        subject.dimensions = {
            text("dimensions", name, most=256): text(f"dimensions.{name}", value, least=0, most=256)
            for name, value in dimensions.items()
        }
    return subject


def action_of(action: models.Action | tuple[str, str], tags: Sequence[str] | None) -> models.Action:
    """Return the action of a (kind, name) pair or an Action, with *tags* if any."""
    if isinstance(action, models.Action):
        kind, name = action.kind, action.name
        tags = action.tags or None if tags is None else tags
    elif isinstance(action, tuple) and len(action) == 2:
        kind, name = action
    else:
        raise InvalidRequest(
            f'action={action!r}: give a (kind, name) pair such as ("llm.completion", "gpt-4o"), or an Action'
        )
    return models.Action(
        kind=text("action kind", kind, most=64),
        name=text("action name", name, most=256),
        tags=UNSET if tags is None else _tags(tags),
    )


def _tags(tags: Sequence[str]) -> list[str]:
    if isinstance(tags, str) or not isinstance(tags, Sequence):
        raise InvalidRequest(f"tags={tags!r}: give a list of texts")
    if len(tags) > 10:
        raise InvalidRequest(f"tags: {len(tags)} of them, at most 10 are allowed")
    return [text("tags", tag, most=64) for tag in tags]


def policy_of(policy: models.CommitOveragePolicy | str) -> models.CommitOveragePolicy:
    known = list(models.CommitOveragePolicy)
    if policy not in known:
        raise InvalidRequest(f"overage_policy={policy!r}: choose one of {', '.join(known)}")
    return models.CommitOveragePolicy(policy)


def text(field: str, value: object, *, least: int = 1, most: int) -> str:
    """Return *value* when it is a text of *least* to *most* characters that UTF-8 can carry."""
    if not isinstance(value, str):
        raise InvalidRequest(f"{field}={value!r}: give a text, not {type(value).__name__}")
    if not least <= len(value) <= most or (least and not value.strip()):
        raise InvalidRequest(f"{field}={_shown(value)}: give {least} to {most} characters, not blank")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidRequest(f"{field}={value!r}: holds a lone surrogate, which UTF-8 can't carry") from None
    return value


def _shown(value: str) -> str:
    return repr(value) if len(value) <= 80 else f"{value[:80]!r}… ({len(value)} characters)"


def milliseconds(field: str, duration: float | timedelta, *, low: float, high: float) -> int:
    """Return a duration in seconds, or a timedelta, as whole milliseconds, rounded to the nearest."""
    seconds = duration.total_seconds() if isinstance(duration, timedelta) else duration
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or math.isnan(_float(seconds)):
        raise InvalidRequest(f"{field}={duration!r}: give seconds (a number) or a timedelta")
    if not low <= seconds <= high:
        shown = repr(duration) if abs(_float(seconds)) < 1e15 else f"{_float(seconds):g}"
        raise InvalidRequest(f"{field}={shown}: {low:g} to {high:g} seconds are allowed")
    return round(seconds * 1000)


def _float(number: float) -> float:
    try:
        return float(number)
    except OverflowError:  # an int of hundreds of digits
        return math.copysign(math.inf, number > 0 or -1)


def metadata_of(field: str, metadata: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return a copy of *metadata* that is known to survive the wire, or None."""
    if metadata is None:
        return None
    if not isinstance(metadata, Mapping) or not all(isinstance(name, str) for name in metadata):
        raise InvalidRequest(f"{field}: give a mapping from texts to JSON values")
    try:
        encoded = json.dumps(dict(metadata), ensure_ascii=False, allow_nan=False)
        encoded.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequest(f"{field}: not JSON: {error}") from None
    copied: dict[str, Any] = json.loads(encoded)
    return copied


def checked_metrics(metrics: models.StandardMetrics | None) -> models.StandardMetrics | None:
    """Return *metrics* when they are known to survive the wire, or None."""
    if metrics is None:
        return None
    if not isinstance(metrics, models.StandardMetrics):
        raise InvalidRequest(f"metrics={metrics!r}: give a cycles.Metrics")
    try:
        metadata_of("metrics", metrics.to_dict())
    except InvalidRequest:
        raise
    except (TypeError, ValueError) as error:
        raise InvalidRequest(f"metrics: {error}") from None
    return metrics


def checked_actual(actual: object, estimate: models.Amount) -> models.Amount:
    """Return *actual* when it can be committed against *estimate*: a reservation keeps one unit."""
    amount = check("actual", actual)
    if amount.unit != estimate.unit:
        raise InvalidRequest(
            f"actual: unit {amount.unit}, but the estimate was in {estimate.unit}; a reservation keeps one unit"
        )
    return amount
