"""Tenants, API keys and budgets, as `LocalAuthority` offers them in Python."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve

from cycles import amounts
from cycles.errors import ConfigError, InvalidRequest
from cycles.local.admin import events
from cycles.local.admin.keys import expiry_ms, new_key, new_secret
from cycles.local.admin.names import own_pattern, own_scope, tenant_of
from cycles.local.ledger import children, funding, leases
from cycles.local.ledger.keys import DEFAULT_PERMISSIONS
from cycles.local.ledger.renewals import NEVER, as_of
from cycles.local.ledger.values import INT64_MAX, Default, Refusal, Tenant, Unusable
from cycles.local.wire import validation

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime, timedelta

    from cycles.local.ledger.keys import ApiKey
    from cycles.local.ledger.values import Budget, ChargedEvent, Hold, Terms
    from cycles.local.store.protocols import Store, StoredBooks
    from cycles_api.models.amount import Amount


class Provisioning:
    """An operator's calls on the ledger of a store; each is one transaction."""

    def __init__(self, store: Store, clock: Callable[[], int]) -> None:
        self.store: Final = store
        self.clock: Final = clock

    # -- tenants -------------------------------------------------------------------------------------------------------
    def tenant(
        self,
        tenant_id: str,
        *,
        name: str | None = None,
        status: str = "ACTIVE",
        default_ttl_ms: int = 60_000,
        max_ttl_ms: int = 3_600_000,
        max_extensions: int = 10,
        overage_policy: str = "ALLOW_IF_AVAILABLE",
        metadata: dict[str, str] | None = None,
    ) -> Tenant:
        """Create or change a tenant.

        Args:
            tenant_id: Its name in subjects and scopes.
            name: For people; None keeps the one that it has.
            status: ACTIVE, SUSPENDED (its keys are refused), or CLOSED: for good; its holds are released, its budgets
                closed and its keys revoked.
            default_ttl_ms, max_ttl_ms: Milliseconds of a lease when none is asked for, and at most.
            max_extensions: How often a reservation may be extended; 0 forbids it.
            overage_policy: Of reservations and events that name none.
            metadata: At most 32 strings by name; None keeps what there is.

        Raises:
            InvalidRequest: naming the setting, or saying that the tenant is closed.

        Example:
            ```python
            from cycles.local import LocalAuthority

            with LocalAuthority() as authority:
                authority.tenant("acme", name="Acme Inc.", max_ttl_ms=600_000)
                authority.tenant("acme", status="SUSPENDED")  # its keys are refused
            ```
        """
        own_scope(f"tenant:{tenant_id}")
        settings: dict[str, Any] = {
            "status": status,
            "default_ttl_ms": default_ttl_ms,
            "max_ttl_ms": max_ttl_ms,
            "max_extensions": max_extensions,
            "overage_policy": overage_policy,
            "name": name,
            "metadata": metadata,
        }
        with self._changing() as books:
            known = books.tenant(tenant_id) or Tenant(tenant_id)
            tenant = evolve(known, **validation.tenant_settings(settings, ""))
            return funding.set_tenant(books, tenant, now_ms=self.clock())

    def tenants(self) -> list[Tenant]:
        """Return every tenant by its id; those that have a key or a budget and no record have the default settings.

        Example:
            ```python
            from cycles.local import LocalAuthority

            with LocalAuthority() as authority:
                authority.tenant("acme", name="Acme Inc.")
                assert [tenant.name for tenant in authority.tenants()] == ["Acme Inc."]
            ```
        """
        with self._changing() as books:
            return books.tenants()

    # -- API keys ------------------------------------------------------------------------------------------------------
    def key(
        self,
        *,
        tenant: str,
        name: str = "",
        permissions: Sequence[str] | None = None,
        expires: datetime | timedelta | None = None,
    ) -> str:
        """Make an API key of *tenant* and return it; only its hash is kept, so this is the one time it is shown.

        Args:
            tenant: The tenant that it belongs to.
            name: For people.
            permissions: What it may do on the administration's paths, such as "budgets:write"; None: spend and look
                only. The runtime takes every key (docs/authority.md, Over HTTP).
            expires: When it ends: a time with its zone, or how long from now; None: never.

        Raises:
            InvalidRequest: naming what is wrong.

        Example:
            ```python
            from datetime import timedelta

            from cycles.local import LocalAuthority

            with LocalAuthority() as authority:
                secret = authority.key(tenant="acme", name="planner", expires=timedelta(days=30))
                assert secret.startswith("cyc_live_")
            ```
        """
        secret = new_secret()
        self.add_key(secret, tenant=tenant, name=name, permissions=permissions, expires=expires)
        return secret

    def add_key(
        self,
        secret: str,
        *,
        tenant: str,
        name: str = "",
        permissions: Sequence[str] | None = None,
        expires: datetime | timedelta | None = None,
    ) -> ApiKey:
        """Let *secret* be an API key of *tenant* (scripts that need a fixed one); see `key`.

        Example:
            ```python
            from cycles.local import LocalAuthority

            with LocalAuthority() as authority:
                key = authority.add_key("a-key-that-the-script-knows", tenant="acme")
                assert key.tenant == "acme"
            ```
        """
        own_scope(f"tenant:{tenant}")
        if not secret or secret != secret.strip():
            raise InvalidRequest("secret: an API key has at least one character, and no space around it")
        with self._changing() as books:
            now_ms = self.clock()
            known = books.key(secret)
            made = new_key(
                secret,
                key_id=None if known is None else known.key_id,
                tenant=tenant,
                name=name,
                permissions=validation.permissions(
                    list(DEFAULT_PERMISSIONS if permissions is None else permissions), "permissions"
                ),
                created_at_ms=now_ms,
                expires_at_ms=expiry_ms(expires, now_ms),
            )
            books.put_key(made)
            return made

    def keys(self, tenant: str | None = None) -> list[ApiKey]:
        """Return the API keys of *tenant*, or of all, oldest first; revoked ones too. No secrets: none are kept.

        Example:
            ```python
            from cycles.local import LocalAuthority

            with LocalAuthority() as authority:
                authority.key(tenant="acme", name="planner")
                assert [key.name for key in authority.keys("acme")] == ["planner"]
            ```
        """
        with self._changing() as books:
            return books.keys(tenant)

    def revoke(self, secret: str) -> None:
        """Revoke an API key; a secret that is no key of this authority is ignored.

        Example:
            ```python
            from cycles.local import LocalAuthority

            with LocalAuthority() as authority:
                secret = authority.key(tenant="acme")
                authority.revoke(secret)
            ```
        """
        with self._changing() as books:
            key = books.key(secret)
            if key is not None:
                funding.revoke(books, key, now_ms=self.clock())

    def revoke_key(self, key_id: str, reason: str | None = None) -> ApiKey:
        """Revoke the API key with this id, and return it; doing so again changes nothing.

        Raises:
            InvalidRequest: when there is no such key.

        Example:
            ```python
            from cycles.local import LocalAuthority

            with LocalAuthority() as authority:
                authority.key(tenant="acme")
                (key,) = authority.keys("acme")
                assert authority.revoke_key(key.key_id, "not used any more").revoked_at_ms is not None
            ```
        """
        with self._changing() as books:
            key = books.key_named(key_id)
            if key is None:
                raise Refusal(404, "KEY_NOT_FOUND", f"key_id={key_id!r}: no such key; keys() lists them")
            return funding.revoke(books, key, now_ms=self.clock(), reason=reason)

    # -- budgets -------------------------------------------------------------------------------------------------------
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

        Setting keeps what was spent, is held and is owed. What is left out stays as it is.

        Args:
            scope: A scope path, "tenant:acme" or "tenant:acme/agent:planner"; levels in canonical order. With "*" as a
                value, "tenant:acme/workspace:*", it is what each such scope without a budget begins with when it is
                first used; such a row is returned.
            allocated: How much there is in all, with its unit.
            overdraft_limit: How much may be owed, in the same unit.
            caps: What grants at exactly this scope are limited to (local only; {} takes them away).
            period: Let the budget begin anew each "hour", "day", "week" (on Monday) or "month", with *allocated*; what
                is held then is settled in the period that it was held in. "none": it does not begin anew any more.
            zone: Whose midnight counts: "UTC", which it is at first, or a name such as "Europe/Berlin".

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
        """Return what scopes begin with when they are first used: rows whose paths have "*" as a value.

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
        """Change a budget's figures, in the amount's unit; each operation also opens a budget that a commit capped.

        Args:
            scope: Where the budget is.
            operation: CREDIT and DEBIT change what is allocated (DEBIT needs as much remaining). RESET sets it and
                keeps what was spent; RESET_SPENT sets it and what was spent, for a new period. REPAY_DEBT lowers the
                debt; what is left over is allocated. Where a budget begins anew by itself, CREDIT, DEBIT and
                REPAY_DEBT are about its present period only.
            amount: From 0.
            spent: What RESET_SPENT sets spent to; 0 when None.

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
        """Refuse new reservations; what is held can still be settled.

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
        """Close a budget for good; with "*" in *scope*, let such scopes begin with nothing any more.

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

    def terms(self, scope: str, unit: str) -> Terms:
        """Return what was noted about a budget over HTTP: kept, not evaluated.

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

    def _status(self, scope: str, unit: str, status: str) -> Budget:
        with self._changing() as books:
            return funding.set_status(books, own_scope(scope), unit, status, now_ms=self.clock())

    # -- looking -------------------------------------------------------------------------------------------------------
    def balance(self, scope: str, unit: str) -> Budget:
        """Return the ledger row of *scope* in *unit*, overdue holds given back first.

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

    def reservations(self) -> list[Hold]:
        """Return every reservation, oldest first.

        Example:
            ```python
            from cycles import usd
            from cycles.local import LocalAuthority

            with LocalAuthority() as authority:
                authority.budget("tenant:acme", usd("1.00"))
                with authority.client(tenant="acme") as client:
                    client.reserve(usd("0.05"), action=("tool.search", "web")).release()
                assert [hold.status for hold in authority.reservations()] == ["RELEASED"]
            ```
        """
        with self._changing() as books:
            return books.all_holds()

    def charged_events(
        self,
        tenant: str | None = None,
        *,
        key: str | None = None,
        levels: Mapping[str, str] | None = None,
        created: tuple[datetime | None, datetime | None] = (None, None),
    ) -> Iterator[ChargedEvent]:
        """Give what was charged without a reservation in the last 30 days, newest first.

        It reads a page at a time, so it may lack what is charged meanwhile.

        Args:
            tenant: Only this tenant's.
            key: Only the one with this idempotency key.
            levels: Only those whose subject has these levels: {"agent": "planner"}.
            created: Only those that were charged between these times, both included; None leaves an end open.

        Raises:
            InvalidRequest: for a level that there is not, and a time without a zone.

        Example:
            ```python
            from cycles import usd
            from cycles.local import LocalAuthority

            with LocalAuthority() as authority:
                authority.budget("tenant:acme", usd("1.00"))
                with authority.client(tenant="acme") as client:
                    client.record(usd("0.05"), action=("tool.search", "web"))
                (event,) = authority.charged_events("acme")
                assert (event.unit, event.charged) == ("USD_MICROCENTS", 5_000_000)
            ```
        """
        return events.charged(self.store, self._translated, events.query_of(tenant, key, levels or {}, created))

    def sweep(self) -> int:
        """Expire overdue holds now and return how many, at most 1000; every request does so first anyway.

        It also deletes what nobody can ask for any more: reservations 30 days after their deadline, events 30 days
        after they were charged, replays when their keys are free again (a day; events' a week).

        Example:
            ```python
            from cycles import usd
            from cycles.local import LocalAuthority, ManualClock

            clock = ManualClock()
            with LocalAuthority(clock=clock) as authority:
                authority.budget("tenant:acme", usd("1.00"))
                with authority.client(tenant="acme") as client:
                    held = client.reserve(usd("0.05"), action=("tool.search", "web"), ttl=30)
                    clock.advance(60)
                    assert authority.sweep() == 1
            ```
        """
        return self.store.sweep(self.clock)

    def check(self) -> list[str]:
        """Return what is wrong with the ledger, for people; an empty list when all is well. Reads all of it.

        Opening a file checks its budgets, tenants and keys only, and a small file as a whole.

        Example:
            ```python
            from cycles import usd
            from cycles.local import LocalAuthority

            with LocalAuthority() as authority:
                authority.budget("tenant:acme", usd("1.00"))
                assert authority.check() == []
            ```
        """
        try:
            return self.store.problems()
        except self.store.failure as error:
            return [f"it can't be read: {error}"]
        except Unusable as refusal:
            return [refusal.message]
        except Refusal as refusal:
            raise InvalidRequest(refusal.message) from None

    def backup(self, path: str | os.PathLike[str]) -> None:
        """Write a copy of the ledger, as of one moment, to a new file; requests go on meanwhile.

        Args:
            path: Where there is no file yet; the copy is a whole ledger in one file.

        Raises:
            ConfigError: when there is a file, or it can't be written.

        Example:
            ```python
            from pathlib import Path
            from tempfile import mkdtemp

            from cycles import usd
            from cycles.local import LocalAuthority

            folder = Path(mkdtemp())
            with LocalAuthority(folder / "ledger.db") as authority:
                authority.budget("tenant:acme", usd("1.00"))
                authority.backup(folder / "monday.db")
            ```
        """
        try:
            self.store.backup(path)
        except Unusable as refusal:
            raise ConfigError(refusal.message) from None

    @contextmanager
    def _changing(self) -> Iterator[StoredBooks]:
        with self._translated(), self.store.writing() as books:
            leases.sweep(books, self.clock())
            yield books

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except Unusable as refusal:
            raise ConfigError(refusal.message) from None
        except Refusal as refusal:
            raise InvalidRequest(refusal.message) from None
        except self.store.failure as error:
            raise ConfigError(f"{self.store.place}: the ledger can't be used: {error}") from None
