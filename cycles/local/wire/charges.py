"""The last charges of this process, which the page shows: bounded, in memory, and gone with the process."""

from __future__ import annotations

from collections import Counter, deque
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cycles.local.ledger.scopes import scopes_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cycles.local.ledger.values import Hold

KEPT: Final = 5_000
"""How many charges are remembered."""

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
STEPS: Final = 30
"""Steps of a budget's hour."""

Body = dict[str, Any]


class Charge(NamedTuple):
    """An amount that was charged, by the commit of a reservation or by an event.

    Attributes:
        at_ms: When.
        via: "commit" or "event".
        tenant: The tenant of the key.
        scopes: The scopes whose budgets paid, widest first.
        kind, name: Of the action.
        unit, amount: What was charged.
    """

    at_ms: int
    via: str
    tenant: str
    scopes: tuple[str, ...]
    kind: str
    name: str
    unit: str
    amount: int


class Total(NamedTuple):
    """What one action has cost in one unit."""

    kind: str
    name: str
    unit: str
    hour: int
    day: int


class Charges:
    """A ring of the last charges. Appending is one step, so that neither threads nor forks need a lock."""

    def __init__(self) -> None:
        self._ring: Final[deque[Charge]] = deque(maxlen=KEPT)

    def committed(self, hold: Hold, answer: Body, now_ms: int) -> None:
        """Remember the commit of *hold*, which was live until now; the same commit again charges nothing."""
        action, charged = hold.action, answer["charged"]
        scopes = tuple(hold.affected)
        self._ring.append(
            Charge(now_ms, "commit", hold.tenant, scopes, action["kind"], action["name"], hold.unit, charged["amount"])
        )

    def recorded(self, tenant: str, body: Body, answer: Body, now_ms: int) -> None:
        """Remember an event that was applied now."""
        action, actual = body["action"], body["actual"]
        charged = (answer.get("charged") or actual)["amount"]
        scopes = tuple(scopes_of(body["subject"]))
        self._ring.append(
            Charge(now_ms, "event", tenant, scopes, action["kind"], action["name"], actual["unit"], charged)
        )

    def of(self, tenant: str | None) -> list[Charge]:
        """Return what is remembered of *tenant* (None: of all), newest first."""
        return [charge for charge in reversed(self._ring.copy()) if tenant is None or charge.tenant == tenant]

    @property
    def is_full(self) -> bool:
        """Whether older charges may have been forgotten."""
        return len(self._ring) == KEPT

    def __repr__(self) -> str:
        return f"<Charges {len(self._ring)}>"


def totals(charges: Iterable[Charge], now_ms: int, most: int) -> list[Total]:
    """Return what each action has cost in the last hour and day; at most *most*, the latest first."""
    hour: Counter[tuple[str, str, str]] = Counter()
    day: Counter[tuple[str, str, str]] = Counter()
    for charge in charges:
        action, age = (charge.kind, charge.name, charge.unit), now_ms - charge.at_ms
        if age < DAY_MS:
            day[action] += charge.amount
            hour[action] += charge.amount if age < HOUR_MS else 0
    return [Total(*action, hour[action], amount) for action, amount in islice(day.items(), most)]


def last_hour(charges: Iterable[Charge], now_ms: int) -> dict[tuple[str, str], list[int]]:
    """Return what each scope has paid in each step of the last hour, oldest first, by scope and unit."""
    step = HOUR_MS // STEPS
    paid: dict[tuple[str, str], list[int]] = {}
    for charge in charges:
        place = STEPS - 1 - max(0, now_ms - charge.at_ms) // step
        if place < 0:
            continue
        for scope in charge.scopes:
            paid.setdefault((scope, charge.unit), [0] * STEPS)[place] += charge.amount
    return paid
