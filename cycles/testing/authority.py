"""The authority of the simulator: the pure ledger on dictionaries, at the times of the virtual clock.

No sockets and no SQLite. It calls the ledger through its modules, so that a test can plant a mistake there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cycles.local.ledger import estimates, events, funding, leases, reservations, settlements
from cycles.local.ledger.bodies import hold_body
from cycles.local.ledger.books import MemoryBooks
from cycles.local.ledger.values import Budget, Refusal
from cycles.local.wire import validation
from cycles.testing.violation import Broken, must

if TYPE_CHECKING:
    from collections.abc import Callable

    from cycles.testing.messages import Body, Request

TENANT: Final = "acme"
SCOPE: Final = f"tenant:{TENANT}"
UNIT: Final = "TOKENS"

_EPOCH_MS: Final = 1_700_000_000_000
_CHECKS: Final[dict[str, Callable[[Any, str], Body]]] = {
    "create_reservation": validation.reservation_request,
    "commit_reservation": validation.commit_request,
    "release_reservation": validation.release_request,
    "extend_reservation": validation.extend_request,
    "create_event": validation.event_request,
    "decide": validation.decision_request,
}
_CHARGES: Final = frozenset({"commit_reservation", "create_event"})


class SimulatedAuthority:
    """A ledger with one tenant's budgets.

    Attributes:
        books: The ledger's rows.
        charged: The sum that commits and events charged; the ledger must say the same.
        repaid: Debt that the operator paid.
    """

    def __init__(self, allocated: int, *, overdraft_limit: int = 0, agent: int | None = None) -> None:
        self.books: Final = MemoryBooks()
        self.charged = 0
        self._made = 0
        self._open(SCOPE, allocated, overdraft_limit)
        if agent is not None:
            self._open(f"{SCOPE}/agent:a", agent, overdraft_limit)

    def _open(self, scope: str, allocated: int, overdraft_limit: int) -> None:
        self.books.put_budget(Budget(scope, UNIT, allocated, TENANT, overdraft_limit=overdraft_limit))

    @property
    def row(self) -> Budget:
        """The budget that every section spends from."""
        return self.books.budgets[SCOPE, UNIT]

    @property
    def taken(self) -> int:
        """What the ledger says was ever charged."""
        return self.row.spent + self.row.debt

    # -- requests ------------------------------------------------------------------------------------------------------
    def handle(self, request: Request, now: float) -> tuple[int, Body]:
        """Answer *request* and count what it charged to its section."""
        now_ms = _EPOCH_MS + int(now * 1000)
        leases.sweep(self.books, now_ms)
        before = self.taken
        try:
            answer = self._answered(request, now_ms)
        except Refusal as refusal:
            answer = refusal.status, _error_body(refusal)
        if request.operation in _CHARGES:
            charge, case = self.taken - before, request.case
            self.charged += charge
            case.charges += charge
            if 400 <= answer[0] < 500 and answer[0] != 410:
                case.was_refused = True
                must(case.charges == 0, "what was charged is replayed, not refused", f"{case.name}: {answer[1]}")
        return answer

    def _answered(self, request: Request, now_ms: int) -> tuple[int, Body]:
        name, books = request.operation, self.books
        if name == "list_reservations":
            return 200, self._listed(request.arguments["idempotency_key"])
        if name == "get_reservation":
            found = reservations.find(books, TENANT, request.arguments["reservation_id"])
            return 200, hold_body(found, include=frozenset())
        body = _checked(name, request.body)
        self._made += 1
        if name == "create_reservation":
            return 200, estimates.reserve(books, TENANT, body, now_ms=now_ms, new_id=f"res-{self._made}")
        if name == "decide":
            return 200, estimates.decide(books, TENANT, body, now_ms=now_ms)
        if name == "create_event":
            return 201, events.event(books, TENANT, body, now_ms=now_ms, new_id=f"evt-{self._made}")
        hold = reservations.find(books, TENANT, request.arguments["reservation_id"])
        if name == "commit_reservation":
            return 200, settlements.commit(books, hold, body, now_ms=now_ms)
        if name == "release_reservation":
            return 200, settlements.release(books, hold, body, now_ms=now_ms)
        if name == "extend_reservation":
            return 200, leases.extend(books, hold, body, now_ms=now_ms)
        raise NotImplementedError(f"the simulated authority does not know {name}")

    def _listed(self, key: str) -> Body:
        found = [hold for hold in self.books.holds.values() if hold.idempotency_key == key]
        return {"reservations": [hold_body(hold, include=frozenset()) for hold in found], "has_more": False}

    # -- without a request ---------------------------------------------------------------------------------------------
    def sweep(self, now: float) -> int:
        """Expire what is overdue and return how many."""
        return leases.sweep(self.books, _EPOCH_MS + int(now * 1000))

    @property
    def last_deadline(self) -> float:
        """The virtual time after which nothing that is held now is held any more."""
        return max((hold.deadline_ms + 1 - _EPOCH_MS for hold in self.books.holds.values()), default=0) / 1000

    def fund(self, amount: int) -> None:
        """Credit *amount*; that also opens a budget that a commit capped."""
        self._operate(lambda: funding.fund(self.books, SCOPE, UNIT, "CREDIT", amount, now_ms=_EPOCH_MS))

    def freeze(self, *, frozen: bool) -> None:
        """Freeze or unfreeze the budget."""
        status = "FROZEN" if frozen else "ACTIVE"
        self._operate(lambda: funding.set_status(self.books, SCOPE, UNIT, status, now_ms=_EPOCH_MS))

    def _operate(self, step: Callable[[], object]) -> None:
        try:
            step()
        except Refusal:
            return  # a frozen budget takes no funds; freezing twice is refused


def _checked(name: str, body: Body) -> Body:
    try:
        return _CHECKS[name](body, "")
    except Refusal as refusal:
        raise Broken("every body that is sent fits the protocol", f"{name}: {refusal.message}") from None


def _error_body(refusal: Refusal) -> Body:
    body: Body = {"error": refusal.code, "message": refusal.message, "request_id": "req-sim"}
    return body if refusal.details is None else body | {"details": refusal.details}
