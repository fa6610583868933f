"""`Limit`: what one run may cost at most; the guards inside draw on its one hold.

At the beginning it reserves its amount at the authority, or the first piece of it (`hold=`). A guard inside, of the
same unit, tenant and authority, asks nobody: it is admitted when `spent + held + estimate <= amount`, exactly, whatever
other threads and tasks do. At the end the limit commits what its sections spent, with a breakdown by action.

    who              has
    Limit            the fields, as a value that can be reused; the numbers of its last run
    RunningLimit     one run: its account, what it covers, its end             (`_client.running_limit`)
    Account          the numbers: admission, spent, held, breakdown            (`_core.limits`)
    Share            what one section has of it                                (`_core.limits`)
    flows            begin, admit, next piece, end; a section inside           (`_core.limit_flows`, `_core.shares`)

The numbers live in one process. A forked or spawned child does not draw on them: its guards go to the authority by
themselves. What is open when the limit ends is charged by itself, by event.
"""

from __future__ import annotations

import copy
import functools
import inspect
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar, cast

from cycles._client.faces import runtime_of
from cycles._client.opened_section import carried, place_of_caller
from cycles._client.running_limit import LimitOwner, OpenedLimit
from cycles._client.subjects import resolved
from cycles._guard.decorated import decorated
from cycles._guard.fields import Fields
from cycles._guard.limits import AsyncLimited, limited
from cycles._guard.openers import Opener, names_what_is_missing
from cycles._guard.shapes import shape_of
from cycles._outside.arrivals import arrived
from cycles._telemetry import log, spans
from cycles.amounts import check, describe
from cycles.errors import InvalidRequest
from cycles_api.models.action import Action
from cycles_api.models.amount import Amount
from cycles_api.shown import table
from cycles_api.types import UNSET

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager, AbstractContextManager
    from typing import Literal, Self

    from cycles._client.options import ActionLike, GivenPolicyKeys, Level, LimitOptions, OveragePolicy, PerCall, Seconds
    from cycles._client.running_limit import RunningLimit
    from cycles._core.results import Settlement
    from cycles._guard.fields import Asked
    from cycles.client import AsyncClient, Client
    from cycles.config import Config

C = TypeVar("C")
P = ParamSpec("P")
R = TypeVar("R")


class Limit(Opener):
    """Bound what a run may cost: guards inside draw on its one reservation, and send no request.

    As a with-block (`async with` for asynchronous code), or as a decorator of sync, async, generator and
    async-generator functions: each call has a limit of its own, and any field but `on_limit` and `client` may be a
    callable of the call's own arguments. A Limit is a value that can be reused; as a with-block it refuses to be
    entered twice at once. A limit inside a limit draws on the outer one.

    Args:
        amount: The most that the run may cost.
        action: (kind, name) of the run, such as ("agent.run", "research").
        hold: How much to hold at a time. None holds the whole amount from the beginning. Otherwise the limit takes
            pieces of at least this size, shortly before it needs them; a denied piece denies the section that needs it.
        on_limit: "raise" (default) only refuses what goes over the limit. A callable is also called with the Limit,
            once at 80 % and once when it is reached (`is_reached`), so that an agent can wind down.
        own: Whether to have a reservation of its own even inside another limit.
        tenant, workspace, app, workflow, agent, toolset: Who spends; None leaves a configured level out.
        dimensions: At most 16 further labels.
        ttl: Seconds that the lease lasts, 1 to 86400; it is renewed while the limit runs.
        grace_period: Seconds after its end in which a commit is still accepted, 0 to 60.
        overage_policy: What happens to spend above the amount (docs/protocol.md, Overage policies).
        metadata: JSON values to keep with the reservation.
        tags: At most 10 labels of the action.
        policy_keys: Where the run's actions go, for authorities whose policies look at that; see `Guard`.
        idempotency_key: Of the first reservation; a fresh one when None; for a decorator, give a callable.
        wait: Seconds to keep asking at the beginning while denied or throttled; 0 asks once.
        raise_on_unsettled: Whether a charge that could not be confirmed raises; else it is logged, and
            `settlement_error` has it.
        client: A Client or AsyncClient; the default one when None (see `configure`).

    Raises:
        Denied: the authority said no; the run did not begin.
        InvalidRequest, ConfigError: refused before sending; the run did not begin.
        AuthorityError, AuthorityUnavailable: the authority could not be asked; the run did not begin.

    Example:
        ```python
        import cycles
        from cycles import usd

        with cycles.Limit(usd("0.20"), action=("agent.run", "research")) as limit:
            with cycles.Guard(usd("0.05"), action=("tool.search", "web")):
                pass  # your work
            print(limit.spent, limit.remaining)
        ```
    """

    @names_what_is_missing
    def __init__(
        self,
        amount: PerCall[Amount],
        *,
        action: PerCall[ActionLike],
        hold: PerCall[Amount | None] = None,
        on_limit: Literal["raise"] | Callable[[Limit], object] = "raise",
        own: PerCall[bool] = False,
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
        policy_keys: PerCall[GivenPolicyKeys] = None,
        idempotency_key: PerCall[str | None] = None,
        wait: PerCall[Seconds] = 0.0,
        raise_on_unsettled: bool = False,
        client: Client | AsyncClient | None = None,
    ) -> None:
        if on_limit != "raise" and not callable(on_limit):
            raise InvalidRequest(f'on_limit={on_limit!r}: give "raise", or a callable of the Limit')
        options = {
            "action": action,
            "hold": hold,
            "own": own,
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
            "policy_keys": policy_keys,
            "idempotency_key": idempotency_key,
            "wait": wait,
            "raise_on_unsettled": raise_on_unsettled,
        }
        super().__init__(Fields(amount if callable(amount) else check("amount", amount), options), client)
        self._on_limit: Final = on_limit
        self._opened: OpenedLimit | None = None
        self._last: _Last | None = None

    # -- its numbers ---------------------------------------------------------------------------------------------------
    @property
    def amount(self) -> Amount:
        """The most that the run may cost.

        Raises:
            InvalidRequest: before the run begins, when it is a callable.
        """
        if self._opened is not None:
            account = self._opened.limit.account
            return Amount(unit=account.unit, amount=account.amount)
        if self._last is not None:
            return self._last[0]
        amount = self._fields.amount
        if not isinstance(amount, Amount):
            raise InvalidRequest("the amount of this Limit is a callable: it is known when the run has begun")
        return amount

    @property
    def _numbers(self) -> tuple[int, int, int]:
        if self._opened is not None:
            return self._opened.limit.account.numbers
        return (0, 0, 0) if self._last is None else self._last[1]

    @property
    def spent(self) -> Amount:
        """What the sections inside have spent; spend above an estimate counts in full."""
        return Amount(unit=self.amount.unit, amount=self._numbers[0])

    @property
    def held(self) -> Amount:
        """What the open sections inside hold: each its estimate, or what it has reported if that is more."""
        return Amount(unit=self.amount.unit, amount=self._numbers[1])

    @property
    def remaining(self) -> Amount:
        """What a section could still ask for; 0 when more was spent than estimated."""
        amount, (spent, held, _) = self.amount, self._numbers
        return Amount(unit=amount.unit, amount=max(0, amount.amount - spent - held))

    @property
    def sections(self) -> int:
        """How many sections were admitted, open ones included."""
        return self._numbers[2]

    @property
    def is_reached(self) -> bool:
        """Whether a section was refused for it, or all of it is spent."""
        if self._opened is not None:
            return self._opened.limit.account.is_reached
        return self._last is not None and self._last[2]

    @property
    def reservation_id(self) -> str | None:
        """The authority's id of its (first) reservation; None before it has one."""
        return None if self._opened is None else self._opened.limit.reservation_id

    @property
    def settlements(self) -> tuple[Settlement, ...]:
        """How its reservations ended: one, or with `hold=` one for each piece; empty before the end."""
        return () if self._opened is None else tuple(self._opened.limit.settlements)

    @property
    def settlement(self) -> Settlement | None:
        """How its (first) reservation ended; None before the end."""
        return self.settlements[0] if self.settlements else None

    @property
    def settlement_error(self) -> Exception | None:
        """What went wrong at its end, or None."""
        return next((ended.error for ended in self.settlements if ended.error is not None), None)

    # -- what the account tells ----------------------------------------------------------------------------------------
    @property
    def _owner(self) -> LimitOwner:
        return LimitOwner(self, self._tell if callable(self._on_limit) else None)

    def _tell(self) -> None:
        """Call `on_limit`; what it raises is logged: the section that passed the level is not to blame.

        What arrives from outside meanwhile comes out.
        """
        if callable(self._on_limit):
            try:
                self._on_limit(self)
            except Exception as error:  # see above
                if arrived(error) is not None:
                    raise
                log.notify("on_limit failed", {"reason": repr(error)})

    # -- opening -------------------------------------------------------------------------------------------------------
    def _opening(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> AbstractContextManager[OpenedLimit]:
        client, asked = self._blocking_client(), self._fields.of(args, kwargs)
        runtime = runtime_of(client)

        def begin() -> OpenedLimit:
            return self._began(runtime.limit(asked.amount, cast("LimitOptions", asked.options), self._owner))

        return self._watched(limited(begin, runtime, client.config.heartbeat), asked, client.config)

    def _opening_async(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> AbstractAsyncContextManager[OpenedLimit]:
        client, asked = self._async_client(), self._fields.of(args, kwargs)
        runtime = runtime_of(client)

        async def begin() -> OpenedLimit:
            return self._began(await runtime.limit(asked.amount, cast("LimitOptions", asked.options), self._owner))

        return self._watched(AsyncLimited(begin, runtime, client.config.heartbeat), asked, client.config)

    def _watched(self, opening: C, asked: Asked, config: Config) -> C:
        shown = {**asked.options, "estimate": asked.amount}
        return spans.around(opening, shown, resolved({}, config)["tenant"], name="cycles.limit")

    def _began(self, running: RunningLimit) -> OpenedLimit:
        self._opened = OpenedLimit(running, self)
        return self._opened

    # -- as a with-block -----------------------------------------------------------------------------------------------
    def __enter__(self) -> Self:
        self._enter(place_of_caller())
        return self

    async def __aenter__(self) -> Self:
        await self._enter_async(place_of_caller())
        return self

    # -- as a decorator ------------------------------------------------------------------------------------------------
    def _decorated(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def opening(args: tuple[Any, ...], kwargs: dict[str, Any]) -> AbstractContextManager[OpenedLimit]:
            return self._again()._opening(args, kwargs)  # noqa: SLF001 - another of this class

        def opening_async(args: tuple[Any, ...], kwargs: dict[str, Any]) -> AbstractAsyncContextManager[OpenedLimit]:
            return self._again()._opening_async(args, kwargs)  # noqa: SLF001 - another of this class

        return decorated(function, opening, opening_async)

    def _again(self) -> Limit:
        return Limit(self._fields.amount, **self._fields.options, on_limit=self._on_limit, client=self._client)

    # -- elsewhere -----------------------------------------------------------------------------------------------------
    def run(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call *function* inside this limit: in a thread of an executor, or another task.

        `executor.submit(limit.run, work, item)`. A coroutine that it returns, as async functions do, runs inside. In
        another process the limit does not hold: the guards there ask the authority themselves, which is logged.

        Raises:
            TypeError: for a generator function, whose code would run outside.

        Example:
            ```python
            from concurrent.futures import ThreadPoolExecutor

            import cycles
            from cycles import usd


            @cycles.Guard(usd("0.05"), action=("tool.search", "web"), actual=usd("0.02"))
            def search(query: str) -> str:
                return query.upper()  # your tool call


            with cycles.Limit(usd("0.20"), action=("agent.run", "research")) as limit, ThreadPoolExecutor() as threads:
                print(threads.submit(limit.run, search, "rivers").result())
            print(limit.spent)
            ```
        """
        opened = self._opened
        if opened is None:
            facts = {"limit": repr(self), "reason": "guards in this process are reserved at the authority"}
            log.notify("limit of another process, not drawn on", facts)
            return function(*args, **kwargs)
        if shape_of(function) in ("generator", "async generator"):
            name = getattr(function, "__qualname__", repr(function))
            raise TypeError(
                f"limit.run: {name} is a generator function, whose code runs when it is iterated, perhaps outside of "
                "the limit: pass a function that iterates, or decorate it with a Limit of its own"
            )
        if shape_of(function) == "async function":
            begin = functools.partial(cast("Callable[..., Awaitable[Any]]", function), *args, **kwargs)
            return cast("R", _carried(opened, begin))
        with carried(opened):
            result = function(*args, **kwargs)
        return cast("R", _carried(opened, lambda: result)) if inspect.iscoroutine(result) else result

    # -- as a value ----------------------------------------------------------------------------------------------------
    def __reduce__(self) -> tuple[Any, ...]:
        if self._opened is not None:  # its action and its numbers, as errors show them: its run stays in this process
            action = self._fields.options["action"]
            return _told, (None if callable(action) else action, (self.amount, self._numbers, self.is_reached))
        if self._client is not None:
            raise TypeError(
                "a Limit with client= can't be pickled, for a client has connections and a key: leave client= out, and "
                "call cycles.configure() in the process that loads it"
            )
        return _made, (self._fields.amount, self._fields.options, self._on_limit, self._last)

    def __copy__(self) -> Limit:
        return self._again()

    def __deepcopy__(self, memo: dict[int, Any]) -> Limit:
        amount, options = copy.deepcopy((self._fields.amount, self._fields.options), memo)
        return Limit(amount, **options, on_limit=copy.deepcopy(self._on_limit, memo), client=self._client)

    def __repr__(self) -> str:
        amount = self._fields.amount if self._opened is None and self._last is None else self.amount
        shown = describe(amount) if isinstance(amount, Amount) else repr(amount)
        spent = "" if self._opened is None and self._last is None else f" spent {describe(self.spent)}"
        return f"<Limit {self._fields.options['action']!r} {shown}{spent}>"

    def _repr_html_(self) -> str | None:
        """Return its numbers as a notebook shows them."""
        if self._opened is None and self._last is None and not isinstance(self._fields.amount, Amount):
            return None  # a callable makes the amount: the repr says so
        columns = ("limit", "amount", "spent", "held", "remaining", "sections")
        action = self._fields.options["action"]
        if isinstance(action, Action):
            action = (action.kind, action.name)
        named = "/".join(map(str, action)) if isinstance(action, tuple) else action
        return table(columns, [(named, self.amount, self.spent, self.held, self.remaining, self.sections)])


_Last = tuple[Amount, tuple[int, int, int], bool]
"""The amount, the numbers and whether it was reached, of a run that is not in this process."""


def _told(action: Action | tuple[str, str] | None, last: _Last) -> Limit:
    return _made(last[0], {"action": action or ("limit", "unknown")}, "raise", last)


def _made(
    amount: Any,
    options: dict[str, Any],
    on_limit: Literal["raise"] | Callable[[Limit], object],
    last: _Last | None,
) -> Limit:
    limit = Limit(amount, **options, on_limit=on_limit)
    limit._last = last  # noqa: SLF001 - unpickling: part of the class
    return limit


async def _carried(opened: OpenedLimit, begin: Callable[[], Awaitable[Any]]) -> Any:
    with carried(opened):
        return await begin()
