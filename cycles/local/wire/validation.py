"""Validation of request bodies, before the ledger sees them.

A refusal names the field: `Validation failed: estimate.amount: must be an integer from 0 to 9223372036854775807`.
The result has the fields in the protocol's order, without nulls: null means absent.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from cycles.local.ledger.keys import PERMISSIONS
from cycles.local.ledger.values import INT64_MAX, LEVELS, UNITS, Refusal
from cycles.local.wire.messages import MAX_BODY

if TYPE_CHECKING:
    from cycles.local.wire.messages import Request

Check: TypeAlias = Callable[[Any, str], Any]

_JSON: Final = "application/json"

_LONGEST_EXPONENT: Final = 8

_PLANS: Final = 64
"""Sets of fields that an object was sent with, for each of which the checks to make are remembered."""

MAX_DEPTH: Final = 100
"""Levels of objects and arrays in a body: a deeper one could be read and kept, but not encoded in an answer."""

_SUBJECT_VALUE: Final = re.compile(r"[A-Za-z0-9_.\-]{1,128}")
_BLANK: Final = "".join(map(chr, range(33)))
"""What a text must have more than; other white space, such as a no-break space, is a character like any other."""

_NUMBER: Final = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def invalid(field: str, reason: str) -> Refusal:
    """Return the refusal of *field*."""
    return Refusal(400, "INVALID_REQUEST", f"Validation failed: {field}: {reason}")


# -- JSON --------------------------------------------------------------------------------------------------------------
def parsed(body: bytes) -> dict[str, Any]:
    """Return the JSON object in *body*."""
    if body[:1] != b"{" and not body.strip():
        raise Refusal(400, "INVALID_REQUEST", "the body is missing: send a JSON object")
    try:
        text = body.decode()
        value = _decoded(text)
    except (ValueError, RecursionError) as error:
        said = (
            "the body has a number of too many digits"
            if "integer string" in str(error)
            else f"the body is no JSON: {error}"
        )
        raise Refusal(400, "INVALID_REQUEST", said) from None
    if not isinstance(value, dict):
        raise Refusal(400, "INVALID_REQUEST", "the body must be a JSON object")
    if text.count("{") + text.count("[") > MAX_DEPTH and _is_deep(value):
        raise Refusal(400, "INVALID_REQUEST", f"the body is nested deeper than {MAX_DEPTH} levels")
    # An escape can write half a character, which no file and no answer can hold.
    if "\\u" in text and _SURROGATE.search(json.dumps(value, ensure_ascii=False)):
        raise Refusal(400, "INVALID_REQUEST", "the body holds half a character (a lone surrogate)")
    return value


def checked_body(request: Request, check: Check) -> dict[str, Any]:
    """Return the body of *request* after *check*."""
    given = request.headers.get("content-type", _JSON)
    if given != _JSON:
        content_type = given.partition(";")[0].strip().lower()
        if content_type != _JSON:
            raise Refusal(415, "INVALID_REQUEST", f"send application/json, not {content_type or 'nothing'}")
    if len(request.body) > MAX_BODY:
        raise Refusal(413, "INVALID_REQUEST", f"the body is larger than {MAX_BODY} bytes")
    body: dict[str, Any] = check(parsed(request.body), "")
    return body


def same_key(request: Request, body: Mapping[str, Any]) -> None:
    """Refuse a header that names another idempotency key than the body."""
    header = request.headers.get("x-idempotency-key")
    if header is not None and header != body.get("idempotency_key"):
        raise Refusal(400, "INVALID_REQUEST", "X-Idempotency-Key differs from the body's idempotency_key")


def _is_deep(value: dict[str, Any]) -> bool:
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in (node.values() if isinstance(node, dict) else node)]
        level = [child for child in level if isinstance(child, (dict, list))]
    return bool(level)


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


class _Written(float):
    """A number with a point or an exponent, as it was written: 9007199254740993.0 is an integer that no float holds."""

    text: str

    def whole(self) -> int | None:
        """Return the number when its fraction is zero, else None; exact up to far beyond int64."""
        match = _NUMBER.fullmatch(self.text)
        assert match is not None  # noqa: S101 - types: the decoder found a number of JSON
        sign, digits, fraction, exponent = match[1], match[2], match[3] or "", match[4] or "0"
        significant = (digits + fraction).rstrip("0")
        if not significant.strip("0"):
            return 0
        if len(exponent) > _LONGEST_EXPONENT:  # far from 0 it is out of range already, so this is a tiny fraction
            return None
        power = int(exponent) + len(digits) - len(significant)
        return int(f"{sign}{significant.lstrip('0')}{'0' * power}") if power >= 0 else None


def _finite(text: str) -> float:
    number = _Written(text)
    if math.isinf(number):
        raise ValueError(f"{text} is out of range")
    number.text = text
    return number


_DECODER: Final = json.JSONDecoder(parse_constant=_no_constant, parse_float=_finite)


def _decoded(text: str) -> Any:
    """Return the JSON value in *text*. The decoder looks for white space around it, where mostly there is none."""
    try:
        value, end = _DECODER.scan_once(text, 0)  # type: ignore[attr-defined]  # as of Python 3.0
    except StopIteration:
        value, end = None, -1
    return value if end == len(text) else _DECODER.decode(text)


# -- fields ------------------------------------------------------------------------------------------------------------
def text(low: int, high: int, *, blank: bool = True) -> Check:
    bounds = f"must have {low} to {high} characters" if low else f"must have at most {high} characters"

    def check(value: Any, field: str) -> str:
        if not isinstance(value, str):
            raise invalid(field, "must be a string")
        if not blank and not value.strip(_BLANK):
            raise invalid(field, "must not be blank")
        if not low <= len(value) <= high:
            raise invalid(field, bounds)
        return value

    return check


def integer(low: int, high: int) -> Check:
    def check(value: Any, field: str) -> int:
        if isinstance(value, _Written):
            value = value.whole()
        if type(value) is not int or not low <= value <= high:  # no bool, no fraction, no digits in a string
            raise invalid(field, f"must be an integer from {low} to {high}")
        return value

    return check


def one_of(*known: str) -> Check:
    def check(value: Any, field: str) -> str:
        if not isinstance(value, str) or value not in known:
            raise invalid(field, f"must be one of {', '.join(known)}")
        return value

    return check


def _flag(value: Any, field: str) -> bool:
    if not isinstance(value, bool):
        raise invalid(field, "must be true or false")
    return value


def anything(value: Any, field: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise invalid(field, "must be an object")
    return value


def items(value: Any, field: str, most: int | None = None) -> list[Any]:
    if not isinstance(value, list):
        raise invalid(field, "must be an array of strings")
    if most is not None and len(value) > most:
        raise invalid(field, f"must have at most {most} entries")
    return value


def _tags(value: Any, field: str) -> list[str]:
    return [_tag(tag, f"{field}[{position}]") for position, tag in enumerate(items(value, field, 10))]


def _tools(value: Any, field: str) -> list[str]:
    return [_tool(tool, f"{field}[{position}]") for position, tool in enumerate(items(value, field))]


def _level(value: Any, field: str) -> str:
    if not isinstance(value, str):
        raise invalid(field, "must be a string")
    if not _SUBJECT_VALUE.fullmatch(value):
        raise invalid(field, "must be 1 to 128 characters out of letters, digits, '_', '.' and '-'")
    return value


def strings_of(most: int) -> Check:
    def check(value: Any, field: str) -> dict[str, str]:
        if not isinstance(value, dict):
            raise invalid(field, "must be an object of strings")
        if len(value) > most:
            raise invalid(field, f"must have at most {most} entries")
        return {name: _dimension(text, f"{field}.{name}") for name, text in value.items()}

    return check


def fields(required: Mapping[str, Check], optional: Mapping[str, Check]) -> Check:
    checks = [(name, check, name in required) for name, check in {**required, **optional}.items()]
    known = frozenset(name for name, _, _ in checks)
    plans: dict[tuple[str, ...], list[tuple[str, Check, str]]] = {}

    def check_object(value: Any, field: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise invalid(field, "must be an object")
        plan = plans.get((field, *value))
        if plan is not None and None not in value.values():
            return {name: check(value[name], path) for name, check, path in plan}
        prefix = f"{field}." if field else ""
        if not value.keys() <= known:
            unknown = min(value.keys() - known)
            raise invalid(f"{prefix}{unknown}", f"is not a field here; there are {', '.join(sorted(known))}")
        result = {}
        for name, check, is_required in checks:
            given = value.get(name)
            if given is not None:
                result[name] = check(given, prefix + name)
            elif is_required:
                raise invalid(prefix + name, "is required")
        if len(plans) < _PLANS and len(result) == len(value):
            plans[field, *value] = [(name, check, prefix + name) for name, check, _ in checks if name in result]
        return result

    return check_object


_tag: Final = text(0, 64)
_dimension: Final = text(0, 256)
strings: Final = strings_of(32)
key: Final = text(1, 256)
count: Final = integer(0, INT64_MAX)
duration: Final = integer(1_000, 86_400_000)
_tool: Final = text(0, 256)
_permission: Final = one_of(*PERMISSIONS)
policy: Final = one_of("REJECT", "ALLOW_IF_AVAILABLE", "ALLOW_WITH_OVERDRAFT")
_subject: Final = fields({}, {**dict.fromkeys(LEVELS, _level), "dimensions": strings_of(16)})
_policy_keys: Final = fields(  # kept with the action; there are no rules that would go by them
    {},
    {
        "host": text(0, 253),
        "recipient_domain": text(0, 253),
        "resource_type": text(0, 128),
        "path_prefix": text(0, 512),
        "custom": strings_of(8),
    },
)
_action: Final = fields(
    {"kind": text(0, 64, blank=False), "name": text(0, 256, blank=False)},
    {"tags": _tags, "policy_keys": _policy_keys},
)
amount: Final = fields({"unit": one_of(*UNITS), "amount": count}, {})
_metrics: Final = fields(
    {},
    {
        "tokens_input": count,
        "tokens_output": count,
        "latency_ms": count,
        "model_version": text(0, 128),
        "custom": anything,
    },
)
_ask: Final = {"idempotency_key": key, "subject": _subject, "action": _action}

decision_request: Final = fields({**_ask, "estimate": amount}, {"metadata": anything})
reservation_request: Final = fields(
    {**_ask, "estimate": amount},
    {
        "ttl_ms": duration,
        "grace_period_ms": integer(0, 60_000),
        "overage_policy": policy,
        "dry_run": _flag,
        "observe_mode": one_of("DISABLED", "OBSERVE", "ENFORCE"),
        "metadata": anything,
    },
)
event_request: Final = fields(
    {**_ask, "actual": amount},
    {"overage_policy": policy, "metrics": _metrics, "client_time_ms": count, "metadata": anything},
)
commit_request: Final = fields({"idempotency_key": key, "actual": amount}, {"metrics": _metrics, "metadata": anything})
release_request: Final = fields({"idempotency_key": key}, {"reason": text(0, 256)})
extend_request: Final = fields({"idempotency_key": key, "extend_by_ms": integer(1, 86_400_000)}, {"metadata": anything})


caps: Final = fields(
    {},
    {
        "max_tokens": count,
        "max_steps_remaining": count,
        "tool_allowlist": _tools,
        "tool_denylist": _tools,
        "cooldown_ms": count,
    },
)
tenant_settings: Final = fields(
    {
        "status": one_of("ACTIVE", "SUSPENDED", "CLOSED"),
        "default_ttl_ms": duration,
        "max_ttl_ms": duration,
        "max_extensions": integer(0, INT64_MAX),
        "overage_policy": policy,
    },
    {"name": text(1, 256, blank=False), "metadata": strings},
)


def permissions(value: Any, field: str) -> list[str]:
    """Return a key's permissions."""
    return [_permission(each, f"{field}[{position}]") for position, each in enumerate(items(value, field, 64))]


def has_a_level(subject: Mapping[str, Any]) -> None:
    """Refuse a subject without any standard level."""
    if not any(level in subject for level in LEVELS):
        raise invalid("subject", f"must name at least one of {', '.join(LEVELS)}")
