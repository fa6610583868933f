"""The ledger's values as JSON: only ledger/values.py says what is in them."""

from __future__ import annotations

import json
from typing import Any, Final, TypeVar

from cycles.local.ledger.encoding import Answer, compact, text_of
from cycles.local.ledger.keys import ApiKey
from cycles.local.ledger.periods import Period
from cycles.local.ledger.values import Budget, ChargedEvent, Hold, Replay, Tenant, Terms

T = TypeVar("T", Tenant, ApiKey, Terms)

HOLD_KEPT_MS: Final = 30 * 86_400_000
"""How long a reservation that is over is kept after its deadline."""

EVENT_KEPT_MS: Final = HOLD_KEPT_MS
"""How long an event is kept for lists; its idempotency key is free again earlier (ledger/idempotency.py)."""

PURGED_AT_ONCE: Final = 200

_NOUNS: Final = {
    Tenant: "tenant",
    Budget: "budget",
    Hold: "reservation",
    ChargedEvent: "event",
    ApiKey: "key",
    Terms: "budget's terms",
}


class Unreadable(Exception):
    """A row that somebody else wrote."""

    def __init__(self, kind: type, error: Exception) -> None:
        said = str(error).partition("__init__() ")[2] or f"{type(error).__name__}: {error}"
        super().__init__(f"a row of a {_NOUNS[kind]} can't be read ({said})")


def encoded(value: Tenant | Budget | Hold | ChargedEvent | ApiKey | Terms) -> str:
    """Return the JSON of a value."""
    return compact(value.__dict__)


def hold_data(hold: Hold) -> str:
    """Return the JSON of a reservation; the answer that ended it is its last field, and may be encoded already."""
    final_body = hold.final_body
    if not isinstance(final_body, Answer):
        return encoded(hold)
    return f"{compact({**hold.__dict__, 'final_body': None})[:-5]}{final_body.text}}}"


def decoded(kind: type[T], data: str) -> T:
    """Return the value of this kind in a row's *data*."""
    try:
        return kind(**json.loads(data))
    except (ValueError, TypeError) as error:
        raise Unreadable(kind, error) from None


def budget_of(data: str) -> Budget:
    """Return the budget in a row's *data*."""
    try:
        return Budget(**with_period(json.loads(data)))
    except (ValueError, TypeError) as error:
        raise Unreadable(Budget, error) from None


def past_row(budget: Budget) -> tuple[str, str, int, int, int, str]:
    """Return the columns of the row of a period that is over."""
    ended_ms = 0 if budget.period is None else budget.period.ends_ms
    return (budget.scope_path, budget.unit, budget.renewals, budget.reserved, ended_ms, encoded(budget))


def with_period(values: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a budget as they were before they were JSON."""
    if values.get("period") is not None:
        values["period"] = Period(*values["period"])
    return values


def hold_of(data: str) -> Hold:
    """Return the reservation in a row's *data*."""
    try:
        values: dict[str, Any] = json.loads(data)
        values["affected"], values["budgeted"] = tuple(values["affected"]), tuple(values["budgeted"])
        if values.get("renewals") is not None:
            values["renewals"] = tuple(values["renewals"])
        return Hold(**values)
    except (ValueError, TypeError, KeyError) as error:
        raise Unreadable(Hold, error) from None


def event_of(data: str) -> ChargedEvent:
    """Return the event in a row's *data*."""
    try:
        values: dict[str, Any] = json.loads(data)
        values["affected"] = tuple(values["affected"])
        return ChargedEvent(**values)
    except (ValueError, TypeError, KeyError) as error:
        raise Unreadable(ChargedEvent, error) from None


def replay_data(replay: Replay) -> str:
    """Return the JSON of a replay; when it ends is a column."""
    return f'["{replay.payload_hash}",{text_of(replay.body)},{compact(replay.reservation_id)}]'


def replay_of(keep_until_ms: int, data: str) -> Replay:
    """Return the replay in a row."""
    return Replay(keep_until_ms, *json.loads(data))
