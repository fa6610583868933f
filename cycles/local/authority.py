"""`LocalAuthority`: an authority inside this process, and its provisioning."""

from __future__ import annotations

import atexit
import os
import secrets
import sqlite3
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from attrs import evolve

from cycles import amounts
from cycles.errors import ConfigError, InvalidRequest
from cycles.local import funding, ledger, validation
from cycles.local.books import key_hash
from cycles.local.names import checked_scope, parse_budget, tenant_of
from cycles.local.store import Store
from cycles.local.values import INT64_MAX, ApiKey, Refusal, Tenant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Self

    import httpx

    from cycles.client import AsyncClient, Client
    from cycles.local.app import App
    from cycles.local.books import SqliteBooks
    from cycles.local.values import Budget, Hold
    from cycles_api.models.amount import Amount

DEFAULT_TENANT: Final = "default"
"""Whose budget a `local:` URL makes when no tenant is named."""

ORIGIN: Final = "http://cycles.local"
"""What requests inside the process are addressed to; nothing resolves it."""


def wall_clock() -> int:
    """Return milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class LocalAuthority:
    """An authority on SQLite inside this process; it speaks the runtime plane of the protocol.

    Args:
        path: A file, shared by every process of this machine that names it; None lives in memory and dies with the
            process.
        clock: Gives milliseconds since the epoch; the one clock of every comparison. For tests.
        admin_key: What X-Admin-API-Key must be; None: nobody is the administrator over HTTP.

    Raises:
        ConfigError: when the file is no ledger; it is left untouched.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        clock: Callable[[], int] = wall_clock,
        admin_key: str | None = None,
    ) -> None:
        self.store: Final = Store(path)
        self.clock: Final = clock
        self._admin_key: Final = admin_key
        self._app: App | None = None

    # -- provisioning --------------------------------------------------------------------------------------------------
    def tenant(
        self,
        tenant_id: str,
        *,
        status: str = "ACTIVE",
        default_ttl_ms: int = 60_000,
        max_ttl_ms: int = 3_600_000,
        max_extensions: int = 10,
        overage_policy: str = "ALLOW_IF_AVAILABLE",
    ) -> Tenant:
        """Create or change a tenant.

        Args:
            tenant_id: Its name in subjects and scopes.
            status: ACTIVE, SUSPENDED (its keys are refused), or CLOSED: for good; its holds are released, its budgets
                closed and its keys revoked.
            default_ttl_ms, max_ttl_ms: Milliseconds of a lease when none is asked for, and at most.
            max_extensions: How often a reservation may be extended; 0 forbids it.
            overage_policy: Of reservations and events that name none.

        Raises:
            InvalidRequest: naming the setting, or saying that the tenant is closed.
        """
        checked_scope(f"tenant:{tenant_id}")
        settings = {
            "status": status,
            "default_ttl_ms": default_ttl_ms,
            "max_ttl_ms": max_ttl_ms,
            "max_extensions": max_extensions,
            "overage_policy": overage_policy,
        }
        with self._changing() as books:
            tenant = Tenant(tenant_id, **validation.tenant_settings(settings, ""))
            tenant = funding.set_tenant(books, tenant, now_ms=self.clock())
            if tenant.status == "CLOSED":
                books.revoke_keys_of(tenant_id, self.clock())
            return tenant

    def key(self, *, tenant: str, name: str = "") -> str:
        """Make an API key of *tenant* and return it; only its hash is kept, so this is the one time it is shown."""
        secret = f"cyc_live_{secrets.token_urlsafe(24)}"
        self.add_key(secret, tenant=tenant, name=name)
        return secret

    def add_key(self, secret: str, *, tenant: str, name: str = "") -> None:
        """Let *secret* be an API key of *tenant* (scripts that need a fixed one)."""
        checked_scope(f"tenant:{tenant}")
        with self._changing() as books:
            books.put_key(ApiKey(key_hash(secret), tenant, name, self.clock()))

    def revoke(self, secret: str) -> None:
        """Take an API key's rights away."""
        with self._changing() as books:
            key = books.key(secret)
            if key is not None:
                books.put_key(evolve(key, revoked_at_ms=self.clock()))

    def budget(
        self,
        scope: str,
        allocated: Amount,
        *,
        overdraft_limit: Amount | None = None,
        caps: dict[str, Any] | None = None,
    ) -> Budget:
        """Create a budget, or set the allocation of the one that is there.

        Setting keeps what was spent, is held and is owed. What is left out stays as it is.

        Args:
            scope: A scope path, "tenant:acme" or "tenant:acme/agent:planner"; levels in canonical order.
            allocated: How much there is in all, with its unit.
            overdraft_limit: How much may be owed, in the same unit.
            caps: What grants at exactly this scope are limited to (local only; {} takes them away).

        Raises:
            InvalidRequest: naming what is wrong with the scope or the amounts.
        """
        path = checked_scope(scope)
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
            )

    def ensure_budget(self, scope: str, allocated: Amount) -> Budget:
        """Create a budget unless there is one at *scope* in this unit, and return what is there.

        For what starts again and again: unlike `budget`, it never undoes what an operator funded meanwhile.
        """
        path, unit = checked_scope(scope), str(amounts.check("allocated", allocated).unit)
        with self._changing() as books:
            return books.budget(path, unit) or funding.set_budget(
                books,
                scope_path=path,
                unit=unit,
                allocated=allocated.amount,
                tenant=tenant_of(path),
                now_ms=self.clock(),
            )

    def fund(self, scope: str, operation: str, amount: Amount, *, spent: int | None = None) -> Budget:
        """Change a budget's figures, in the amount's unit; each operation also opens a budget that a commit capped.

        Args:
            scope: Where the budget is.
            operation: CREDIT and DEBIT change what is allocated (DEBIT needs as much remaining). RESET sets it and
                keeps what was spent; RESET_SPENT sets it and what was spent, for a new period. REPAY_DEBT lowers the
                debt; what is left over is allocated.
            amount: From 0.
            spent: What RESET_SPENT sets spent to; 0 when None.

        Raises:
            InvalidRequest: when there is no such budget, it is frozen or closed, or has too little.
        """
        amounts.check("amount", amount)
        if spent is not None and (type(spent) is not int or not 0 <= spent <= INT64_MAX):
            raise InvalidRequest(f"spent={spent!r}: give a whole number from 0 to {INT64_MAX}")
        with self._changing() as books:
            return funding.fund(
                books,
                checked_scope(scope),
                str(amount.unit),
                operation,
                amount.amount,
                now_ms=self.clock(),
                spent=spent,
            )

    def freeze(self, scope: str, unit: str) -> Budget:
        """Let nothing new be reserved; what is held can still be settled."""
        return self._status(scope, unit, "FROZEN")

    def unfreeze(self, scope: str, unit: str) -> Budget:
        """Undo `freeze`."""
        return self._status(scope, unit, "ACTIVE")

    def close_budget(self, scope: str, unit: str) -> Budget:
        """Close a budget for good."""
        return self._status(scope, unit, "CLOSED")

    def _status(self, scope: str, unit: str, status: str) -> Budget:
        with self._changing() as books:
            return funding.set_status(books, checked_scope(scope), unit, status, now_ms=self.clock())

    # -- looking -------------------------------------------------------------------------------------------------------
    def balance(self, scope: str, unit: str) -> Budget:
        """Return the ledger row of *scope* in *unit*, overdue holds given back first.

        Raises:
            InvalidRequest: when there is none.
        """
        with self._changing() as books:
            return funding.existing(books, checked_scope(scope), unit)

    def balances(self) -> list[Budget]:
        """Return every ledger row, by scope path and unit."""
        with self._changing() as books:
            return books.all_budgets()

    def reservations(self) -> list[Hold]:
        """Return every reservation, oldest first."""
        with self._changing() as books:
            return books.all_holds()

    def sweep(self) -> int:
        """Expire overdue holds now and return how many, at most 1000; every request does so first anyway.

        What nobody can ask for any more is deleted by the way: reservations 30 days after their deadline, replays when
        their keys are free again (a day; events a week).
        """
        with self.store.writing() as books:
            now_ms = self.clock()
            books.purge(now_ms)
            return ledger.sweep(books, now_ms)

    @contextmanager
    def _changing(self) -> Iterator[SqliteBooks]:
        try:
            with self.store.writing() as books:
                ledger.sweep(books, self.clock())
                yield books
        except Refusal as refusal:
            raise InvalidRequest(refusal.message) from None
        except sqlite3.DatabaseError as error:
            raise ConfigError(f"{self.store.path}: the ledger can't be used: {error}") from None

    # -- speaking ------------------------------------------------------------------------------------------------------
    @property
    def app(self) -> App:
        """The wire, without a socket: `app.handle(request)`."""
        if self._app is None:
            from cycles.local.app import App  # noqa: PLC0415 - provisioning alone does not need the wire

            self._app = App(self.store, clock=self.clock, admin_key=self._admin_key)
        return self._app

    def transport(self) -> httpx.BaseTransport:
        """Return an httpx transport to this authority, without a socket."""
        from cycles.local.transport import LocalTransport  # noqa: PLC0415

        return LocalTransport(self.app)

    def async_transport(self) -> httpx.AsyncBaseTransport:
        """Return an asynchronous httpx transport to this authority, without a socket."""
        from cycles.local.transport import AsyncLocalTransport  # noqa: PLC0415

        return AsyncLocalTransport(self.app)

    def client(self, *, tenant: str) -> Client:
        """Return a `cycles.Client` of this authority with a fresh key of *tenant*."""
        import httpx  # noqa: PLC0415

        from cycles.client import Client  # noqa: PLC0415 - only here does the authority know the client
        from cycles.config import Config  # noqa: PLC0415

        config = Config(self._url(), api_key=self.key(tenant=tenant), tenant=tenant)
        return Client(config, http_client=httpx.Client(transport=self.transport(), base_url=ORIGIN))

    def async_client(self, *, tenant: str) -> AsyncClient:
        """Return a `cycles.AsyncClient` of this authority with a fresh key of *tenant*."""
        import httpx  # noqa: PLC0415

        from cycles.client import AsyncClient  # noqa: PLC0415
        from cycles.config import Config  # noqa: PLC0415

        config = Config(self._url(), api_key=self.key(tenant=tenant), tenant=tenant)
        return AsyncClient(config, http_client=httpx.AsyncClient(transport=self.async_transport(), base_url=ORIGIN))

    def _url(self) -> str:
        return "local:" if self.store.path is None else f"local:{self.store.path}"

    def close(self) -> None:
        """Close the store; a ledger in memory is gone."""
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<LocalAuthority {'in memory' if self.store.path is None else str(self.store.path)!r}>"

    # -- local: URLs ---------------------------------------------------------------------------------------------------
    @classmethod
    def from_url(cls, url: str, *, tenant: str | None = None) -> LocalAuthority:
        """Return the authority that a `local:` URL names; in one process the same one for the same name.

        A fork of this process opens a file anew. A ledger in memory stays the property of the process that made it:
        a fork that asked its copy would have the budget a second time, so it is refused.

        Args:
            url: "local:" (memory), "local:PATH", either with ?usd=1.00 (or tokens, credits, risk_points): a budget
                that is created for *tenant* unless it is there.
            tenant: Whose budget that is; "default" when None.

        Raises:
            ConfigError: naming what is wrong with the URL.
        """
        if not url.startswith("local:"):
            raise ConfigError(f"{url!r} is no local: URL: write local:, local:PATH or local:?usd=1.00")
        tenant = DEFAULT_TENANT if tenant is None else tenant
        path, _, query = url.removeprefix("local:").partition("?")
        wanted = [parse_budget(name, value) for name, value in parse_qsl(query, keep_blank_values=True)]
        try:
            scope = checked_scope(f"tenant:{tenant}")
        except InvalidRequest as error:
            raise ConfigError(error.message) from None
        known = _shared(os.path.abspath(Path(path).expanduser()) if path else "")  # noqa: PTH100 - not resolved
        for amount in wanted:
            known.ensure_budget(scope, amount)
        return known


_registry: Final[dict[str, LocalAuthority]] = {}
_registry_lock = threading.Lock()


def _shared(path: str) -> LocalAuthority:
    with _registry_lock:
        known = _registry.get(path)
        if known is None or known.store.is_closed:
            known = _registry[path] = LocalAuthority(path or None)
        return known


@atexit.register
def forget_shared() -> None:
    """Close and forget the authorities that `local:` URLs of this process share; also at its end."""
    with _registry_lock:
        for authority in _registry.values():
            authority.close()
        _registry.clear()


def _after_fork() -> None:
    global _registry_lock  # noqa: PLW0603 - another thread of the parent may have held it
    _registry_lock = threading.Lock()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)
