"""Attempts: the same request again, under its key, until its answer is known (docs/protocol.md, Idempotency)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from cycles._core.effects import Call, Jitter, Notify, Sleep
from cycles._core.outcomes import Verdict, judge

if TYPE_CHECKING:
    from collections.abc import Callable

    from cycles._core.effects import Flow
    from cycles._core.operations import Operation
    from cycles._core.outcomes import Answer
    from cycles._core.retry import RetryPolicy

S = TypeVar("S")


def until_known(
    operation: Operation[S],
    arguments: dict[str, Any],
    policy: RetryPolicy,
    throttled: Callable[[float], Flow[None]] | None = None,
) -> Flow[tuple[Answer[S], int]]:
    """Send the same request until its answer is neither ambiguous nor throttled, or the policy says stop.

    *throttled* runs with the seconds of a Retry-After, before the wait.
    """
    attempt = 1
    while True:
        answer = yield from Call(operation, **arguments)
        if judge(operation, answer) not in (Verdict.AMBIGUOUS, Verdict.THROTTLED):
            return answer, attempt
        if throttled is not None and answer.retry_after:
            yield from throttled(answer.retry_after)
        delay = policy.delay(attempt, (yield from Jitter()), answer.retry_after)
        yield from Notify(
            "attempt failed",
            operation=operation.name,
            attempt=attempt,
            delay=delay,
            reason=repr(answer),
        )
        if delay is None:
            return answer, attempt
        yield from Sleep(delay)
        attempt += 1
