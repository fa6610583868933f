"""Run a flow in the calling thread."""

from __future__ import annotations

import time
from queue import Empty
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cycles._core.effects import Call, Record, Sleep
from cycles._drivers.deadline import Deadline
from cycles._drivers.phases import Phases, PoolTimeout
from cycles._drivers.world import LONGEST_ATTEMPT, endpoint

if TYPE_CHECKING:
    from cycles._core.effects import Effect, Flow
    from cycles._core.outcomes import Answer
    from cycles._drivers.threads import Steps
    from cycles._drivers.world import World

T = TypeVar("T")

_FREE: Final[Steps] = (bool, bool)
"""The steps of what waits for no permit."""

_LONG: Final = frozenset((Call, Sleep, Record))
"""Effects that can take a while; the world performs all others."""


class _OutOfPatienceError(BaseException):
    """Thrown into a flow whose time is over: an interrupt like any other."""


def run_within(flow: Flow[T], world: World, patience: float) -> T | None:
    """Run *flow* for *patience* seconds at most: whoever interrupted its section does not wait for a dead authority.

    Returns:
        What the flow returns, or None when it had to be given up.
    """
    try:
        return run(flow, world, ends=time.monotonic() + patience)
    except _OutOfPatienceError:
        return None


def run(flow: Flow[T], world: World, *, ends: float | None = None) -> T:
    """Perform every effect of *flow* and return what it returns; *ends* is the monotonic time at which to give up."""
    try:
        effect = next(flow)
        while True:
            try:
                if type(effect) not in _LONG:
                    result = world.perform(effect)
                elif ends is None:
                    result = _perform(effect, world)
                else:
                    result = _perform_until(effect, world, ends)
            except BaseException as error:  # noqa: BLE001 - the flow decides what an interrupt means
                effect = flow.throw(error)
            else:
                effect = flow.send(result)
    except StopIteration as end:
        value: T = end.value
        return value
    finally:
        flow.close()


def _perform(effect: Effect[Any], world: World) -> Any:
    if isinstance(effect, Call):
        return _call(effect, world)
    if isinstance(effect, Sleep):
        return time.sleep(effect.seconds)
    assert isinstance(effect, Record)  # noqa: S101 - types: see _LONG
    return _recorded(effect, world)


def _perform_until(effect: Effect[Any], world: World, ends: float) -> Any:
    left = ends - time.monotonic()
    if isinstance(effect, Sleep) and effect.seconds > left:
        raise _OutOfPatienceError
    if isinstance(effect, Call):
        if left <= 0.0:
            raise _OutOfPatienceError
        return _call(effect, world, left)
    return _perform(effect, world)


def _recorded(record: Record, world: World) -> bool:
    """Write the record even when a signal interrupts that: it is on disk before anything is sent."""
    try:
        return bool(world.perform(record))
    except BaseException:
        world.perform(record)
        raise


def _phases(left: float, usual: Phases) -> Phases:
    """Return the *usual* bounds of each phase, cut to what is *left* for all of them."""
    connect, read, write = [left if bound is None else min(bound, left) for bound in usual[:3]]
    return Phases(connect=connect, read=read, write=write, pool=left)


def _call(call: Call[T], world: World, left: float | None = None) -> Answer[T]:
    """Send one request; a renewal or a drain has a `request_timeout` of its own, and does not queue behind others."""
    within = call.within if left is None or (call.within is not None and call.within < left) else left
    arguments = dict(call.arguments)
    lanes = None if "request_timeout" in arguments else world.lanes
    if within is not None:
        arguments["request_timeout"] = _phases(within, world.timeout)
    module = endpoint(call.operation.module)
    sent_at = time.monotonic()
    take, put = _FREE if lanes is None else lanes.steps
    taken: list[object] = []
    given_back = map(put, taken)  # begins when it is asked for: see `Permits`
    try:
        with Deadline(LONGEST_ATTEMPT if within is None else within, waiting_counts=within is not None):
            try:
                taken.extend(map(take, (within,)))
                sent_at = time.monotonic()  # a lease is judged by the time on the wire, and not by that in a queue
                response = module.sync_detailed(
                    **{"client": world.api, "request_headers": world.headers(), **arguments}
                )
            finally:
                any(given_back)
    except Exception as error:  # noqa: BLE001 - World.failed tells apart whose it is
        is_queue = isinstance(error, Empty) and not taken
        failure = PoolTimeout("no connection was free in time") if is_queue else error
    else:
        return world.answered(call, response, sent_at)
    return world.failed(call, failure, sent_at)  # here, for what comes out must not carry httpx's exception along
