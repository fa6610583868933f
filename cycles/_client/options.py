"""The keyword arguments of the clients' methods: one typed dictionary for each method."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Required, TypeAlias, TypedDict, TypeVar

from cycles._core.policy_keys import PolicyKeys
from cycles_api.models.action import Action
from cycles_api.models.action_policy_keys import ActionPolicyKeys
from cycles_api.models.amount import Amount
from cycles_api.models.commit_overage_policy import CommitOveragePolicy
from cycles_api.types import Unset

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cycles._core.windows import Window
    from cycles_api.models.reservation_sort_field import ReservationSortField
    from cycles_api.models.reservation_status import ReservationStatus
    from cycles_api.models.sort_direction import SortDirection
    from cycles_api.models.standard_metrics import StandardMetrics

T = TypeVar("T")

PerCall: TypeAlias = T | Callable[..., T]
"""A field of a `Guard` or a `Limit`: a value, or a callable that takes a call's arguments and returns the value.

Example:
    ```python
    import cycles
    from cycles import tokens

    estimate: cycles.PerCall[cycles.Amount] = lambda prompt: tokens(len(prompt))


    @cycles.Guard(estimate, action=("llm.completion", "gpt-4o"))
    def ask(prompt: str) -> str:
        return prompt.upper()  # your model call


    print(ask("Why?"))
    ```
"""

ActionLike: TypeAlias = Action | tuple[str, str]
"""What the work does: a (kind, name) pair, such as ("llm.completion", "gpt-4o"), or an `Action`.

Example:
    ```python
    import cycles
    from cycles import usd

    action: cycles.ActionLike = ("tool.search", "web")
    with cycles.Guard(usd("0.05"), action=action):
        print("searching")  # your tool call
    ```
"""

Seconds: TypeAlias = float | timedelta
"""A duration: a number of seconds, or a timedelta.

Example:
    ```python
    from datetime import timedelta

    import cycles
    from cycles import usd

    ttl: cycles.Seconds = timedelta(minutes=10)
    with cycles.Guard(usd("0.05"), action=("tool.search", "web"), ttl=ttl):
        print("searching")  # your tool call
    ```
"""

Cost: TypeAlias = Amount | Decimal
"""What something cost: an amount, or a Decimal of dollars, which is rounded up to a microcent.

Example:
    ```python
    from decimal import Decimal

    import cycles
    from cycles import usd


    def cost(reply: dict[str, str]) -> cycles.Cost:
        return Decimal(reply["cost"])


    @cycles.Guard(usd("0.05"), action=("llm.completion", "gpt-4o"), actual=cost)
    def ask(prompt: str) -> dict[str, str]:
        return {"text": prompt.upper(), "cost": "0.032"}  # your model call


    print(ask("Why?"))
    ```
"""

OveragePolicy: TypeAlias = CommitOveragePolicy | str
"""REJECT, ALLOW_IF_AVAILABLE or ALLOW_WITH_OVERDRAFT (docs/protocol.md, Overage policies).

Example:
    ```python
    import cycles
    from cycles import usd

    policy: cycles.OveragePolicy = "ALLOW_IF_AVAILABLE"
    with cycles.Guard(usd("0.05"), action=("tool.search", "web"), overage_policy=policy) as reservation:
        reservation.commit(usd("0.07"))
    ```
"""

Level: TypeAlias = str | Unset | None
"""A level of the subject. UNSET: as around it (`cycles.subject`), else as configured. None: left out.

Example:
    ```python
    import cycles
    from cycles import usd

    customer: cycles.Level = cycles.level("zoe@example.com")
    with cycles.Guard(usd("0.05"), action=("tool.search", "web"), workspace=customer):
        print("searching")  # your tool call
    ```
"""

GivenPolicyKeys: TypeAlias = PolicyKeys | ActionPolicyKeys | None
"""Where the action goes (`PolicyKeys`), if the authority's policies look at that."""


class Levels(TypedDict, total=False):
    """The subject: texts of 1 to 128 letters, digits, `_`, `.` and `-` (`cycles.level`); None leaves a level out."""

    tenant: Level
    workspace: Level
    app: Level
    workflow: Level
    agent: Level
    toolset: Level


class DecideOptions(Levels, total=False):
    """The keyword arguments of `Client.decide`, besides the estimate. All but `action` may be left out.

    Example:
        ```python
        import cycles
        from cycles import usd

        options: cycles.DecideOptions = {"action": ("tool.search", "web"), "tags": ["nightly"]}
        with cycles.Client() as client:
            print(client.decide(usd("0.05"), **options))
        ```
    """

    action: Required[ActionLike]
    """(kind, name), such as ("llm.completion", "gpt-4o"): at most 64 and 256 characters."""
    dimensions: Mapping[str, str] | None
    """At most 16 further labels; they choose no budget."""
    metadata: Mapping[str, Any] | None
    """JSON values to keep with it."""
    tags: Sequence[str] | None
    """At most 10 labels of the action, of at most 64 characters."""
    policy_keys: GivenPolicyKeys
    """Where the action goes (host, path …), for authorities whose policies look at that."""
    idempotency_key: str | None
    """1 to 256 characters; a fresh one when None."""


class RecordOptions(DecideOptions, total=False):
    """The keyword arguments of `Client.record`, besides the actual. All but `action` may be left out.

    Example:
        ```python
        import cycles
        from cycles import usd

        options: cycles.RecordOptions = {"action": ("tool.search", "web"), "idempotency_key": "search-17"}
        with cycles.Client() as client:
            client.record(usd("0.02"), **options)
        ```
    """

    overage_policy: OveragePolicy | None
    """What happens when too little is left (docs/protocol.md, Overage policies); None for the authority's default."""
    metrics: StandardMetrics | None
    """Usage figures to keep with it."""


class ReserveOptions(DecideOptions, total=False):
    """The keyword arguments of `Client.reserve`, besides the estimate. All but `action` may be left out.

    Example:
        ```python
        import cycles
        from cycles import usd

        options: cycles.ReserveOptions = {"action": ("tool.search", "web"), "ttl": 30}
        with cycles.Client() as client:
            client.reserve(usd("0.05"), **options).release()
        ```
    """

    ttl: Seconds | None
    """Seconds that the lease lasts, 1 to 86400 (default 60); None for the authority's default."""
    grace_period: Seconds | None
    """Seconds after the lease in which a commit is still accepted, 0 to 60; None for the authority's default."""
    overage_policy: OveragePolicy | None
    """What happens to a commit above the estimate (docs/protocol.md, Overage policies); None: as the authority says."""
    dry_run: bool
    """Only evaluate: nothing is held."""
    observe: bool
    """Only evaluate, and go on whatever the answer is: nothing is held, and nothing is settled (default: False)."""
    wait: Seconds
    """Seconds to keep asking while denied or throttled; 0 (default) asks once."""
    raise_on_unsettled: bool
    """Whether the end raises when a charge could not be confirmed (default: True by hand, False in a Guard)."""
    own: bool
    """Whether to reserve at the authority even inside a `Limit` that covers it (default: False)."""


class LimitOptions(DecideOptions, total=False):
    """The parts of a limit beside the amount. All but `action` may be left out."""

    ttl: Seconds | None
    """Seconds that the lease lasts, 1 to 86400 (default 60); it is renewed while the limit runs."""
    grace_period: Seconds | None
    """Seconds after the lease in which a commit is still accepted, 0 to 60; None for the authority's default."""
    overage_policy: OveragePolicy | None
    """What happens to spend above the amount (docs/protocol.md, Overage policies); None: as the authority says."""
    wait: Seconds
    """Seconds to keep asking at the beginning while denied or throttled; 0 (default) asks once."""
    raise_on_unsettled: bool
    """Whether the end raises when a charge could not be confirmed (default: False)."""
    hold: Amount | None
    """How much to hold at a time; None (default) holds the whole amount from the beginning."""
    own: bool
    """Whether to have a reservation of its own even inside another limit."""


class BalanceFilters(Levels, total=False):
    """The keyword arguments of `Client.balances`: which budgets are listed.

    Of the configured levels only the tenant narrows a list.

    Example:
        ```python
        import cycles

        filters: cycles.BalanceFilters = {"tenant": "default", "include_children": True}
        with cycles.Client() as client:
            print(list(client.balances(**filters)))
        ```
    """

    include_children: bool | None
    """Also the budgets below the ones that match; a server may do so always."""
    page_size: int | None
    """Rows asked for at a time, 1 to 200; None for the authority's default (50)."""


class ReservationFilters(Levels, total=False):
    """The keyword arguments of `Client.reservations`: which are listed.

    Of the configured levels only the tenant narrows a list.

    Example:
        ```python
        import cycles

        filters: cycles.ReservationFilters = {"status": "ACTIVE", "sort_by": "reserved"}
        with cycles.Client() as client:
            print(list(client.reservations(**filters)))
        ```
    """

    status: ReservationStatus | str | None
    """Only those in this state: ACTIVE, COMMITTED, RELEASED or EXPIRED."""
    idempotency_key: str | None
    """Only the one that was made with this key."""
    created: Window | None
    """(from, to), both included: a datetime with its offset, a timedelta (ago), a text, or None for an open end."""
    expires: Window | None
    """The same; a timedelta is from now."""
    finalized: Window | None
    """The same, of commits and releases; a timedelta is ago."""
    sort_by: ReservationSortField | str | None
    """reservation_id, tenant, scope_path, status, reserved, created_at_ms (default) or expires_at_ms."""
    sort_dir: SortDirection | str | None
    """"asc" or "desc" (default)."""
    include: Sequence[str] | None
    """Parts to add to each row: "metadata", "committed_metadata", "evidence"."""
    page_size: int | None
    """Rows asked for at a time, 1 to 200; None for the authority's default (50)."""
