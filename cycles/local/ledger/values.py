"""What a ledger is made of: immutable values, and the interface to wherever they are kept.

They have no slots: attrs fills a frozen class with slots field by field, which doubles the cost of reading a row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from attrs import Factory, field, frozen

if TYPE_CHECKING:
    from cycles.local.ledger.events import Notice

LEVELS: Final = ("tenant", "workspace", "app", "workflow", "agent", "toolset")
"""Levels of a subject, widest first (authority.md §2)."""

UNITS: Final = ("USD_MICROCENTS", "TOKENS", "CREDITS", "RISK_POINTS")
"""Units in the order in which details name them."""

DEFAULT_PERMISSIONS: Final = (
    "reservations:create",
    "reservations:commit",
    "reservations:release",
    "reservations:extend",
    "reservations:list",
    "balances:read",
)
"""Of a key that is made without naming any: it may spend, and not fund (authority.md §5)."""

PERMISSIONS: Final = (
    *DEFAULT_PERMISSIONS,
    *(f"{what}:{how}" for what in ("admin", "budgets", "policies", "webhooks", "events") for how in ("read", "write")),
)
"""What a key can be given. Of these the administration's paths look at the budgets' and the admin ones."""

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


@frozen(slots=False)
class Tenant:
    """A tenant and its settings (authority.md §1.6); durations in milliseconds."""

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


@frozen(slots=False)
class Terms:
    """What an operator noted about a budget: kept and shown, not evaluated (authority.md §6 row 19)."""

    commit_overage_policy: str | None = None
    rollover_policy: str | None = None
    period_start: str | None = None  # as they were given, ISO 8601
    period_end: str | None = None
    metadata: dict[str, Any] | None = None


@frozen(slots=False)
class Budget:
    """One ledger row: a budget at a scope path in one unit. `remaining = allocated - reserved - spent - debt`, always.

    `remaining` alone may be negative. `is_over_limit` is sticky: only funding clears it (authority.md §1.1).
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


@frozen(slots=False)
class Hold:
    """A reservation. `budgeted` are the scope paths that had a budget when it was made: all that it ever touches."""

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
    final_body: dict[str, Any] | None = None

    @property
    def deadline_ms(self) -> int:
        """The last millisecond at which commit and release are accepted."""
        return self.expires_at_ms + self.grace_ms


@frozen(slots=False)
class ApiKey:
    """An API key, of which only the hash and the first characters are kept."""

    key_id: str
    key_hash: str = field(repr=False)
    tenant: str
    name: str = ""
    prefix: str = ""  # empty where it would give too much of the secret away
    permissions: tuple[str, ...] = field(default=DEFAULT_PERMISSIONS, converter=tuple)
    scope_filter: tuple[str, ...] = field(default=(), converter=tuple)
    description: str | None = None
    metadata: dict[str, Any] | None = None
    created_at_ms: int = 0
    expires_at_ms: int | None = None
    revoked_at_ms: int | None = None
    revoked_reason: str | None = None

    def status(self, now_ms: int) -> str:
        """Return ACTIVE, REVOKED or EXPIRED."""
        if self.revoked_at_ms is not None:
            return "REVOKED"
        return "EXPIRED" if is_over(self.expires_at_ms, now_ms) else "ACTIVE"

    def may(self, permission: str) -> bool:
        """Whether the key has *permission*: `admin:read` stands for every `*:read`, `admin:write` for every write."""
        return permission in self.permissions or f"admin:{permission.rpartition(':')[2]}" in self.permissions


class Credential(NamedTuple):
    """What is looked at of an API key for each request."""

    tenant: str
    expires_at_ms: int | None
    revoked_at_ms: int | None
    tenant_status: str | None  # None: the tenant has no record


def is_over(expires_at_ms: int | None, now_ms: int) -> bool:
    """Whether the time of a key is over."""
    return expires_at_ms is not None and now_ms >= expires_at_ms


@frozen(slots=False)
class Replay:
    """A success that is kept under its idempotency key; after *keep_until_ms* the key is free again."""

    keep_until_ms: int
    payload_hash: str
    body: dict[str, Any]
    reservation_id: str | None = None


class Books(Protocol):
    """Where a ledger's rows are kept, as seen inside one transaction.

    Attributes:
        notices: Takes what is to be published when the transaction has committed; None: nobody listens.
    """

    notices: list[Notice] | None

    def tenant(self, tenant_id: str) -> Tenant | None: ...
    def put_tenant(self, tenant: Tenant) -> None: ...

    def budget(self, scope_path: str, unit: str) -> Budget | None: ...
    def units_at(self, scope_path: str) -> list[str]: ...
    def put_budget(self, budget: Budget) -> None: ...
    def budgets_of(self, tenant_id: str) -> list[Budget]: ...

    def hold(self, reservation_id: str) -> Hold | None: ...
    def put_hold(self, hold: Hold) -> None: ...
    def overdue(self, now_ms: int, most: int) -> list[Hold]:
        """Return up to *most* ACTIVE holds whose deadline is before *now_ms*, oldest first."""
        ...

    def live_holds_of(self, tenant_id: str) -> list[Hold]:
        """Return the ACTIVE holds of a tenant."""
        ...

    def replay(self, scope: str, key: str) -> Replay | None: ...
    def put_replay(self, scope: str, key: str, replay: Replay) -> None: ...


class MemoryBooks:
    """Books in dictionaries: for the simulator and for tests of the algebra. One transaction at a time, no rollback.

    The ledger reads and decides before it writes, so a refusal leaves nothing half done.
    """

    def __init__(self) -> None:
        self.tenants: dict[str, Tenant] = {}
        self.budgets: dict[tuple[str, str], Budget] = {}
        self.holds: dict[str, Hold] = {}
        self.replays: dict[tuple[str, str], Replay] = {}
        self.notices: list[Notice] | None = None

    def tenant(self, tenant_id: str) -> Tenant | None:
        return self.tenants.get(tenant_id)

    def put_tenant(self, tenant: Tenant) -> None:
        self.tenants[tenant.tenant_id] = tenant

    def budget(self, scope_path: str, unit: str) -> Budget | None:
        return self.budgets.get((scope_path, unit))

    def units_at(self, scope_path: str) -> list[str]:
        return [unit for unit in UNITS if (scope_path, unit) in self.budgets]

    def put_budget(self, budget: Budget) -> None:
        self.budgets[budget.scope_path, budget.unit] = budget

    def budgets_of(self, tenant_id: str) -> list[Budget]:
        return [budget for budget in self.budgets.values() if budget.tenant == tenant_id.lower()]

    def hold(self, reservation_id: str) -> Hold | None:
        return self.holds.get(reservation_id)

    def put_hold(self, hold: Hold) -> None:
        self.holds[hold.reservation_id] = hold

    def overdue(self, now_ms: int, most: int) -> list[Hold]:
        late = [hold for hold in self.holds.values() if hold.status == "ACTIVE" and hold.deadline_ms < now_ms]
        return sorted(late, key=lambda hold: hold.deadline_ms)[:most]

    def live_holds_of(self, tenant_id: str) -> list[Hold]:
        return [hold for hold in self.holds.values() if hold.status == "ACTIVE" and hold.tenant == tenant_id]

    def replay(self, scope: str, key: str) -> Replay | None:
        return self.replays.get((scope, key))

    def put_replay(self, scope: str, key: str, replay: Replay) -> None:
        self.replays[scope, key] = replay
