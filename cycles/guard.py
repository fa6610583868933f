"""`Guard`: a decorator and a context manager that reserves before, and settles after.

A Guard is a value. How a section opens and ends, and how each shape of function runs in one, is in `_guard`; what the
end of a section does is decided in `_core.section_flows`.
"""

from __future__ import annotations

import copy
import functools
import os
import threading
from contextlib import AsyncExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar, cast
from weakref import WeakSet

from cycles._client.faces import runtime_of
from cycles._client.opened_section import Opened, entered, place_of_caller, standing_in
from cycles._client.raising import raised_here
from cycles._client.subjects import resolved
from cycles._guard.decorated import decorated
from cycles._guard.sections import AsyncSection, section
from cycles._guard.settlement_policy import SettlementPolicy
from cycles._guard.shapes import shape_of
from cycles._telemetry import spans
from cycles.client import DEFAULTS, AsyncClient, Client
from cycles.errors import ConfigError, InvalidRequest
from cycles.reservation import AsyncReservation, Reservation
from cycles_api.types import UNSET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager, AbstractContextManager
    from datetime import timedelta
    from decimal import Decimal
    from types import TracebackType
    from typing import Self

    from cycles._client.async_runtime import AsyncRuntime
    from cycles._client.blocking_runtime import BlockingRuntime
    from cycles._client.options import GivenPolicyKeys, Level, ReserveOptions
    from cycles._core.section_flows import OnError, Unreported
    from cycles_api.models.action import Action
    from cycles_api.models.amount import Amount
    from cycles_api.models.commit_overage_policy import CommitOveragePolicy

P = ParamSpec("P")
R = TypeVar("R")


class Guard:
    """Reserve an estimate before a piece of work, and commit or release after it.

    As a decorator of sync, async, generator and async-generator functions: each call has a reservation of its own, and
    any field but `actual` and `client` may be a callable of the call's own arguments. As a with-block (`async with` for
    asynchronous code): entering gives the reservation. A Guard is a value that can be reused; as a with-block it
    refuses to be entered twice at once.

    Args:
        estimate: The most that the work is expected to cost.
        action: (kind, name), such as ("llm.completion", "gpt-4o").
        actual: Takes the function's result (a generator's return value) and gives what it really cost: an amount, or
            a Decimal of dollars, which is rounded up to a microcent. Or one of the two, which each section costs that
            ends well and reports nothing.
        tenant, workspace, app, workflow, agent, toolset: Whom to spend for. A level that is not given is the one of the
            innermost `cycles.subject`, else the configured one; None leaves it out.
        dimensions: At most 16 further labels.
        ttl: Seconds that the lease lasts, 1 to 86400.
        grace_period: Seconds after it in which a commit is still taken, 0 to 60.
        overage_policy: What a commit above the estimate does (docs/protocol.md, Overage policies).
        metadata: JSON values to keep with the reservation.
        tags: At most 10 labels of the action.
        idempotency_key: A fresh one for each reservation when None; for a decorator, give a callable.
        policy_keys: Where the action goes (`PolicyKeys`: host, path …), for an authority whose policies look at that.
        dry_run: Only evaluate. A decorated function is not called, and its result is a `DryRun`.
        observe: Only evaluate, and run the work whatever the answer is: nothing is held and nothing is settled.
        wait: Seconds to keep asking while denied or throttled; 0 asks once.
        unreported: What happens when the work ended well and no actual is known: "estimate" commits the estimate,
            marked `actual_source: estimate`; "release" gives it back; "error" raises UnreportedSpend.
        on_error: What happens when the work raised and nothing was reported: "release" gives the estimate back;
            "estimate" commits it, marked; a callable takes the exception, and gives what was spent until then (as
            `actual` gives it), or None for nothing.
        raise_on_unsettled: Whether a charge that could not be confirmed raises; else it is logged, and
            `reservation.settlement_error` has it.
        own: Whether it is reserved at the authority even inside a `Limit` that covers it.
        client: A Client or AsyncClient; the default one when None (see `configure`).

    Raises:
        Denied: the authority said no; the work did not run.
        InvalidRequest, ConfigError: refused before sending; the work did not run.
        AuthorityError, AuthorityUnavailable: the authority could not be asked; the work did not run.
    """

    def __init__(
        self,
        estimate: Amount | Callable[..., Amount],
        *,
        action: Action | tuple[str, str] | Callable[..., Action | tuple[str, str]],
        actual: Amount | Decimal | Callable[[Any], Amount | Decimal | None] | None = None,
        tenant: Level | Callable[..., Level] = UNSET,
        workspace: Level | Callable[..., Level] = UNSET,
        app: Level | Callable[..., Level] = UNSET,
        workflow: Level | Callable[..., Level] = UNSET,
        agent: Level | Callable[..., Level] = UNSET,
        toolset: Level | Callable[..., Level] = UNSET,
        dimensions: Mapping[str, str] | Callable[..., Mapping[str, str] | None] | None = None,
        ttl: float | timedelta | Callable[..., float | timedelta | None] | None = 60.0,
        grace_period: float | timedelta | Callable[..., float | timedelta | None] | None = None,
        overage_policy: CommitOveragePolicy | str | Callable[..., CommitOveragePolicy | str | None] | None = None,
        metadata: Mapping[str, Any] | Callable[..., Mapping[str, Any] | None] | None = None,
        tags: Sequence[str] | Callable[..., Sequence[str] | None] | None = None,
        idempotency_key: str | Callable[..., str | None] | None = None,
        policy_keys: GivenPolicyKeys | Callable[..., GivenPolicyKeys] = None,
        dry_run: bool | Callable[..., bool] = False,
        observe: bool | Callable[..., bool] = False,
        wait: float | timedelta | Callable[..., float | timedelta] = 0.0,
        unreported: Unreported = "estimate",
        on_error: OnError | Callable[[BaseException], Amount | Decimal | None] = "release",
        raise_on_unsettled: bool = False,
        own: bool | Callable[..., bool] = False,
        client: Client | AsyncClient | None = None,
    ) -> None:
        self._policy: Final = SettlementPolicy(actual, unreported, on_error)
        self._policy.check_unit(estimate)
        self._fields: Final[dict[str, Any]] = {
            "estimate": estimate,
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
        }
        self._per_call: Final = tuple(name for name, value in self._fields.items() if callable(value))
        self._raise_on_unsettled: Final = raise_on_unsettled
        self._client: Final = client
        self._lock = threading.Lock()
        self._block: Any = None
        _guards.add(self)

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
        return {name: value for name, value in self.__dict__.items() if name not in ("_lock", "_block")}

    def __setstate__(self, value: dict[str, Any]) -> None:
        self.__dict__.update(value)
        self._lock, self._block = threading.Lock(), None
        _guards.add(self)

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
    def _options(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return the fields of one reservation; callables see the call's own arguments."""
        if not self._per_call:
            return {**self._fields, "raise_on_unsettled": self._raise_on_unsettled}
        made = {name: self._fields[name](*args, **kwargs) for name in self._per_call}
        self._policy.check_unit(made.get("estimate"))
        return {**self._fields, **made, "raise_on_unsettled": self._raise_on_unsettled}

    def _sync_client(self) -> Client:
        if isinstance(self._client, AsyncClient):
            raise ConfigError("this Guard has an AsyncClient, but guards blocking code: give it a Client")
        return self._client or DEFAULTS.client()

    def _async_client(self) -> AsyncClient:
        if isinstance(self._client, Client):
            raise ConfigError("this Guard has a Client, but guards asynchronous code: give it an AsyncClient")
        return self._client or DEFAULTS.async_client()

    def _opened(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> AbstractContextManager[Opened[Reservation]]:
        client, options = self._sync_client(), self._options(args, kwargs)
        runtime = runtime_of(client)
        if spans.are_watched():
            opening = section(functools.partial(_reserved, runtime, options), self._policy)
            return spans.around(opening, options, resolved({}, client.config)["tenant"])
        # Not within the context manager, and without `**`: what a thread needs for both is a page of its stack for as
        # long as it lives, in each of a thousand open guards (benchmarks/open.py).
        with raised_here:
            running = runtime.reserve(options.pop("estimate"), cast("ReserveOptions", options))
        opened = Opened(running, Reservation(running))
        return section(lambda: opened, self._policy)

    def _opened_async(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> AbstractAsyncContextManager[Opened[AsyncReservation]]:
        client, options = self._async_client(), self._options(args, kwargs)
        opening = AsyncSection(functools.partial(_reserved_async, runtime_of(client), options), self._policy)
        return spans.around(opening, options, resolved({}, client.config)["tenant"])

    # -- as a with-block -----------------------------------------------------------------------------------------------
    def forked(self) -> None:
        """Begin with a lock of its own in a forked child: another thread of the parent may have held this one."""
        self._lock = threading.Lock()

    def _claim(self, block: Any) -> None:
        with self._lock:
            if self._block is not None:
                raise RuntimeError("this Guard is entered already; make one for each with-block that can overlap")
            self._block = block

    def _unclaim(self) -> Any:
        with self._lock:
            block, self._block = self._block, None
        return block

    def __enter__(self) -> Reservation:
        block = self._block_section(place_of_caller())
        self._claim(block)
        try:
            with raised_here:
                return block.__enter__()
        except BaseException:
            self._unclaim()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._unclaim().__exit__(kind, error, trace)

    @contextmanager
    def _block_section(self, place: int | None) -> Iterator[Reservation]:
        with self._opened((), {}) as opened, entered(opened), standing_in(place, opened):
            yield opened.reservation

    async def __aenter__(self) -> AsyncReservation:
        place, block = place_of_caller(), AsyncExitStack()  # no async generator: see AsyncSection
        self._claim(block)
        try:
            with raised_here:
                opened = await block.enter_async_context(self._opened_async((), {}))
            block.enter_context(entered(opened))
            block.enter_context(standing_in(place, opened))
        except BaseException:
            self._unclaim()
            raise
        return opened.reservation

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._unclaim().__aexit__(kind, error, trace)

    # -- as a decorator ------------------------------------------------------------------------------------------------
    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Return *function* guarded: the same signature, each call with a reservation of its own."""
        if isinstance(function, classmethod | staticmethod):
            return cast("Callable[P, R]", type(function)(self(function.__func__)))
        if isinstance(function, functools.partialmethod):
            kept: Any = type(function)(self(function.func), *function.args, **function.keywords)
            return cast("Callable[P, R]", kept)
        if not callable(function):
            raise InvalidRequest(f"a Guard decorates functions and methods, not {function!r}; put it below a property")
        called = cast("Callable[..., Any]", function)
        if self._policy.measures is not None and shape_of(called) == "async generator":
            raise InvalidRequest(
                "actual: an async generator has no return value; call cycles.current().report(actual=…) in it"
            )
        return cast("Callable[P, R]", decorated(called, self._opened, self._opened_async))

    def __repr__(self) -> str:
        return f"<Guard {self._fields['action']!r} estimate {self._fields['estimate']!r}>"


def _reserved(runtime: BlockingRuntime, options: dict[str, Any]) -> Opened[Reservation]:
    running = runtime.reserve(options.pop("estimate"), cast("ReserveOptions", options))
    return Opened(running, Reservation(running))


async def _reserved_async(runtime: AsyncRuntime, options: dict[str, Any]) -> Opened[AsyncReservation]:
    running = await runtime.reserve(options.pop("estimate"), cast("ReserveOptions", options))
    return Opened(running, AsyncReservation(running))


_guards: Final[WeakSet[Guard]] = WeakSet()


def _in_child() -> None:
    for guard in list(_guards):
        guard.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
