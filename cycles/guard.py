"""`Guard`: a decorator and a context manager that reserves before, and settles after.

A Guard is a value. How a section opens and ends, and how each shape of function runs in one, is in `_guard`; what the
end of a section does is decided in `_core.section_flows`.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cycles._client.faces import runtime_of
from cycles._client.opened_section import place_of_caller
from cycles._client.subjects import resolved
from cycles._guard.fields import Fields
from cycles._guard.openers import Opener, names_what_is_missing
from cycles._guard.sections import AsyncSection, BlockingSection
from cycles._guard.settlement_policy import SettlementPolicy
from cycles._guard.shapes import shape_of
from cycles._telemetry import spans
from cycles.errors import InvalidRequest
from cycles_api.types import UNSET

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager, AbstractContextManager
    from typing import Self

    from cycles._client.opened_section import Opened
    from cycles._client.options import ActionLike, Cost, GivenPolicyKeys, Level, OveragePolicy, PerCall, Seconds
    from cycles._core.section_flows import OnError, Unreported
    from cycles._guard.fields import Asked
    from cycles.client import AsyncClient, Client
    from cycles.config import Config
    from cycles.reservation import AsyncReservation, Reservation
    from cycles_api.models.amount import Amount

C = TypeVar("C")


class Guard(Opener):
    """Reserve an estimate before a piece of work, and commit or release after it.

    As a decorator of sync, async, generator and async-generator functions: each call has a reservation of its own, and
    any field but `actual` and `client` may be a callable of the call's own arguments. As a with-block (`async with` for
    asynchronous code): entering gives the reservation. A Guard is a value that can be reused; as a with-block it
    refuses to be entered twice at once.

    Args:
        estimate: The most that the work is expected to cost.
        action: (kind, name), such as ("llm.completion", "gpt-4o").
        actual: A callable that takes the function's result (a generator's return value) and returns what it really
            cost: an amount, or a Decimal of dollars, which is rounded up to a microcent. Or a constant of either kind:
            the cost of each section that ends well and reports nothing.
        tenant, workspace, app, workflow, agent, toolset: Who spends. A level that is not given comes from the innermost
            `cycles.subject`, else from the configuration; None leaves it out.
        dimensions: At most 16 further labels.
        ttl: Seconds that the lease lasts, 1 to 86400.
        grace_period: Seconds after its end in which a commit is still accepted, 0 to 60.
        overage_policy: What happens to a commit above the estimate (docs/protocol.md, Overage policies).
        metadata: JSON values to keep with the reservation.
        tags: At most 10 labels of the action.
        idempotency_key: A fresh one for each reservation when None; for a decorator, give a callable.
        policy_keys: Where the action goes (`PolicyKeys`: host, path …), for authorities whose policies look at that.
        dry_run: Only evaluate. A decorated function is not called, and its result is a `DryRun`.
        observe: Only evaluate, and run the work whatever the answer is: nothing is held and nothing is settled.
        wait: Seconds to keep asking while denied or throttled; 0 asks once.
        unreported: What happens when the work ended well and no actual is known: "estimate" commits the estimate,
            marked `actual_source: estimate`; "release" gives it back; "error" raises UnreportedSpend.
        on_error: What happens when the work raised and nothing was reported: "release" gives the estimate back;
            "estimate" commits it, marked; a callable takes the exception and returns what was spent until then, as
            `actual` does, or None for nothing.
        raise_on_unsettled: Whether a charge that could not be confirmed raises; else it is logged, and
            `reservation.settlement_error` has it.
        own: Whether to reserve at the authority even inside a `Limit` that covers it.
        client: A Client or AsyncClient; the default one when None (see `configure`).

    Raises:
        Denied: the authority said no; the work did not run.
        InvalidRequest, ConfigError: refused before sending; the work did not run.
        AuthorityError, AuthorityUnavailable: the authority could not be asked; the work did not run.

    Example:
        ```python
        import cycles
        from cycles import usd

        @cycles.Guard(usd("0.05"), action=("llm.completion", "gpt-4o"), actual=usd("0.03"))
        def ask(prompt: str) -> str:
            return "an answer"  # your model call


        ask("Why?")
        with cycles.Guard(usd("0.05"), action=("tool.search", "web")) as reservation:
            reservation.report(actual=usd("0.01"))
        ```
    """

    @names_what_is_missing
    def __init__(
        self,
        estimate: PerCall[Amount],
        *,
        action: PerCall[ActionLike],
        actual: Cost | Callable[[Any], Cost | None] | None = None,
        tenant: PerCall[Level] = UNSET,
        workspace: PerCall[Level] = UNSET,
        app: PerCall[Level] = UNSET,
        workflow: PerCall[Level] = UNSET,
        agent: PerCall[Level] = UNSET,
        toolset: PerCall[Level] = UNSET,
        dimensions: PerCall[Mapping[str, str] | None] = None,
        ttl: PerCall[Seconds | None] = 60.0,
        grace_period: PerCall[Seconds | None] = None,
        overage_policy: PerCall[OveragePolicy | None] = None,
        metadata: PerCall[Mapping[str, Any] | None] = None,
        tags: PerCall[Sequence[str] | None] = None,
        idempotency_key: PerCall[str | None] = None,
        policy_keys: PerCall[GivenPolicyKeys] = None,
        dry_run: PerCall[bool] = False,
        observe: PerCall[bool] = False,
        wait: PerCall[Seconds] = 0.0,
        unreported: Unreported = "estimate",
        on_error: OnError | Callable[[BaseException], Cost | None] = "release",
        raise_on_unsettled: bool = False,
        own: PerCall[bool] = False,
        client: Client | AsyncClient | None = None,
    ) -> None:
        self._policy: Final = SettlementPolicy(actual, unreported, on_error)
        self._policy.check_unit(estimate)
        options = {
            "action": action,
            "tenant": tenant,
            "workspace": workspace,
            "app": app,
            "workflow": workflow,
            "agent": agent,
            "toolset": toolset,
            "dimensions": dimensions,
            "ttl": ttl,
            "grace_period": grace_period,
            "overage_policy": overage_policy,
            "metadata": metadata,
            "tags": tags,
            "idempotency_key": idempotency_key,
            "policy_keys": policy_keys,
            "dry_run": dry_run,
            "observe": observe,
            "wait": wait,
            "own": own,
            "raise_on_unsettled": raise_on_unsettled,
        }
        super().__init__(Fields(estimate, options), client)

    # -- as a value ----------------------------------------------------------------------------------------------------
    def __getstate__(self) -> dict[str, Any]:
        if self._client is not None:
            raise TypeError(
                "a Guard with client= can't be pickled, for a client has connections and a key: leave client= out, and "
                "call cycles.configure() in the process that loads it"
            )
        return self._value()

    def _value(self) -> dict[str, Any]:
        """Return what makes this Guard; whether it is entered just now does not."""
        return {name: value for name, value in vars(self).items() if name != "_entry"}

    def __setstate__(self, value: dict[str, Any]) -> None:
        vars(self).update(value)
        self._begin_anew()

    def __copy__(self) -> Self:
        copied = type(self).__new__(type(self))
        copied.__setstate__(self._value())
        return copied

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        memo[id(self._client)] = self._client  # the same one, as a copied function has the same globals
        copied = memo[id(self)] = type(self).__new__(type(self))
        copied.__setstate__(copy.deepcopy(self._value(), memo))
        return copied

    # -- reserving -----------------------------------------------------------------------------------------------------
    def _opening(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> AbstractContextManager[Opened[Reservation]]:
        client, asked = self._blocking_client(), self._fields.of(args, kwargs)
        if self._fields.makes_amount:
            self._policy.check_unit(asked.amount)
        opening = BlockingSection(runtime_of(client), asked, self._policy)
        return self._watched(opening, asked, client.config) if spans.are_watched() else opening

    def _opening_async(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> AbstractAsyncContextManager[Opened[AsyncReservation]]:
        client, asked = self._async_client(), self._fields.of(args, kwargs)
        if self._fields.makes_amount:
            self._policy.check_unit(asked.amount)
        opening = AsyncSection(runtime_of(client), asked, self._policy)
        return self._watched(opening, asked, client.config) if spans.are_watched() else opening

    def _watched(self, opening: C, asked: Asked, config: Config) -> C:
        shown = {**asked.options, "estimate": asked.amount}
        return spans.around(opening, shown, resolved({}, config)["tenant"])

    # -- as a with-block -----------------------------------------------------------------------------------------------
    def __enter__(self) -> Reservation:
        reservation: Reservation = self._enter(place_of_caller()).reservation
        return reservation

    async def __aenter__(self) -> AsyncReservation:
        reservation: AsyncReservation = (await self._enter_async(place_of_caller())).reservation
        return reservation

    # -- as a decorator ------------------------------------------------------------------------------------------------
    def _decorated(self, function: Callable[..., Any]) -> Callable[..., Any]:
        if self._policy.measures is not None and shape_of(function) == "async generator":
            raise InvalidRequest(
                "actual: an async generator has no return value; call cycles.current().report(actual=…) in it"
            )
        return super()._decorated(function)

    def __repr__(self) -> str:
        return f"<Guard {self._fields.options['action']!r} estimate {self._fields.amount!r}>"
