"""Run a flow in the calling thread."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from cycles._core.effects import Call, Record, Sleep
from cycles._drivers.deadline import deadline
from cycles._drivers.phases import Phases, PoolTimeout
from cycles._drivers.world import LONGEST_ATTEMPT, endpoint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cycles._core.effects import Effect, Flow
    from cycles._core.outcomes import Answer
    from cycles._drivers.world import World

T = TypeVar("T")


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
                result = _perform(effect, world) if ends is None else _perform_until(effect, world, ends)
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
    if isinstance(effect, Record):
        return _recorded(effect, world)
    return world.perform(effect)


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


@contextmanager
def _lane(world: World, seconds: float | None, *, hurried: bool) -> Iterator[None]:
    """Wait for one of the client's lanes, for *seconds* at most.

    A renewal or a drain has a bound of its own, and does not queue behind the others.
    """
    lanes = None if hurried else world.lanes
    if lanes is not None and not lanes.acquire(timeout=seconds):
        raise PoolTimeout("no connection was free in time")
    try:
        yield
    finally:
        if lanes is not None:
            lanes.release()


def _phases(left: float, usual: Phases) -> Phases:
    """Return the *usual* bounds of each phase, cut to what is *left* for all of them."""
    bounds = (usual.connect, usual.read, usual.write)
    connect, read, write = (left if bound is None else min(bound, left) for bound in bounds)
    return Phases(connect=connect, read=read, write=write, pool=left)


def _call(call: Call[T], world: World, left: float | None = None) -> Answer[T]:
    module = endpoint(call.operation.module)
    sent_at = time.monotonic()
    try:
        arguments = dict(call.arguments)
        hurried = "request_timeout" in arguments
        bounds = [bound for bound in (call.within, left) if bound is not None]
        seconds = min(bounds, default=LONGEST_ATTEMPT)
        if bounds:
            arguments["request_timeout"] = _phases(seconds, world.timeout)
        with deadline(seconds, waiting_counts=bool(bounds)), _lane(world, seconds if bounds else None, hurried=hurried):
            sent_at = time.monotonic()  # the time on the wire is what a lease is judged by, and not the time in a queue
            response = module.sync_detailed(**{"client": world.api, "request_headers": world.headers(), **arguments})
    except Exception as error:  # noqa: BLE001 - World.failed tells apart whose it is
        failure = error
    else:
        return world.answered(call, response, sent_at)
    return world.failed(call, failure, sent_at)  # here, for what comes out must not carry httpx's exception along
