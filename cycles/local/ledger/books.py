"""The rows that the ledger reads and writes: the protocol `Books`, and an implementation in dictionaries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from cycles.local.ledger.values import UNITS

if TYPE_CHECKING:
    from cycles.local.ledger.keys import ApiKey
    from cycles.local.ledger.notices import Notice
    from cycles.local.ledger.values import Budget, ChargedEvent, Hold, Replay, Tenant


class Books(Protocol):
    """A ledger's rows inside one transaction: everything that the algebra reads and writes.

    Attributes:
        notices: Collects the notices to publish once the transaction has committed; None: nobody listens.
    """

    notices: list[Notice] | None

    def tenant(self, tenant_id: str) -> Tenant | None: ...
    def put_tenant(self, tenant: Tenant) -> None: ...

    def budget(self, scope_path: str, unit: str) -> Budget | None: ...
    def units_at(self, scope_path: str) -> list[str]: ...
    def put_budget(self, budget: Budget) -> None: ...
    def budgets_of(self, tenant_id: str) -> list[Budget]: ...

    def past(self, scope_path: str, unit: str, renewals: int) -> Budget | None:
        """Return the row of an earlier period of a budget."""
        ...

    def put_past(self, budget: Budget) -> None:
        """Keep the row of a period that is over, under how often the budget had begun anew."""
        ...

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

    def put_event(self, event: ChargedEvent) -> None:
        """Keep an event that was just charged, for lists."""
        ...

    def keys(self, tenant_id: str | None = None) -> list[ApiKey]:
        """Return the API keys of a tenant, or all of them, oldest first."""
        ...

    def put_key(self, key: ApiKey) -> None: ...


class MemoryBooks:
    """Books in dictionaries: for the simulator and for tests of the algebra. One transaction at a time, no rollback.

    The ledger reads and decides before it writes, so a refusal leaves nothing half done.
    """

    def __init__(self) -> None:
        self.tenants: dict[str, Tenant] = {}
        self.budgets: dict[tuple[str, str], Budget] = {}
        self.past_budgets: dict[tuple[str, str, int], Budget] = {}
        self.holds: dict[str, Hold] = {}
        self.replays: dict[tuple[str, str], Replay] = {}
        self.events: dict[str, ChargedEvent] = {}
        self.api_keys: dict[str, ApiKey] = {}
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

    def past(self, scope_path: str, unit: str, renewals: int) -> Budget | None:
        return self.past_budgets.get((scope_path, unit, renewals))

    def put_past(self, budget: Budget) -> None:
        self.past_budgets[budget.scope_path, budget.unit, budget.renewals] = budget

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

    def put_event(self, event: ChargedEvent) -> None:
        self.events[event.event_id] = event

    def keys(self, tenant_id: str | None = None) -> list[ApiKey]:
        found = [key for key in self.api_keys.values() if tenant_id in (None, key.tenant)]
        return sorted(found, key=lambda key: (key.created_at_ms, key.key_id))

    def put_key(self, key: ApiKey) -> None:
        self.api_keys[key.key_hash] = key
