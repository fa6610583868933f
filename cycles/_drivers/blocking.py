"""Run a flow in the calling thread."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypeVar

import httpx

from cycles._core.effects import Call, Sleep
from cycles._drivers.world import endpoint

if TYPE_CHECKING:
    from cycles._core.effects import Effect, Flow
    from cycles._core.outcomes import Answer
    from cycles._drivers.world import World

T = TypeVar("T")


def run(flow: Flow[T], world: World) -> T:
    """Perform every effect of *flow* and return what it returns."""
    try:
        effect = next(flow)
        while True:
            try:
                result = _perform(effect, world)
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
    return world.perform(effect)


def _phases(left: float, usual: httpx.Timeout) -> httpx.Timeout:
    """Return the *usual* bounds of each phase, cut to what is *left* for all of them."""
    bounds = (usual.connect, usual.read, usual.write)
    connect, read, write = (left if bound is None else min(bound, left) for bound in bounds)
    return httpx.Timeout(connect=connect, read=read, write=write, pool=left)


def _call(call: Call[T], world: World) -> Answer[T]:
    module = endpoint(call.operation.module)
    sent_at = time.monotonic()
    try:
        arguments = dict(call.arguments)
        if call.within is not None:
            arguments["request_timeout"] = _phases(call.within, world.timeout)
        response = module.sync_detailed(client=world.api, request_headers=world.headers(), **arguments)
    except Exception as error:  # noqa: BLE001 - see World.failed
        return world.failed(error, sent_at)
    return world.answered(response, sent_at)
