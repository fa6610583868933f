"""A naive authority: the rules of the ledger, written down a second time, in another way and slowly.

It keeps no `reserved` and no `remaining`: both are worked out from the reservations whenever they are needed.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any


class No(Exception):
    """A refusal: (status, code)."""


@dataclass
class Row:
    A: int
    L: int = 0
    S: int = 0
    D: int = 0
    O: bool = False  # noqa: E741 - the letters of the specification
    status: str = "ACTIVE"


@dataclass
class Held:
    scopes: list[str]
    e: int
    policy: str
    expires: int
    grace: int
    state: str = "ACTIVE"
    extended: int = 0


@dataclass
class Model:
    now: int
    rows: dict[str, Row] = field(default_factory=dict)
    held: dict[str, Held] = field(default_factory=dict)

    def V(self, scope: str) -> int:
        return sum(held.e for held in self.held.values() if held.state == "ACTIVE" and scope in held.scopes)

    def R(self, scope: str) -> int:
        row = self.rows[scope]
        return row.A - row.S - row.D - self.V(scope)

    def figures(self) -> dict[str, dict[str, Any]]:
        return {
            scope: {
                "remaining": self.R(scope),
                "reserved": self.V(scope),
                "spent": row.S,
                "debt": row.D,
                "is_over_limit": row.O,
            }
            for scope, row in self.rows.items()
        }

    # -- asking --------------------------------------------------------------------------------------------------------
    def gates(self, scopes: list[str], amount: int) -> list[str]:
        found = []
        for scope in scopes:
            row = self.rows.get(scope)
            if row is None:
                continue
            for wrong, code in (
                (row.status == "FROZEN", "BUDGET_FROZEN"),
                (row.status == "CLOSED", "BUDGET_CLOSED"),
                (row.O, "OVERDRAFT_LIMIT_EXCEEDED"),
                (row.D > 0 and row.L == 0, "DEBT_OUTSTANDING"),
                (self.R(scope) < amount, "BUDGET_EXCEEDED"),
            ):
                if wrong:
                    raise No(409, code)
            found.append(scope)
        if not found:
            raise No(404, "NOT_FOUND")
        return found

    def reserve(self, scopes: list[str], e: int, policy: str, ttl: int, grace: int) -> Held:
        return Held(self.gates(scopes, e), e, policy, self.now + min(ttl, 3_600_000), grace)

    def event(self, scopes: list[str], a: int, policy: str) -> int:
        found = []
        for scope in scopes:
            row = self.rows.get(scope)
            if row is None:
                continue
            if row.status != "ACTIVE":
                raise No(409, f"BUDGET_{row.status}")
            if policy == "REJECT" and self.R(scope) < a:
                raise No(409, "BUDGET_EXCEEDED")
            found.append(scope)
        if not found:
            raise No(404, "NOT_FOUND")
        if policy == "REJECT":
            for scope in found:
                self.rows[scope].S += a
            return a
        return self.charge(found, a, policy)

    def charge(self, scopes: list[str], d: int, policy: str) -> int:
        before = {scope: self.R(scope) for scope in scopes}
        c = d
        if policy == "ALLOW_IF_AVAILABLE":
            for scope in scopes:
                c = min(c, max(before[scope], 0))
            for scope in scopes:
                self.rows[scope].S += c
                if c < d and before[scope] < d:
                    self.rows[scope].O = True
            return c
        for scope in scopes:  # pass 1
            if self.rows[scope].L == 0 and before[scope] < d:
                c = min(c, max(before[scope], 0))
        for scope in scopes:  # pass 2
            row = self.rows[scope]
            if row.L > 0 and before[scope] < c and row.D + c - max(before[scope], 0) > row.L:
                raise No(409, "OVERDRAFT_LIMIT_EXCEEDED")
        for scope in scopes:  # pass 3
            row = self.rows[scope]
            if before[scope] >= c:
                row.S += c
            else:
                row.S += max(before[scope], 0)
                row.D += c - max(before[scope], 0)
            if c < d and row.L == 0 and before[scope] < d:
                row.O = True
        return c

    # -- settling ------------------------------------------------------------------------------------------------------
    def commit(self, held: Held, a: int) -> int:
        self.live(held, held.expires + held.grace)
        if a > held.e and held.policy == "REJECT":
            raise No(409, "BUDGET_EXCEEDED")
        charged = held.e + self.charge(held.scopes, a - held.e, held.policy) if a > held.e else a
        for scope in held.scopes:
            self.rows[scope].S += min(a, held.e)
        held.state = "COMMITTED"
        return charged

    def release(self, held: Held) -> None:
        self.live(held, held.expires + held.grace)
        held.state = "RELEASED"

    def extend(self, held: Held, by: int) -> None:
        self.live(held, held.expires)
        if held.extended >= 10:
            raise No(409, "MAX_EXTENSIONS_EXCEEDED")
        held.expires += by
        held.extended += 1

    def live(self, held: Held, last: int) -> None:
        if held.state == "EXPIRED":
            raise No(410, "RESERVATION_EXPIRED")
        if held.state != "ACTIVE":
            raise No(409, "RESERVATION_FINALIZED")
        if self.now > last:
            raise No(410, "RESERVATION_EXPIRED")

    def sweep(self) -> None:
        for held in self.held.values():
            if held.state == "ACTIVE" and self.now > held.expires + held.grace:
                held.state = "EXPIRED"

    # -- funding -------------------------------------------------------------------------------------------------------
    def fund(self, scope: str, operation: str, amount: int) -> bool:
        row = self.rows[scope]
        before = replace(row)
        if row.status != "ACTIVE" or (operation == "DEBIT" and self.R(scope) < amount):
            return False
        if operation == "CREDIT":
            row.A += amount
        elif operation == "DEBIT":
            row.A -= amount
        elif operation == "RESET":
            row.A = amount
        elif operation == "RESET_SPENT":
            row.A, row.S = amount, 0
        else:
            surplus = max(amount - row.D, 0)
            row.D, row.A = max(row.D - amount, 0), row.A + surplus
        if row.A < 0:
            raise AssertionError("the model went below zero")
        if row.A >= 2**63 or self.R(scope) < -(2**63):  # no figure of the protocol's: nothing happens
            self.rows[scope] = before
            return False
        row.O = row.D > row.L
        return True
