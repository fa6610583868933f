"""Attempts: the same request again, under its key, until its answer is known (docs/protocol.md, Idempotency)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from cycles._core.effects import Call, Jitter, Notify, Now, Sleep
from cycles._core.outcomes import Answer, Trouble, Verdict, judge
from cycles._core.records import LONGEST_FLOOR

if TYPE_CHECKING:
    from collections.abc import Callable

    from cycles._core.effects import Flow
    from cycles._core.operations import Operation
    from cycles._core.retry import RetryPolicy

S = TypeVar("S")

_AGAIN: Final = (Verdict.AMBIGUOUS, Verdict.THROTTLED)
_SETTLES_AGAIN: Final = (*_AGAIN, Verdict.UNINTELLIGIBLE)


def until_known(
    operation: Operation[S],
    arguments: dict[str, Any],
    policy: RetryPolicy,
    throttled: Callable[[float], Flow[None]] | None = None,
    *,
    ends: float | None = None,
) -> Flow[tuple[Answer[S], int]]:
    """Send the same request until its answer is neither ambiguous nor throttled, or the policy or the time says stop.

    With *throttled* the request settles a spend. Then that runs with the seconds of a Retry-After, before the wait; an
    hour of it counts; and an answer that nobody can understand is no answer.

    Args:
        operation: What to ask.
        arguments: Of each request.
        policy: How often, and how long apart.
        throttled: Runs with the seconds of a Retry-After, before the wait.
        ends: Monotonic seconds at which the caller waits no longer: a request that is under way is given up then, and
            no wait begins that would last longer.

    Returns:
        The last answer, and how many requests were sent.
    """
    again = _AGAIN if throttled is None else _SETTLES_AGAIN
    attempt = 1
    while True:
        left = None if ends is None else ends - (yield from Now())
        if left is not None and left <= 0.0:
            return Answer(trouble=Trouble.NOT_SENT, reason="nobody waits for it any more"), attempt - 1
        answer = yield from Call(operation, within=left, **arguments)
        if judge(operation, answer) not in again:
            return answer, attempt
        after = answer.retry_after
        if throttled is not None and after:
            after = min(after, LONGEST_FLOOR)
            yield from throttled(after)
        delay = policy.delay(attempt, (yield from Jitter()), after)
        if delay is not None and ends is not None and (yield from Now()) + delay >= ends:
            delay = None
        yield from Notify(
            "attempt failed",
            {
                "operation": operation.name,
                "attempt": attempt,
                "delay": delay,
                "reason": repr(answer),
                "is_told": delay is None,  # by whoever asked for it
            },
        )
        if delay is None:
            return answer, attempt
        yield from Sleep(delay)
        attempt += 1
