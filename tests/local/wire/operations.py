"""One good request of each operation, and what a ledger holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cycles.local.wire import validation
from tests.support.postgres import dumped

if TYPE_CHECKING:
    from cycles.local import LocalAuthority

NOW = 1_800_000_000_000

_AMOUNT = {"unit": "TOKENS", "amount": 5}
_ASK = {
    "idempotency_key": "key",
    "subject": {"tenant": "acme", "agent": "a", "dimensions": {"team": "x"}},
    "action": {
        "kind": "llm.completion",
        "name": "gpt",
        "tags": ["t"],
        "policy_keys": {"host": "h", "custom": {"a": "b"}},
    },
    "metadata": {"any": [1, {"thing": None}]},
}
_METRICS = {"tokens_input": 1, "tokens_output": 2, "latency_ms": 3, "model_version": "v", "custom": {"x": 1}}

REQUESTS: dict[str, tuple[str, str, validation.Check, dict[str, Any]]] = {
    "reserve": (
        "/v1/reservations",
        "ReservationCreateRequest",
        validation.reservation_request,
        _ASK
        | {
            "estimate": _AMOUNT,
            "ttl_ms": 1000,
            "grace_period_ms": 0,
            "overage_policy": "REJECT",
            "dry_run": True,
            "observe_mode": "ENFORCE",
        },
    ),
    "decide": ("/v1/decide", "DecisionRequest", validation.decision_request, _ASK | {"estimate": _AMOUNT}),
    "event": (
        "/v1/events",
        "EventCreateRequest",
        validation.event_request,
        _ASK | {"actual": _AMOUNT, "overage_policy": "REJECT", "metrics": _METRICS, "client_time_ms": 0},
    ),
    "commit": (
        "/v1/reservations/{id}/commit",
        "CommitRequest",
        validation.commit_request,
        {"idempotency_key": "key", "actual": _AMOUNT, "metrics": _METRICS, "metadata": {"m": []}},
    ),
    "release": (
        "/v1/reservations/{id}/release",
        "ReleaseRequest",
        validation.release_request,
        {"idempotency_key": "key", "reason": "over"},
    ),
    "extend": (
        "/v1/reservations/{id}/extend",
        "ReservationExtendRequest",
        validation.extend_request,
        {"idempotency_key": "key", "extend_by_ms": 1, "metadata": {}},
    ),
}


def rows(authority: LocalAuthority) -> list[str]:
    return dumped(authority)
