"""Budgets, and defaults for scopes without one, as `LocalAuthority` offers them in Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cycles import amounts
from cycles.errors import InvalidRequest
from cycles.local.admin.access import Access
from cycles.local.admin.names import own_pattern, own_scope, tenant_of
from cycles.local.ledger import children, funding
from cycles.local.ledger.renewals import NEVER, as_of
from cycles.local.ledger.values import INT64_MAX, Default, Refusal
from cycles.local.wire import validation

if TYPE_CHECKING:
    from cycles.local.ledger.values import Budget, Terms
    from cycles_api.models.amount import Amount


class Budgets(Access):
    """An operator's calls on budgets."""

    def budget(
        self,
        scope: str,
        allocated: Amount,
        *,
        overdraft_limit: Amount | None = None,
        caps: dict[str, Any] | None = None,
        period: str | None = None,
        zone: str | None = None,
    ) -> Budget:
        """Create a budget, or set the allocation of the one that is there.

        Setting keeps what is spent, reserved and owed. What you leave out stays as it is.

        Args:
            scope: A scope path, "tenant:acme" or "tenant:acme/agent:planner"; levels in canonical order. With "*" as a
                value, "tenant:acme/workspace:*", it is a default: each such scope without a budget gets one when it is
                first used. The row that they begin with is returned.
            allocated: How much there is in all, with its unit.
            overdraft_limit: How much may be owed, in the same unit.
            caps: The caps of grants at exactly this scope; {} removes them. Only this authority has such an option.
            period: "hour", "day", "week" (from Monday on) or "month": then the budget begins anew with *allocated*, and
                a reservation is settled in the period in which it was made. "none" ends that.
            zone: The zone whose midnight counts, such as "Europe/Berlin"; at first it is "UTC".

        Raises:
            InvalidRequest: naming what is wrong with the scope, the amounts, the period or the zone.

        Example:
            ```python
            from cycles import usd
            from cycles.local import LocalAuthority

            with LocalAuthority() as authority:
                authority.budget("tenant:acme", usd("100.00"), overdraft_limit=usd("5.00"))
                authority.budget("tenant:acme/agent:planner", usd("5.00"), period="day", zone="Europe/Berlin")
                authority.budget("tenant:acme/workspace:*", usd("1.00"), period="day")  # for each customer
            ```
        """
        if "*" in scope:
            if overdraft_limit is not None or caps:
                raise InvalidRequest(f"scope={scope!r}: what scopes begin with has no overdraft limit and no caps")
            return self._default(scope, allocated, period, zone, keeps=False)
        path = own_scope(scope)
        unit = str(amounts.check("allocated", allocated).unit)
        if overdraft_limit is not None and amounts.check("overdraft_limit", overdraft_limit).unit != allocated.unit:
            raise InvalidRequest(f"overdraft_limit: unit {overdraft_limit.unit}, but allocated is in {allocated.unit}")
        with self._changing() as books:
            return funding.set_budget(
                books,
                scope_path=path,
                unit=unit,
                allocated=allocated.amount,
                tenant=tenant_of(path),
                now_ms=self.clock(),
                overdraft_limit=None if overdraft_limit is None else overdraft_limit.amount,
                caps=None if caps is None else validation.caps(caps, "caps"),
                period=period,
                zone=zone,
            )

    def ensure_budget(
        self, scope: str, allocated: Amount, *, period: str | None = None, zone: str | None = None
    ) -> Budget:
        """Create a budget unless there is one at *scope* in this unit, and return what is there.

        For programs that start again and again: unlike `budget`, it never undoes what an operator funded meanwhile.

        Example:
            ```python
            from cycles import usd
            from cycles.local import LocalAuthority

            with LocalAuthority() as authority:
                for _ in range(2):  # a program that is started twice
                    row = authority.ensure_budget("tenant:acme", usd("1.00"))
                    assert row.allocated == usd("1.00").amount
            ```
        """
        if "*" in scope:
            return self._default(scope, allocated, period, zone, keeps=True)
        path, unit = own_scope(scope), str(amounts.check("allocated", allocated).unit)
        with self._changing() as books:
            now_ms, there = self.clock(), books.budget(path, unit)
            if there is not None:
                return as_of(there, now_ms)
            return funding.set_budget(
                books,
                scope_path=path,
                unit=unit,
                allocated=allocated.amount,
                tenant=tenant_of(path),
                now_ms=now_ms,
                period=period,
                zone=zone,
            )

    def _default(self, scope: str, allocated: Amount, period: str | None, zone: str | None, *, keeps: bool) -> Budget:
        unit = str(amounts.check("allocated", allocated).unit)
        anew = None if period == NEVER else period
        with self._changing() as books:
            if zone is not None and anew is None:
                raise Refusal(400, "INVALID_REQUEST", f"zone={zone!r}: give a period too")
            default = Default(own_pattern(scope), unit, allocated.amount, anew, zone or "UTC")
            return children.set_default(books, default, now_ms=self.clock(), keeps=keeps)

    def defaults(self) -> list[Budget]:
        """Return the rows that scopes without a budget begin with when they are first used: their paths have a "*".

        Example:
            ```python
            from cycles import usd
            from cycles.local import LocalAuthority

            with LocalAuthority() as authority:
                authority.budget("tenant:acme/workspace:*", usd("1.00"))
                assert [row.scope_path for row in authority.defaults()] == ["tenant:acme/workspace:*"]
            ```
        """
        with self._changing() as books:
            return children.first_rows(books.tenants(), self.clock())

    def fund(self, scope: str, operation: str, amount: Amount, *, spent: int | None = None) -> Budget:
        """Change a budget's figures, in the amount's unit; a budget that a commit capped then grants again.

        Args:
            scope: Where the budget is.
            operation: CREDIT and DEBIT change the allocation (DEBIT needs as much remaining). RESET sets it, and keeps
                what was spent; RESET_SPENT sets it and what was spent, for a new period. REPAY_DEBT lowers the debt,
                and adds what is left over to the allocation. Of a budget that begins anew, CREDIT, DEBIT and REPAY_DEBT
                change the present period only.
            amount: 0 or more.
            spent: What RESET_SPENT sets spent to, in the amount's unit; 0 when None.

        Raises:
            InvalidRequest: when there is no such budget, it is frozen or closed, or has too little.

        Example:
            ```python
            from cycles import usd
            from cycles.local import LocalAuthority

            with LocalAuthority() as authority:
                authority.budget("tenant:acme", usd("1.00"))
                row = authority.fund("tenant:acme", "CREDIT", usd("0.50"))
                assert row.remaining == usd("1.50").amount
            ```
        """
        amounts.check("amount", amount)
        if spent is not None and (type(spent) is not int or not 0 <= spent <= INT64_MAX):
            raise InvalidRequest(f"spent={spent!r}: give a whole number from 0 to {INT64_MAX}")
        with self._changing() as books:
            return funding.fund(
                books,
                own_scope(scope),
                str(amount.unit),
                operation,
                amount.amount,
                now_ms=self.clock(),
                spent=spent,
            )

    def freeze(self, scope: str, unit: str) -> Budget:
        """Freeze a budget: it refuses new reservations and events, and open reservations can still be settled.

        Example:
            ```python
            from cycles import usd
            from cycles.local import LocalAuthority

            with LocalAuthority() as authority:
                authority.budget("tenant:acme", usd("1.00"))
                assert authority.freeze("tenant:acme", "USD_MICROCENTS").status == "FROZEN"
            ```
        """
        return self._status(scope, unit, "FROZEN")

    def unfreeze(self, scope: str, unit: str) -> Budget:
        """Undo `freeze`.

        Example:
            ```python
            from cycles import usd
            from cycles.local import LocalAuthority

            with LocalAuthority() as authority:
                authority.budget("tenant:acme", usd("1.00"))
                authority.freeze("tenant:acme", "USD_MICROCENTS")
                assert authority.unfreeze("tenant:acme", "USD_MICROCENTS").status == "ACTIVE"
            ```
        """
        return self._status(scope, unit, "ACTIVE")

    def close_budget(self, scope: str, unit: str) -> Budget:
        """Close a budget for good; with "*" in *scope*, remove the default.

        Example:
            ```python
            from cycles import usd
            from cycles.local import LocalAuthority

            with LocalAuthority() as authority:
                authority.budget("tenant:acme", usd("1.00"))
                assert authority.close_budget("tenant:acme", "USD_MICROCENTS").status == "CLOSED"
            ```
        """
        if "*" in scope:
            with self._changing() as books:
                return children.forget_default(books, own_pattern(scope), unit, now_ms=self.clock())
        return self._status(scope, unit, "CLOSED")

    def _status(self, scope: str, unit: str, status: str) -> Budget:
        with self._changing() as books:
            return funding.set_status(books, own_scope(scope), unit, status, now_ms=self.clock())

    def terms(self, scope: str, unit: str) -> Terms:
        """Return an operator's notes about a budget, given over HTTP: kept, not evaluated.

        Example:
            ```python
            from cycles import usd
            from cycles.local import LocalAuthority

            with LocalAuthority() as authority:
                authority.budget("tenant:acme", usd("1.00"))
                print(authority.terms("tenant:acme", "USD_MICROCENTS").metadata)
            ```
        """
        with self._changing() as books:
            path = own_scope(scope)
            funding.existing(books, path, unit, self.clock())
            return books.terms(path, unit)

    def balance(self, scope: str, unit: str) -> Budget:
        """Return the ledger row of *scope* in *unit*, after expiring overdue reservations.

        Raises:
            InvalidRequest: when there is none.

        Example:
            ```python
            from cycles import usd
            from cycles.local import LocalAuthority

            with LocalAuthority() as authority:
                authority.budget("tenant:acme", usd("1.00"))
                row = authority.balance("tenant:acme", "USD_MICROCENTS")
                print(row.allocated, row.reserved, row.spent, row.remaining)  # microcents
            ```
        """
        with self._changing() as books:
            return funding.existing(books, own_scope(scope), unit, self.clock())

    def balances(self) -> list[Budget]:
        """Return every ledger row, by scope path and unit.

        Example:
            ```python
            from cycles import usd
            from cycles.local import LocalAuthority

            with LocalAuthority() as authority:
                authority.budget("tenant:acme", usd("1.00"))
                for row in authority.balances():
                    print(row.scope_path, row.unit, row.remaining)
            ```
        """
        with self._changing() as books:
            now_ms = self.clock()
            return [as_of(row, now_ms) for row in books.all_budgets()]
