"""A ledger in dictionaries with a clock of its own, as the worked rows are written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
from attrs import evolve

from cycles.local.ledger import estimates, events, funding, leases, reservations, settlements
from cycles.local.ledger.books import MemoryBooks
from cycles.local.ledger.values import Budget, Hold, Refusal
from tests.support import document

if TYPE_CHECKING:
    from cycles.local import LocalAuthority

TENANT = "tenant:t1"
AGENT = "tenant:t1/agent:a"


class Ledger:
    """Steps of the worked rows, in one line each; every step checks the balance equation."""

    def __init__(self, unit: str = "TOKENS") -> None:
        self.books: Any = MemoryBooks()
        self.unit = unit
        self.now = 1_000_000
        self.made = 0

    def budget(self, allocated: int, scope: str = TENANT, unit: str | None = None, **fields: Any) -> Budget:
        row = Budget(scope, unit or self.unit, allocated, "t1", **fields)
        row = evolve(row, remaining=row.allocated - row.reserved - row.spent - row.debt)
        self.books.put_budget(row)
        return row

    def body(self, key: str | None, **fields: Any) -> dict[str, Any]:
        if key is None:
            self.made += 1
            key = f"key-{self.made}"
        return {"idempotency_key": key, **fields}

    def ask(self, amount: int, *, key: str | None = None, agent: bool = False, **fields: Any) -> dict[str, Any]:
        subject = {"tenant": "t1", **({"agent": "a"} if agent else {})}
        return self.body(
            key,
            subject=fields.pop("subject", subject),
            action={"kind": "k", "name": "n"},
            estimate={"unit": fields.pop("unit", self.unit), "amount": amount},
            **fields,
        )

    def reserve(self, amount: int, **fields: Any) -> dict[str, Any]:
        self.made += 1
        new_id = f"res-{self.made}"
        return self._checked(
            lambda: estimates.reserve(self.books, "t1", self.ask(amount, **fields), now_ms=self.now, new_id=new_id)
        )

    def decide(self, amount: int, **fields: Any) -> dict[str, Any]:
        return self._checked(lambda: estimates.decide(self.books, "t1", self.ask(amount, **fields), now_ms=self.now))

    def event(self, amount: int, *, key: str | None = None, agent: bool = False, **fields: Any) -> dict[str, Any]:
        asked = self.ask(amount, key=key, agent=agent, **fields)
        asked["actual"] = asked.pop("estimate")
        self.made += 1
        return self._checked(lambda: events.event(self.books, "t1", asked, now_ms=self.now, new_id=f"evt-{self.made}"))

    def commit(self, reserved: dict[str, Any], amount: int, key: str | None = None, unit: str | None = None) -> Any:
        body = self.body(key, actual={"unit": unit or self.unit, "amount": amount})
        return self._checked(lambda: settlements.commit(self.books, self.hold(reserved), body, now_ms=self.now))

    def release(self, reserved: dict[str, Any], key: str | None = None) -> Any:
        return self._checked(
            lambda: settlements.release(self.books, self.hold(reserved), self.body(key), now_ms=self.now)
        )

    def extend(self, reserved: dict[str, Any], by_ms: int, key: str | None = None) -> Any:
        body = self.body(key, extend_by_ms=by_ms)
        return self._checked(lambda: leases.extend(self.books, self.hold(reserved), body, now_ms=self.now))

    def fund(self, operation: str, amount: int, spent: int | None = None) -> Any:
        return self._checked(
            lambda: funding.fund(self.books, TENANT, self.unit, operation, amount, now_ms=self.now, spent=spent)
        )

    def sweep(self) -> int:
        return self._checked(lambda: leases.sweep(self.books, self.now))

    def status(self, status: str, scope: str = TENANT) -> None:
        row = self.books.budget(scope, self.unit)
        assert row is not None
        self.books.put_budget(evolve(row, status=status))

    def hold(self, reserved: dict[str, Any]) -> Hold:
        return reservations.find(self.books, "t1", reserved["reservation_id"])

    def row(self, scope: str = TENANT, unit: str | None = None) -> dict[str, Any]:
        """The figures of a budget under the letters that the worked rows use."""
        row = self.books.budget(scope, unit or self.unit)
        assert row is not None
        figures = (row.allocated, row.remaining, row.reserved, row.spent, row.debt, row.is_over_limit)
        return dict(zip("ARVSDO", figures, strict=True))

    def _checked(self, step: Any) -> Any:
        before = dict(self.books.budgets)
        try:
            result = step()
        except Refusal:
            assert self.books.budgets == before, "a refusal moved money"
            raise
        for row in self.books.budgets.values():
            assert row.remaining == row.allocated - row.reserved - row.spent - row.debt
            held = [hold for hold in self.books.holds.values() if hold.status == "ACTIVE" and hold.unit == row.unit]
            assert row.reserved >= sum(hold.estimate for hold in held if _is_in(row, hold))
        return result


class StoredBooks:
    """The rows in an authority's store, with what `MemoryBooks` shows of its own."""

    def __init__(self, authority: LocalAuthority) -> None:
        self._store = authority.store

    def __getattr__(self, name: str) -> Any:
        def called(*arguments: Any) -> Any:
            with self._store.writing() as books:
                return getattr(books, name)(*arguments)

        return called

    @property
    def budgets(self) -> dict[tuple[str, str], Budget]:
        return {(row.scope_path, row.unit): row for row in self.all_budgets()}

    @property
    def holds(self) -> dict[str, Hold]:
        return {hold.reservation_id: hold for hold in self.all_holds()}


class Wired(Ledger):
    """The same steps over HTTP: the runtime's with a key of t1, funding with the administrator's."""

    def __init__(self, authority: LocalAuthority, admin_key: str, clock: Any) -> None:
        self.clock = clock
        super().__init__()
        self.authority = authority
        self.books = StoredBooks(authority)
        self.http = httpx.Client(
            transport=authority.transport(),
            base_url="http://test",
            headers={"X-Cycles-API-Key": authority.key(tenant="t1")},
            event_hooks={"response": [_checked_response]},
        )
        self.admin = httpx.Client(
            transport=authority.transport(), base_url="http://test", headers={"X-Admin-API-Key": admin_key}
        )

    @property
    def now(self) -> int:
        return self.clock.now

    @now.setter
    def now(self, now_ms: int) -> None:
        self.clock.now = now_ms

    def _post(self, http: httpx.Client, path: str, body: dict[str, Any], **parameters: Any) -> Any:
        def step() -> Any:
            response = http.post(path, json=body, params=parameters)
            shown = response.json()
            if not response.is_success:
                raise Refusal(response.status_code, shown["error"], shown["message"], shown.get("details"))
            assert response.status_code == (201 if path == "/v1/events" else 200)
            return shown

        return self._checked(step)

    def reserve(self, amount: int, **fields: Any) -> dict[str, Any]:
        return self._post(self.http, "/v1/reservations", self.ask(amount, **fields))

    def decide(self, amount: int, **fields: Any) -> dict[str, Any]:
        return self._post(self.http, "/v1/decide", self.ask(amount, **fields))

    def event(self, amount: int, **fields: Any) -> dict[str, Any]:
        asked = self.ask(amount, **fields)
        asked["actual"] = asked.pop("estimate")
        return self._post(self.http, "/v1/events", asked)

    def _step(self, reserved: dict[str, Any], step: str, body: dict[str, Any]) -> Any:
        return self._post(self.http, f"/v1/reservations/{reserved['reservation_id']}/{step}", body)

    def commit(self, reserved: dict[str, Any], amount: int, key: str | None = None, unit: str | None = None) -> Any:
        return self._step(reserved, "commit", self.body(key, actual={"unit": unit or self.unit, "amount": amount}))

    def release(self, reserved: dict[str, Any], key: str | None = None) -> Any:
        return self._step(reserved, "release", self.body(key))

    def extend(self, reserved: dict[str, Any], by_ms: int, key: str | None = None) -> Any:
        return self._step(reserved, "extend", self.body(key, extend_by_ms=by_ms))

    def fund(self, operation: str, amount: int, spent: int | None = None) -> Any:
        body: dict[str, Any] = {"operation": operation, "amount": {"unit": self.unit, "amount": amount}}
        if spent is not None:
            body["spent"] = {"unit": self.unit, "amount": spent}
        path = "/v1/admin/budgets/fund"
        return self._post(self.admin, path, body, scope=TENANT, unit=self.unit, tenant_id="t1")

    def sweep(self) -> int:
        return self.authority.sweep()


def _is_in(row: Budget, hold: Hold) -> bool:
    """Whether *hold* is of this row's period."""
    if row.scope_path not in hold.budgeted:
        return False
    return (hold.renewals or (0,) * len(hold.budgeted))[hold.budgeted.index(row.scope_path)] == row.renewals


def _checked_response(response: httpx.Response) -> None:
    response.read()
    document.check(response)


def shows(row: dict[str, Any], **figures: Any) -> bool:
    """Whether the row has these figures; a row that lacks one fails with both in view."""
    assert {name: row[name] for name in figures} == figures
    return True
