"""Run a flow in the running event loop: asyncio, or trio through anyio."""

from __future__ import annotations

import contextlib
import math
import time
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cycles._core.effects import Call, Record, Sleep
from cycles._drivers import asyncgens
from cycles._drivers.phases import PoolTimeout
from cycles._drivers.world import LONGEST_ATTEMPT, endpoint
from cycles._outside.arrivals import arrived

if TYPE_CHECKING:
    from concurrent.futures import Future

    from cycles._core.effects import Effect, Flow
    from cycles._core.outcomes import Answer
    from cycles._drivers.world import Keeper, World

T = TypeVar("T")

_LONG: Final = frozenset((Call, Sleep, Record))
"""Effects that can take a while."""


async def run(flow: Flow[T], world: World, *, begun: Effect[Any] | None = None) -> T:
    """Perform every effect of *flow* and return what it returns; *begun* is the next one, when it has begun before."""
    try:
        effect = next(flow) if begun is None else begun
        while True:
            try:
                if type(effect) in _LONG and _waits(effect, world):
                    result = await _perform(effect, world)
                else:
                    result = world.perform(effect)
            except BaseException as error:  # noqa: BLE001 - the flow decides what a cancellation means
                effect = flow.throw(error)
            else:
                effect = flow.send(result)
    except StopIteration as end:
        value: T = end.value
        return value
    finally:
        flow.close()


async def run_at_once(flow: Flow[T], world: World, *, patience: float, hurried: bool = False) -> T | None:
    """Run *flow* without a task of its own as far as it needs no waiting, and from there as `run_through` does."""
    try:
        effect = next(flow)
        while type(effect) not in _LONG or not _waits(effect, world):
            try:
                result = world.perform(effect)
            except BaseException as error:  # noqa: BLE001 - as in `run`
                effect = flow.throw(error)
            else:
                effect = flow.send(result)
    except StopIteration as end:
        value: T = end.value
        return value
    return await run_through(flow, world, patience=patience, hurried=hurried, begun=effect)


async def run_through(
    flow: Flow[T], world: World, *, patience: float, hurried: bool = False, begun: Effect[Any] | None = None
) -> T | None:
    """Run *flow* to its end even when the calling task is cancelled meanwhile, then for *patience* seconds at most.

    A settlement half done is worse than a cancellation delayed: the work was done, and its charge is on the wire.

    Args:
        flow: What to run.
        world: What to run it in.
        patience: Seconds that a cancellation waits for it.
        hurried: The caller is being cancelled already: patience starts now.
        begun: The next effect of *flow*, when it has begun before.

    Returns:
        What the flow returns, or None when it had to be given up.
    """
    import anyio  # noqa: PLC0415 - see _perform

    try:
        import asyncio  # noqa: PLC0415 - loaded by whoever runs a loop

        asyncio.get_running_loop()
    except RuntimeError:  # trio
        with anyio.CancelScope(shield=True) as scope:
            if hurried:
                scope.deadline = anyio.current_time() + patience
            return await run(flow, world, begun=begun)
        return None
    # task.cancel() reaches through anyio's shield, so the flow gets a task of its own; anyio's own cancellation would
    # be delivered again and again to this task while it waits, so this one is shielded.
    task = asyncio.ensure_future(run(flow, world, begun=begun))
    interrupted: asyncio.CancelledError | None = None
    deadline = time.monotonic() + patience if hurried else math.inf
    with anyio.CancelScope(shield=True):
        while not task.done() and (left := deadline - time.monotonic()) > 0:
            try:
                await asyncio.wait({task}, timeout=None if left == math.inf else left)
            except asyncio.CancelledError as cancelled:
                interrupted = interrupted or cancelled
                deadline = min(deadline, time.monotonic() + patience)
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
    if interrupted is not None:
        raise interrupted
    return None if task.cancelled() else task.result()


async def _perform(effect: Effect[Any], world: World) -> Any:
    if isinstance(effect, Call):
        return await _call(effect, world)
    if isinstance(effect, Sleep):
        import anyio  # noqa: PLC0415 - costs import time, and httpx's async client has loaded it by now

        return await anyio.sleep(effect.seconds)
    assert isinstance(effect, Record)  # noqa: S101 - types: see _waits
    assert world.journal is not None  # noqa: S101 - likewise
    return await _recorded(effect, world.journal)


def _waits(effect: Effect[Any], world: World) -> bool:
    """Return whether the loop does something else while *effect*, one of `_LONG`, is performed."""
    if isinstance(effect, Record):
        return not effect.pending.provisional and world.journal is not None and world.journal.fsync
    return True


async def _recorded(record: Record, journal: Keeper) -> bool:
    """Write the record off the loop; wait for it even while being cancelled: it is on disk before anything is sent."""
    import anyio  # noqa: PLC0415 - see _perform
    import anyio.to_thread  # noqa: PLC0415 - likewise

    written = journal.write_soon(record.pending, record.claim)
    interrupted: BaseException | None = None
    with anyio.CancelScope(shield=True):
        try:
            import asyncio  # noqa: PLC0415 - loaded by whoever runs a loop

            asyncio.get_running_loop()
        except RuntimeError:  # trio
            try:
                await anyio.to_thread.run_sync(_waited, written)
            except RuntimeError:  # no thread can be started now
                _waited(written)
        else:
            waiting = asyncio.wrap_future(written)
            while not waiting.done():
                try:
                    await asyncio.wait({waiting})
                except asyncio.CancelledError as cancelled:
                    interrupted = interrupted or cancelled
            waiting.exception()  # looked at below
    if interrupted is not None:
        raise interrupted
    error = written.exception()
    if isinstance(error, Exception):
        journal.failed(error)
    return error is None


def _waited(written: Future[None]) -> None:
    written.exception()


async def _call(call: Call[T], world: World) -> Answer[T]:
    """Send one request, within `within` or `request_timeout` seconds as a whole: httpx bounds only each read and write.

    A renewal or a drain has a `request_timeout` of its own, and does not queue behind the others (`Lanes`). An attempt
    begins when its turn has come: a lease is judged by the time on the wire, not by that in a queue (docs/protocol.md,
    Heartbeat).
    """
    import anyio  # noqa: PLC0415 - see _perform

    module = endpoint(call.operation.module)
    hurried = call.arguments.get("request_timeout")
    within = call.within if hurried is None else hurried
    sent_at, is_sent = time.monotonic(), False
    try:
        with contextlib.nullcontext() if within is None else anyio.fail_after(within):
            async with contextlib.nullcontext() if world.gate is None else world.gate.lane(call):
                sent_at, is_sent = time.monotonic(), True
                with anyio.fail_after(LONGEST_ATTEMPT) if within is None else contextlib.nullcontext():
                    response = await asyncgens.request(
                        module.asyncio_detailed(
                            **{"client": world.api, "request_headers": world.headers(), **call.arguments}
                        )
                    )
    except Exception as error:  # noqa: BLE001 - World.failed tells apart whose it is
        waited = isinstance(error, TimeoutError) and not is_sent
        is_queue = waited and arrived(error, thrown=False) is None
        failure = PoolTimeout("no connection was free in time") if is_queue else error
    else:
        return world.answered(call, response, sent_at)
    # Futures of a loop raise what was set on them, bare as what is thrown into a thread.
    return world.failed(call, failure, sent_at, thrown=False)
