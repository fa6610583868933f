"""Random scripts on the authority and on a naive model of it (model.py): the same answers, the same books."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, precondition, rule

from cycles import tokens
from cycles.errors import InvalidRequest
from cycles.local import LocalAuthority
from cycles.local.ledger import estimates, events, funding, leases, reservations, settlements
from cycles.local.ledger.books import MemoryBooks
from cycles.local.ledger.values import INT64_MAX, Budget, Hold, Refusal
from cycles.local.wire.messages import Request
from tests.support.postgres import STORES, place_of

from .model import Held, Model, No, Row

TENANT = "tenant:acme"
SCOPES = [TENANT, f"{TENANT}/app:p", f"{TENANT}/app:p/agent:a"]
SUBJECTS = [
    ({"tenant": "acme"}, SCOPES[:1]),
    ({"tenant": "acme", "app": "P"}, SCOPES[:2]),
    ({"tenant": "acme", "app": "p", "agent": "A"}, SCOPES),
    ({"agent": "a"}, ["agent:a"]),
]
START = 1_800_000_000_000

amounts = st.one_of(st.integers(0, 60), st.sampled_from([0, 1, 100, 2**53 + 1, INT64_MAX - 60, INT64_MAX]))
sizes = st.one_of(st.integers(0, 200), st.integers(INT64_MAX - 100, INT64_MAX))
policies = st.sampled_from(["REJECT", "ALLOW_IF_AVAILABLE", "ALLOW_WITH_OVERDRAFT"])


class OnTheWire:
    """The authority as `handle` shows it, on SQLite."""

    store = "memory"

    def __init__(self) -> None:
        self.now = START
        self.open = ExitStack()
        place = self.open.enter_context(place_of(self.store))
        self.authority = self.open.enter_context(LocalAuthority(place, clock=lambda: self.now))
        self.headers = {"x-cycles-api-key": self.authority.key(tenant="acme")}

    def budget(self, scope: str, allocated: int, limit: int) -> None:
        self.authority.budget(scope, tokens(allocated), overdraft_limit=tokens(limit))

    def ask(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        request = Request("POST", f"/v1/{path}", "", self.headers, json.dumps(body).encode())
        response = self.authority.app.handle(request)
        return response.status, json.loads(response.body)

    def fund(self, scope: str, operation: str, amount: int) -> bool:
        try:
            self.authority.fund(scope, operation, tokens(amount))
        except InvalidRequest:
            return False
        return True

    def status(self, scope: str, status: str) -> None:
        (self.authority.freeze if status == "FROZEN" else self.authority.unfreeze)(scope, "TOKENS")

    def budgets(self) -> list[Budget]:
        return self.authority.balances()

    def holds(self) -> list[Hold]:
        return self.authority.reservations()

    def close(self) -> None:
        self.open.close()


class OnPostgres(OnTheWire):
    """The same on PostgreSQL."""

    store = "postgres"


STEPS = {"commit": settlements.commit, "release": settlements.release, "extend": leases.extend}


class InDictionaries:
    """The pure ledger on dictionaries, as the simulator uses it."""

    def __init__(self) -> None:
        self.now, self.made = START, 0
        self.books = MemoryBooks()

    def budget(self, scope: str, allocated: int, limit: int) -> None:
        funding.set_budget(
            self.books,
            scope_path=scope,
            unit="TOKENS",
            allocated=allocated,
            tenant="acme",
            now_ms=self.now,
            overdraft_limit=limit,
        )

    def ask(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        leases.sweep(self.books, self.now)
        self.made += 1
        try:
            return 201 if path == "events" else 200, self._answer(path.split("/"), json.loads(json.dumps(body)))
        except Refusal as refusal:
            return refusal.status, {"error": refusal.code}

    def _answer(self, path: list[str], body: dict[str, Any]) -> dict[str, Any]:
        new_id = f"id-{self.made}"
        match path:
            case ["reservations"]:
                return estimates.reserve(self.books, "acme", body, now_ms=self.now, new_id=new_id)
            case ["decide"]:
                return estimates.decide(self.books, "acme", body, now_ms=self.now)
            case ["events"]:
                return events.event(self.books, "acme", body, now_ms=self.now, new_id=new_id)
            case [_, reservation_id, step]:
                hold = reservations.find(self.books, "acme", reservation_id)
                answer: dict[str, Any] = STEPS[step](self.books, hold, body, now_ms=self.now)
                return answer
        raise AssertionError(path)

    def fund(self, scope: str, operation: str, amount: int) -> bool:
        leases.sweep(self.books, self.now)
        try:
            funding.fund(self.books, scope, "TOKENS", operation, amount, now_ms=self.now)
        except Refusal:
            return False
        return True

    def status(self, scope: str, status: str) -> None:
        leases.sweep(self.books, self.now)
        funding.set_status(self.books, scope, "TOKENS", status, now_ms=self.now)

    def budgets(self) -> list[Budget]:
        leases.sweep(self.books, self.now)
        return list(self.books.budgets.values())

    def holds(self) -> list[Hold]:
        leases.sweep(self.books, self.now)
        return list(self.books.holds.values())

    def close(self) -> None:
        pass


class Script(RuleBasedStateMachine):
    """One random script; every answer is compared with the model's."""

    world: type[OnTheWire | InDictionaries] = OnTheWire
    reservations = Bundle("reservations")

    def __init__(self) -> None:
        super().__init__()
        self.real = self.world()
        self.model = Model(START)
        self.keys = 0
        self.done: list[tuple[str, dict[str, Any], int, dict[str, Any]]] = []

    @initialize(
        allocated=st.tuples(*[sizes] * 3),
        limits=st.tuples(*[st.sampled_from([0, 0, 10, 100])] * 3),
        present=st.sampled_from([(1, 1, 1), (1, 0, 1), (0, 1, 1), (1, 0, 0)]),
    )
    def budgets(self, allocated: tuple[int, ...], limits: tuple[int, ...], present: tuple[int, ...]) -> None:
        for scope, size, limit, here in zip(SCOPES, allocated, limits, present, strict=True):
            if here:
                self.real.budget(scope, size, limit)
                self.model.rows[scope] = Row(size, limit)

    def ask(self, path: str, **body: Any) -> tuple[int, dict[str, Any]]:
        self.keys += 1
        body["idempotency_key"] = f"key-{self.keys}"
        self.model.sweep()
        status, answer = self.real.ask(path, body)
        if status < 300:
            self.done.append((path, body, status, answer))
        return status, answer

    def agrees(self, answer: tuple[int, dict[str, Any]], expected: No) -> None:
        assert (answer[0], answer[1].get("error")) == expected.args

    @staticmethod
    def terms(subject: dict[str, str], amount: int, name: str = "estimate") -> dict[str, Any]:
        money = {"unit": "TOKENS", "amount": amount}
        return {"subject": subject, "action": {"kind": "k", "name": "n"}, name: money}

    @rule(
        target=reservations,
        subject=st.sampled_from(SUBJECTS),
        amount=amounts,
        policy=policies,
        ttl=st.sampled_from([1_000, 5_000, 86_400_000]),
        grace=st.sampled_from([0, 5_000]),
    )
    def reserve(self, subject: Any, amount: int, policy: str, ttl: int, grace: int) -> Any:
        named, scopes = subject
        extra = {"overage_policy": policy, "ttl_ms": ttl, "grace_period_ms": grace}
        answer = self.ask("reservations", **self.terms(named, amount), **extra)
        try:
            held = self.model.reserve(scopes, amount, policy, ttl, grace)
        except No as refusal:
            self.agrees(answer, refusal)
            return multiple()
        assert answer[0] == 200, answer
        assert answer[1]["expires_at_ms"] == held.expires
        assert answer[1]["affected_scopes"] == scopes
        self.model.held[answer[1]["reservation_id"]] = held
        return answer[1]["reservation_id"]

    @rule(subject=st.sampled_from(SUBJECTS), amount=amounts, dry=st.booleans())
    def decide(self, subject: Any, amount: int, dry: bool) -> None:
        named, scopes = subject
        body = self.terms(named, amount) | ({"dry_run": True} if dry else {})
        status, answer = self.ask("reservations" if dry else "decide", **body)
        assert status == 200
        try:
            self.model.gates(scopes, amount)
        except No as refusal:
            reason = refusal.args[1].replace("NOT_FOUND", "BUDGET_NOT_FOUND")
            assert (answer["decision"], answer["reason_code"]) == ("DENY", reason)
        else:
            assert answer["decision"] == "ALLOW"

    @rule(subject=st.sampled_from(SUBJECTS), amount=amounts, policy=policies)
    def event(self, subject: Any, amount: int, policy: str) -> None:
        named, scopes = subject
        answer = self.ask("events", **self.terms(named, amount, "actual"), overage_policy=policy)
        try:
            charged = self.model.event(scopes, amount, policy)
        except No as refusal:
            self.agrees(answer, refusal)
            return
        assert answer[0] == 201, answer
        assert answer[1].get("charged", {"amount": amount})["amount"] == charged
        assert ("charged" in answer[1]) == (charged < amount)

    def settle(self, reservation_id: str, step: str, work: Any, **body: Any) -> tuple[dict[str, Any], Any] | None:
        held: Held = self.model.held[reservation_id]
        answer = self.ask(f"reservations/{reservation_id}/{step}", **body)
        try:
            result = work(held)
        except No as refusal:
            self.agrees(answer, refusal)
            return None
        assert answer[0] == 200, answer
        return answer[1], result

    @rule(reservation_id=reservations, actual=amounts)
    def commit(self, reservation_id: str, actual: int) -> None:
        estimate = self.model.held[reservation_id].e
        amount = {"unit": "TOKENS", "amount": actual}
        done = self.settle(reservation_id, "commit", lambda held: self.model.commit(held, actual), actual=amount)
        if done:
            answer, charged = done
            assert answer["charged"]["amount"] == charged
            assert answer.get("released", {"amount": 0})["amount"] == max(estimate - charged, 0)
            assert ("released" in answer) == (charged < estimate)

    @rule(reservation_id=reservations)
    def release(self, reservation_id: str) -> None:
        done = self.settle(reservation_id, "release", self.model.release)
        if done:
            assert done[0]["released"]["amount"] == self.model.held[reservation_id].e

    @rule(reservation_id=reservations, by=st.sampled_from([1, 1_000, 86_400_000]))
    def extend(self, reservation_id: str, by: int) -> None:
        done = self.settle(reservation_id, "extend", lambda held: self.model.extend(held, by), extend_by_ms=by)
        if done:
            held = self.model.held[reservation_id]
            assert done[0]["expires_at_ms"] == held.expires
            assert done[0]["remaining_ttl_ms"] == held.expires - self.model.now

    @precondition(lambda self: self.done)
    @rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        """Whatever succeeded is answered again, verbatim but for the remaining time; another payload is refused."""
        path, body, status, first = data.draw(st.sampled_from(self.done))
        self.model.sweep()
        again = self.real.ask(path, dict(reversed(body.items())))
        expected = first
        if "remaining_ttl_ms" in first:
            name = first.get("reservation_id") or path.split("/")[1]
            live = self.model.held[name].state == "ACTIVE"
            expected = first | {"remaining_ttl_ms": max(0, first["expires_at_ms"] - self.model.now) if live else 0}
        assert again == (status, expected)
        status, answer = self.real.ask(path, other(path, body))
        assert (status, answer.get("error")) == (409, "IDEMPOTENCY_MISMATCH")

    @rule(by=st.sampled_from([0, 1, 1_000, 4_000, 5_001, 100_000]))
    def time_passes(self, by: int) -> None:
        self.real.now += by
        self.model.now += by

    @rule(
        scope=st.sampled_from(SCOPES),
        operation=st.sampled_from(["CREDIT", "DEBIT", "RESET", "RESET_SPENT", "REPAY_DEBT"]),
        amount=st.one_of(st.integers(0, 150), st.just(INT64_MAX)),
    )
    def fund(self, scope: str, operation: str, amount: int) -> None:
        self.model.sweep()
        if scope in self.model.rows:
            row = self.model.rows[scope]
            possible = operation != "DEBIT" or amount <= row.A
            if possible:
                assert self.real.fund(scope, operation, amount) == self.model.fund(scope, operation, amount)

    @rule(scope=st.sampled_from(SCOPES), limit=st.sampled_from([0, 5, 50]))
    def patch_limit(self, scope: str, limit: int) -> None:
        self.model.sweep()
        row = self.model.rows.get(scope)
        if row is not None and row.status == "ACTIVE":
            self.real.budget(scope, row.A, limit)
            row.L = limit
            row.O = limit < row.D

    @rule(scope=st.sampled_from(SCOPES))
    def freeze_or_unfreeze(self, scope: str) -> None:
        self.model.sweep()
        row = self.model.rows.get(scope)
        if row is not None:
            row.status = "FROZEN" if row.status == "ACTIVE" else "ACTIVE"
            self.real.status(scope, row.status)

    @invariant()
    def the_books_agree(self) -> None:
        self.model.sweep()
        holds = self.real.holds()
        assert {hold.reservation_id: (hold.status, hold.estimate, hold.expires_at_ms) for hold in holds} == {
            name: (held.state, held.e, held.expires) for name, held in self.model.held.items()
        }
        seen = {}
        for row in self.real.budgets():
            live = [hold.estimate for hold in holds if hold.status == "ACTIVE" and row.scope_path in hold.budgeted]
            assert row.reserved == sum(live)
            assert max(row.allocated, row.spent, row.reserved, row.debt, -row.remaining) <= INT64_MAX
            assert row.remaining == row.allocated - row.spent - row.reserved - row.debt
            assert min(row.allocated, row.spent, row.reserved, row.debt, row.overdraft_limit) >= 0
            seen[row.scope_path] = {name: getattr(row, name) for name in next(iter(self.model.figures().values()))}
        assert seen == self.model.figures()

    def teardown(self) -> None:
        self.real.close()


def other(path: str, body: dict[str, Any]) -> dict[str, Any]:
    """The same key with another payload."""
    if path.endswith("release"):
        return body | {"reason": "another"}
    return body | {"metadata": {"another": 1}}


class PureScript(Script):
    world = InDictionaries


class PostgresScript(Script):
    world = OnPostgres


TestOnTheWire = pytest.mark.slow(Script.TestCase)
TestInDictionaries = pytest.mark.slow(PureScript.TestCase)
if "postgres" in STORES:
    TestOnPostgres = pytest.mark.slow(PostgresScript.TestCase)
    TestOnPostgres.settings = settings(
        max_examples=30, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
TestOnTheWire.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestInDictionaries.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
