"""From what people write to what goes over the wire, checked before anything leaves.

Every check names the field, the value and the remedy. The bounds are the contract's (openapi/cycles.yaml).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, TypeGuard

from cycles.amounts import INT64_MAX, check
from cycles.errors import InvalidRequest
from cycles_api import models
from cycles_api.types import UNSET, Unset

LEVELS: Final = ("tenant", "workspace", "app", "workflow", "agent", "toolset")
"""The levels of a subject, widest first."""

_LEVEL: Final = re.compile(r"[A-Za-z0-9_.\-]{1,128}")

MOST_LEVELS: Final = 99
"""Levels of objects and arrays in metadata: an authority reads 100 in a body, which is one itself."""

_MOST_DIGITS: Final = 1000
_LARGEST: Final = 10**_MOST_DIGITS
"""Whole numbers reach up to here: readers of JSON refuse longer ones, and Python does not write them."""

_COUNTS: Final = ("tokens_input", "tokens_output", "latency_ms")
"""The whole numbers among the metrics."""

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
        observe: Evaluate only, for a section that runs whatever the answer is.
    """

    __slots__ = (
        "action",
        "dry_run",
        "estimate",
        "grace_period_ms",
        "metadata",
        "observe",
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
        observe: bool = False,
    ) -> None:
        self.subject: Final = subject
        self.action: Final = action
        self.estimate: Final = estimate
        self.ttl_ms: Final = ttl_ms
        self.grace_period_ms: Final = grace_period_ms
        self.overage_policy: Final = overage_policy
        self.metadata: Final = metadata
        self.dry_run: Final = dry_run
        self.observe: Final = observe

    def of(self, estimate: models.Amount) -> Terms:
        """Return the same terms for another estimate."""
        return Terms(
            subject=self.subject,
            action=self.action,
            estimate=estimate,
            ttl_ms=self.ttl_ms,
            grace_period_ms=self.grace_period_ms,
            overage_policy=self.overage_policy,
            metadata=self.metadata,
            dry_run=self.dry_run,
            observe=self.observe,
        )

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
            observe_mode=models.ObserveMode.OBSERVE if self.observe else UNSET,
        )


def switch(name: str, value: object) -> bool:
    """Return *value* of a field that is on or off; 1 and "yes" are neither.

    Raises:
        InvalidRequest: naming the field, the value and what is allowed.
    """
    if not isinstance(value, bool):
        raise InvalidRequest(f"{name}={value!r}: give True or False")
    return value


def terms(
    estimate: models.Amount,
    *,
    action: models.Action | tuple[str, str],
    levels: Mapping[str, str | None],
    dimensions: Mapping[str, str] | None = None,
    tags: Sequence[str] | None = None,
    policy_keys: models.ActionPolicyKeys | None = None,
    ttl: float | timedelta | None = None,
    grace_period: float | timedelta | None = None,
    overage_policy: models.CommitOveragePolicy | str | None = None,
    metadata: Mapping[str, Any] | None = None,
    dry_run: bool = False,
    observe: bool = False,
    field: str = "estimate",
) -> Terms:
    """Return checked terms; *field* is what messages call the amount.

    Raises:
        InvalidRequest: naming the field, the value and what is allowed.
    """
    switch("dry_run", dry_run)
    switch("observe", observe)
    if dry_run and observe:
        raise InvalidRequest("dry_run and observe: give one of them; the one does not run the work, the other does")
    return Terms(
        subject=subject_of(levels, dimensions),
        action=action_of(action, tags, policy_keys),
        estimate=check(field, estimate),
        ttl_ms=None if ttl is None else milliseconds("ttl", ttl, low=1.0, high=MAX_TTL),
        grace_period_ms=None
        if grace_period is None
        else milliseconds("grace_period", grace_period, low=0.0, high=60.0),
        overage_policy=None if overage_policy is None else policy_of(overage_policy),
        metadata=metadata_of("metadata", metadata),
        dry_run=dry_run,
        observe=observe,
    )


def subject_of(levels: Mapping[str, str | None], dimensions: Mapping[str, str] | None) -> models.Subject:
    """Return the subject with the levels that are not None."""
    present: dict[str, Any] = {
        level: checked_level(level, value) for level, value in levels.items() if value is not None
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


def is_level(value: object) -> TypeGuard[str]:
    """Return whether a level of the subject can have this *value*."""
    return isinstance(value, str) and _LEVEL.fullmatch(value) is not None


def checked_level(name: str, value: object) -> str:
    """Return *value* when the level *name* can have it."""
    if is_level(value):
        return value
    if not isinstance(value, str):
        raise InvalidRequest(f"{name}={value!r}: give a text, not {type(value).__name__}")
    shown = _shown(value)
    remedy = f"; write {name}=cycles.level(…) to make such a value of any text" if value.strip() else ""
    raise InvalidRequest(f"{name}={shown}: give 1 to 128 letters, digits, '_', '.' and '-'{remedy}")


def action_of(
    action: models.Action | tuple[str, str],
    tags: Sequence[str] | None,
    policy_keys: models.ActionPolicyKeys | None = None,
) -> models.Action:
    """Return the action of a (kind, name) pair or an Action, with *tags* and checked *policy_keys* if any."""
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
        policy_keys=UNSET if policy_keys is None else policy_keys,
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


def metadata_of(field: str, metadata: Mapping[str, Any] | None, *, levels: int = MOST_LEVELS) -> dict[str, Any] | None:
    """Return a copy of *metadata* that is known to survive the wire, or None; *levels* is how deep it may be."""
    if metadata is None:
        return None
    if not isinstance(metadata, Mapping):
        raise InvalidRequest(f"{field}: give a mapping from texts to JSON values, not {type(metadata).__name__}")
    shown = dict(metadata)
    _must_be_plain(field, shown, levels)
    try:
        encoded = json.dumps(shown, ensure_ascii=False, allow_nan=False)
        encoded.encode()
    except (TypeError, ValueError) as error:
        raise InvalidRequest(f"{field}: not JSON: {error}") from None
    copied: dict[str, Any] = json.loads(encoded)
    return copied


def _must_be_plain(field: str, value: object, levels: int) -> None:
    """Refuse what JSON can't say, or what an authority does not read: see MOST_LEVELS and _LARGEST."""
    left = [(field, value, 1)]
    while left:
        path, value, level = left.pop()
        if isinstance(value, dict | list | tuple) and level > levels:
            raise InvalidRequest(f"{field}: nested deeper than {levels} levels; give less, or a text")
        if isinstance(value, dict):
            for name, inner in value.items():
                if not isinstance(name, str):
                    raise InvalidRequest(f"{path}: the key {_cut(name)} is no text; names in JSON are texts")
                left.append((f"{path}.{name[:80]}", inner, level + 1))
        elif isinstance(value, list | tuple):
            left.extend((f"{path}[{index}]", inner, level + 1) for index, inner in enumerate(value))
        elif isinstance(value, int) and not -_LARGEST < value < _LARGEST:
            raise InvalidRequest(f"{path}: a whole number of more than {_MOST_DIGITS} digits; give it as a text")
        elif isinstance(value, float) and not math.isfinite(value):
            raise InvalidRequest(f"{field}: not JSON: {path} is {value}; give a finite number")


def _cut(value: object) -> str:
    try:
        shown = repr(value)
    except ValueError:  # an int of more digits than Python writes
        return type(value).__name__
    return shown if len(shown) <= 80 else f"{shown[:80]}…"


def checked_metrics(metrics: models.StandardMetrics | None) -> models.StandardMetrics | None:
    """Return *metrics* when they are known to survive the wire, or None."""
    if metrics is None:
        return None
    if not isinstance(metrics, models.StandardMetrics):
        raise InvalidRequest(f"metrics={_cut(metrics)}: give a cycles.Metrics")
    for name in _COUNTS:
        count = getattr(metrics, name)
        if not _is_left_out(count) and (type(count) is not int or not 0 <= count <= INT64_MAX):
            raise InvalidRequest(f"metrics.{name}={_cut(count)}: give a whole number from 0 to {INT64_MAX}")
    if not _is_left_out(metrics.model_version):
        text("metrics.model_version", metrics.model_version, least=0, most=128)
    custom: Any = metrics.custom
    if not _is_left_out(custom):
        if not isinstance(custom, Mapping):
            raise InvalidRequest(f"metrics.custom={_cut(custom)}: give a mapping from texts to JSON values")
        metadata_of("metrics.custom", dict(custom), levels=MOST_LEVELS - 1)
    return metrics


def _is_left_out(value: object) -> bool:
    return value is None or isinstance(value, Unset)


# -- what goes along with a charge: the charge must not wait for it ----------------------------------------------------
def sendable_metadata(metadata: Mapping[str, Any] | None) -> tuple[dict[str, Any] | None, list[str]]:
    """Return what of *metadata* can be sent, entry by entry, and what is wrong with the rest."""
    try:
        return metadata_of("metadata", metadata), []
    except InvalidRequest as error:
        if not isinstance(metadata, Mapping):
            return None, [error.message]
    kept: dict[str, Any] = {}
    wrong = []
    for name, value in metadata.items():
        try:
            kept |= metadata_of("metadata", {name: value}) or {}
        except InvalidRequest as error:
            wrong.append(error.message)
    return kept or None, wrong


def sendable_metrics(metrics: models.StandardMetrics | None) -> tuple[models.StandardMetrics | None, list[str]]:
    """Return what of *metrics* can be sent, figure by figure, and what is wrong with the rest."""
    try:
        return checked_metrics(metrics), []
    except InvalidRequest as error:
        if not isinstance(metrics, models.StandardMetrics):
            return None, [error.message]
    kept: dict[str, Any] = {}
    wrong = []
    for name in (*_COUNTS, "model_version", "custom"):
        one = {name: getattr(metrics, name)}
        try:
            checked_metrics(models.StandardMetrics(**one))
        except InvalidRequest as error:
            wrong.append(error.message)
        else:
            kept |= one
    return models.StandardMetrics(**kept), wrong


def checked_actual(actual: object, estimate: models.Amount, field: str = "actual") -> models.Amount:
    """Return *actual* when it can be committed against *estimate*: a reservation keeps one unit."""
    # What every section does at least twice: `check` says what is wrong with the others.
    if type(actual) is models.Amount and type(actual.amount) is int and 0 <= actual.amount <= INT64_MAX:
        amount = actual
    else:
        amount = check(field, actual)
    if amount.unit != estimate.unit:
        raise InvalidRequest(
            f"{field}: unit {amount.unit}, but the estimate was in {estimate.unit}; a reservation keeps one unit"
        )
    return amount
