"""The same random operations on SQLite and on PostgreSQL: the same answers, and the same ledgers in the end."""

from __future__ import annotations

import json
import random
import re
from contextlib import ExitStack
from typing import Any

import pytest
from attrs import evolve

from cycles import tokens
from cycles.local import LocalAuthority
from cycles.local.ledger.values import INT64_MAX
from cycles.local.wire.messages import Request
from tests.support.authorities import ADMIN_KEY, Clock

TENANTS = ("acme", "other")
SCOPES = ("", "/app:p", "/app:p/agent:a", "/agent:b")
OPERATIONS = 10_000
KINDS = (
    ["reserve"] * 8
    + ["commit"] * 5
    + ["release"] * 2
    + ["extend"] * 2
    + ["event"] * 2
    + ["decide", "dry", "again", "again", "fund", "freeze", "patch", "list", "balances", "get", "time", "time", "odd"]
)


UUID, NAME = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), re.compile(r"name-[0-9]{6}")


def in_any_order(shown: Any, query: str) -> Any:
    """Return an answer with its reservations in one order: ids decide ties, and they are each side's own."""
    rows = shown.get("reservations")
    if rows is None:
        return shown
    if shown["has_more"]:  # which of the last ones are in the page is such a tie
        return len(rows) if "sort_by" in query else [row["created_at_ms"] for row in rows]
    return shown | {"reservations": sorted(rows, key=lambda row: row["reservation_id"])}


class Side:
    """One authority, and what its ids are called on both sides."""

    def __init__(self, place: str | None, clock: Clock) -> None:
        self.authority = LocalAuthority(place, clock=clock, admin_key=ADMIN_KEY)
        self.names: dict[str, str] = {}
        self.ids: dict[str, str] = {}
        for tenant in TENANTS:
            self.authority.add_key(f"key of {tenant}", tenant=tenant)

    def ask(self, method: str, path: str, query: str, headers: dict[str, str], body: Any) -> Any:
        path = NAME.sub(lambda found: self.ids.get(found[0], found[0]), path)
        content = b"" if body is None else json.dumps(body).encode()
        response = self.authority.app.handle(Request(method, path, query, headers, content))
        return response.status, self.common(json.loads(response.body))

    def common(self, value: Any) -> Any:
        """Return an answer with names instead of ids, and without what is each request's own."""
        if isinstance(value, dict):
            own = ("request_id", "trace_id", "next_cursor", "ledger_id")
            return {name: self.common(inner) for name, inner in value.items() if name not in own}
        if isinstance(value, list):
            return [self.common(inner) for inner in value]
        if isinstance(value, str):
            return UUID.sub(lambda found: self.names.get(found[0], found[0]), value)
        return value

    def call(self, mine: str, common: str) -> None:
        """Let an id of this side have a name that both have."""
        self.names[mine], self.ids[common] = common, mine


class Both:
    """Random requests to both sides at once."""

    def __init__(self, seed: int, places: tuple[str | None, str | None], clock: Clock) -> None:
        self.dice, self.clock = random.Random(seed), clock
        self.sides = [Side(place, clock) for place in places]
        self.held: list[tuple[str, str]] = []
        self.sent: list[tuple[str, str, dict[str, str], Any]] = []
        self.made = 0
        for scope in SCOPES:
            for tenant in TENANTS:
                for side in self.sides:
                    anew = {"period": "hour", "zone": "Asia/Kolkata"} if scope == SCOPES[1] else {}
                    path = f"tenant:{tenant}{scope}"
                    side.authority.budget(path, tokens(2000), overdraft_limit=tokens(40), **anew)

    def post(self, path: str, headers: dict[str, str], body: Any, *, method: str = "POST", query: str = "") -> Any:
        """Send a request to both sides; both must answer the same."""
        if method == "POST":
            self.sent.append((path, query, headers, body))
        raw = []
        for side in self.sides:
            # A new id is unknown until it is answered: both get the same name then.
            status, shown = side.ask(method, path, query, headers, body)
            new = shown.get("reservation_id", shown.get("event_id"))
            if isinstance(new, str) and not new.startswith("name-"):
                side.call(new, f"name-{self.made:06d}")
                shown = side.common(shown)
            raw.append((status, in_any_order(shown, query)))
        assert raw[0] == raw[1], (method, path, query, body)
        return raw[0]

    def step(self) -> int:  # noqa: PLR0912 - a table of operations
        """Do one operation; return the status of the answer."""
        self.made += 1
        dice, kind, tenant = self.dice, self.dice.choice(KINDS), self.dice.choice(TENANTS)
        headers = {"x-cycles-api-key": f"key of {tenant}"}
        amount = dice.choice((0, 1, 5, 30, 30, 70, INT64_MAX)) if dice.random() < 0.3 else dice.randint(0, 40)
        money = {"unit": "TOKENS" if dice.random() < 0.97 else "CREDITS", "amount": amount}
        body: dict[str, Any] = {"idempotency_key": f"k{self.made}\0"[: dice.choice((10, 10, 50))]}
        subject = {"tenant": tenant} | dice.choice(({}, {"app": "P"}, {"app": "p", "agent": "a"}, {"agent": "b"}))
        terms = {"subject": subject, "action": {"kind": "k", "name": "n"}}
        policy = {"overage_policy": dice.choice(("REJECT", "ALLOW_IF_AVAILABLE", "ALLOW_WITH_OVERDRAFT"))}
        match kind:
            case "time":
                self.clock.now += dice.choice((0, 1, 900, 1_000, 5_000, 70_000, 400_000, -2_000))
                return 0
            case "reserve" | "dry":
                lease = {"ttl_ms": dice.choice((1_000, 60_000, 600_000)), "grace_period_ms": dice.choice((0, 5_000))}
                extra = lease | policy | ({"dry_run": True} if kind == "dry" else {})
                extra |= {"metadata": {"a": "\0ü", "n": [1.5, 1e300]}} if dice.random() < 0.1 else {}
                status, answer = self.post("/v1/reservations", headers, body | terms | {"estimate": money} | extra)
                if answer.get("reservation_id"):
                    self.held.append((tenant, answer["reservation_id"]))
                return status
            case "decide":
                return self.post("/v1/decide", headers, body | terms | {"estimate": money})[0]
            case "event":
                return self.post("/v1/events", headers, body | terms | policy | {"actual": money})[0]
            case "again" if self.sent:
                path, query, before, sent = dice.choice(self.sent[-40:])
                if dice.random() < 0.2:
                    sent = evolve_body(sent)
                return self.post(path, before, sent, query=query)[0]
            case "commit" | "release" | "extend" if self.held:
                owner, name = dice.choice(self.held[-30:])
                headers = {"x-cycles-api-key": f"key of {owner}"} if dice.random() < 0.95 else headers
                more = {"commit": {"actual": money}, "extend": {"extend_by_ms": dice.choice((1, 60_000))}}.get(kind, {})
                return self.post(f"/v1/reservations/{name}/{kind}", headers, body | more)[0]
            case "get" if self.held:
                return self.post(f"/v1/reservations/{dice.choice(self.held)[1]}", headers, None, method="GET")[0]
            case "list":
                query = dice.choice(
                    (
                        "limit=7",
                        "status=ACTIVE",
                        "status=EXPIRED&sort_by=reserved&sort_dir=asc",
                        "agent=a&sort_by=status",
                        "agent=%00",
                        "idempotency_key=k1%00",
                        "sort_by=expires_at_ms",
                        "app=p&limit=200&include=metadata,committed_metadata",
                    )
                )
                if "limit" not in query:
                    query += "&limit=200"
                return self.post("/v1/reservations", headers, None, method="GET", query=query)[0]
            case "balances":
                query = dice.choice((f"tenant={tenant}", "agent=a", f"tenant={tenant}&app=p", "agent=", "app=%00"))
                return self.post("/v1/balances", headers, None, method="GET", query=query)[0]
            case "fund":
                operation = dice.choice(("CREDIT", "DEBIT", "RESET", "RESET_SPENT", "REPAY_DEBT"))
                where = f"scope=tenant:{tenant}{dice.choice(SCOPES)}&unit=TOKENS&tenant_id={tenant}"
                funds = {"operation": operation, "amount": money | {"amount": dice.randint(0, 2000)}} | body
                return self.post("/v1/admin/budgets/fund", {"x-admin-api-key": ADMIN_KEY}, funds, query=where)[0]
            case "freeze":
                what, where = (
                    dice.choice(("freeze", "unfreeze", "unfreeze")),
                    f"scope=tenant:{tenant}/agent:b&unit=TOKENS",
                )
                return self.post(f"/v1/admin/budgets/{what}", {"x-admin-api-key": ADMIN_KEY}, {}, query=where)[0]
            case "patch":
                where = f"scope=tenant:{tenant}{dice.choice(SCOPES)}&unit=TOKENS"
                limit = {"overdraft_limit": {"unit": "TOKENS", "amount": dice.choice((0, 10, 40))}}
                admin = {"x-admin-api-key": ADMIN_KEY}
                return self.post("/v1/admin/budgets", admin, limit, method="PATCH", query=where)[0]
            case "odd":
                path = dice.choice(("/v1/reservations/%00/release", "/v1/reservations/x/commit", "/v1/decide"))
                return self.post(path, headers, body)[0]
        return 0


def evolve_body(body: Any) -> Any:
    """Return another request under the same key."""
    return body if not isinstance(body, dict) else body | {"metadata": {"another": 1}}


def _listed(side: Side) -> list[Any]:
    """Return the events of a side, by times and keys: ids decide ties, and they are each side's own."""
    found = [evolve(event, event_id=side.common(event.event_id)) for event in side.authority.charged_events()]
    assert [event.created_at_ms for event in found] == sorted((event.created_at_ms for event in found), reverse=True)
    return sorted(found, key=lambda event: (event.created_at_ms, event.tenant, event.idempotency_key))


@pytest.mark.slow
def test_ten_thousand_operations(url):
    clock, statuses = Clock(), {}
    both = Both(1, (None, url), clock)
    with ExitStack() as stack:
        for side in both.sides:
            stack.enter_context(side.authority)
        for _ in range(OPERATIONS):
            status = both.step()
            statuses[status] = statuses.get(status, 0) + 1
        file, database = both.sides
        assert file.authority.check() == database.authority.check() == []
        assert file.authority.balances() == database.authority.balances()
        past = []
        for side in both.sides:
            with side.authority.store.reading() as books:
                past.append([evolve(row, updated_at_ms=0) for row in books.all_past()])  # a refusal undoes a sweep
        assert past[0] == past[1]
        assert past[0], "budgets began anew"

        def kept(side: Side) -> list[Any]:
            found = side.authority.reservations()
            return [evolve(hold, reservation_id=side.common(hold.reservation_id)) for hold in found]

        assert kept(file) == kept(database)
        listed = [_listed(side) for side in both.sides]
        assert listed[0] == listed[1]
        assert listed[0], "events were charged"
    assert {200, 201, 400, 404, 409, 410} <= statuses.keys(), statuses
