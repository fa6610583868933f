"""The immutable values that a ledger consists of, and the refusal of a request.

The values have no slots: attrs fills a frozen class with slots field by field, which doubles the cost of reading a row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from attrs import Factory, field, frozen

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cycles.local.ledger.periods import Period

LEVELS: Final = ("tenant", "workspace", "app", "workflow", "agent", "toolset")
"""Levels of a subject, widest first."""

UNITS: Final = ("USD_MICROCENTS", "TOKENS", "CREDITS", "RISK_POINTS")
"""Units in the order in which details name them."""

INT64_MAX: Final = 2**63 - 1
INT64_MIN: Final = -(2**63)


class Refusal(Exception):
    """The authority says no. Nothing was changed.

    Attributes:
        status: HTTP status.
        code: Error code of the protocol.
        message: For people.
        details: For programs; None when there are none.
    """

    def __init__(self, status: int, code: str, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status: Final = status
        self.code: Final = code
        self.message: Final = message
        self.details: Final = details


class Unusable(Refusal):
    """The ledger is not there any more, or not the one that was opened: only an operator can help."""

    def __init__(self, message: str) -> None:
        super().__init__(500, "INTERNAL_ERROR", message)


class Unavailable(Unusable):
    """Where the ledger is kept does not answer just now: the same request may succeed a little later."""

    def __init__(self, message: str) -> None:
        Refusal.__init__(self, 503, "INTERNAL_ERROR", message)


class Default(NamedTuple):
    """What a scope begins with when it is first used.

    Attributes:
        pattern: A scope path in which some values are "*": tenant:acme/workspace:*.
        unit: The unit of the amount.
        amount: The allocation.
        period: How the budget begins anew; None: it does not.
        zone: Whose midnight counts.
    """

    pattern: str
    unit: str
    amount: int
    period: str | None = None
    zone: str = "UTC"


def _as_defaults(rows: Iterable[Iterable[Any]]) -> tuple[Default, ...]:
    return tuple(Default(*row) for row in rows)


@frozen(slots=False)
class Tenant:
    """A tenant and its settings; durations in milliseconds.

    Example:
        ```python
        from cycles import usd
        from cycles.local import LocalAuthority

        authority = LocalAuthority()
        authority.budget("tenant:acme", usd("1.00"))
        for tenant in authority.tenants():
            print(tenant.tenant_id, tenant.status)
        ```
    """

    tenant_id: str
    name: str = ""
    status: str = "ACTIVE"  # ACTIVE, SUSPENDED, CLOSED
    default_ttl_ms: int = 60_000
    max_ttl_ms: int = 3_600_000
    max_extensions: int = 10
    overage_policy: str = "ALLOW_IF_AVAILABLE"
    created_at_ms: int = 0
    updated_at_ms: int = 0
    metadata: dict[str, str] | None = None
    parent_tenant_id: str | None = None  # this and the next are kept and shown, not evaluated
    expiry_policy: str | None = None
    defaults: tuple[Default, ...] = field(default=(), converter=_as_defaults)


@frozen(slots=False)
class Terms:
    """An operator's notes about a budget: kept, not evaluated (docs/authority.md, What is left out, and why).

    Example:
        ```python
        from cycles.local import Terms

        terms = Terms(rollover_policy="NONE", period_end="2026-12-31T23:59:59Z")
        ```
    """

    commit_overage_policy: str | None = None
    rollover_policy: str | None = None
    period_start: str | None = None  # as they were given, ISO 8601
    period_end: str | None = None
    metadata: dict[str, Any] | None = None


@frozen(slots=False)
class Budget:
    """One ledger row: a budget at a scope path in one unit. `remaining = allocated - reserved - spent - debt`, always.

    All amounts are whole numbers of `unit`; only `remaining` may be negative. `is_over_limit` stays until an operator
    funds the budget, or it begins anew. `period` is None when it never begins anew; `renewals` counts how often it did.

    Example:
        ```python
        from cycles import usd
        from cycles.local import LocalAuthority

        authority = LocalAuthority()
        authority.budget("tenant:acme", usd("1.00"))
        budget = authority.balance("tenant:acme", "USD_MICROCENTS")
        print(budget.remaining, budget.spent)
        ```
    """

    scope_path: str
    unit: str
    allocated: int
    tenant: str = ""
    remaining: int = Factory(lambda row: row.allocated, takes_self=True)
    reserved: int = 0
    spent: int = 0
    debt: int = 0
    overdraft_limit: int = 0
    is_over_limit: bool = False
    status: str = "ACTIVE"  # ACTIVE, FROZEN, CLOSED
    caps: dict[str, Any] | None = None
    created_at_ms: int = 0
    updated_at_ms: int = 0
    period: Period | None = None
    renewals: int = 0


@frozen(slots=False)
class Hold:
    """A reservation. `budgeted` are the scope paths that had a budget when it was made; it never touches another.

    `renewals` says how often each of these budgets had begun anew by then; None: none of them had.

    Example:
        ```python
        from cycles import usd
        from cycles.local import LocalAuthority

        authority = LocalAuthority()
        authority.budget("tenant:acme", usd("1.00"))
        with authority.client(tenant="acme") as client:
            client.reserve(usd("0.05"), action=("tool.search", "web")).release()
        for hold in authority.reservations():
            print(hold.status, hold.estimate, hold.charged)
        ```
    """

    reservation_id: str
    tenant: str
    subject: dict[str, Any]
    action: dict[str, Any]
    unit: str
    estimate: int
    affected: tuple[str, ...]
    budgeted: tuple[str, ...]
    idempotency_key: str
    overage_policy: str
    created_at_ms: int
    expires_at_ms: int
    grace_ms: int
    max_extensions: int
    metadata: dict[str, Any] | None = None
    status: str = "ACTIVE"  # ACTIVE, COMMITTED, RELEASED, EXPIRED
    extensions: int = 0
    charged: int | None = None
    committed_metadata: dict[str, Any] | None = None
    finalized_at_ms: int | None = None
    final_key: str | None = None
    final_hash: str | None = None
    renewals: tuple[int, ...] | None = None
    final_body: dict[str, Any] | None = None

    @property
    def deadline_ms(self) -> int:
        """The last millisecond at which commit and release are accepted."""
        return self.expires_at_ms + self.grace_ms


@frozen(slots=False)
class ChargedEvent:
    """Spend that was charged without a reservation. `charged` may be less than `actual`: the overage policy says when.

    Example:
        ```python
        from cycles import usd
        from cycles.local import LocalAuthority

        authority = LocalAuthority()
        authority.budget("tenant:acme", usd("1.00"))
        with authority.client(tenant="acme") as client:
            client.record(usd("0.05"), action=("tool.search", "web"))
        for event in authority.charged_events():
            print(event.action["name"], event.unit, event.charged)
        ```
    """

    event_id: str
    tenant: str
    subject: dict[str, Any]
    action: dict[str, Any]
    unit: str
    actual: int
    charged: int
    affected: tuple[str, ...]
    idempotency_key: str
    overage_policy: str
    created_at_ms: int
    metrics: dict[str, Any] | None = None
    client_time_ms: int | None = None
    metadata: dict[str, Any] | None = None


@frozen(slots=False)
class Replay:
    """A success that is kept under its idempotency key; after *keep_until_ms* the key is free again."""

    keep_until_ms: int
    payload_hash: str
    body: dict[str, Any]
    reservation_id: str | None = None


V = TypeVar("V", Budget, Hold)


def changed(row: V, **changes: Any) -> V:
    """Return *row* with *changes*: what attrs' `evolve` returns, in a third of the time."""
    return type(row)(**{**row.__dict__, **changes})
