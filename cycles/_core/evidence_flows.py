"""The flows that fetch evidence: an envelope by its id, and a server's key set. `cycles.evidence` verifies them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cycles._core.effects import Call, Jitter, Notify, Sleep
from cycles._core.operations import GET_EVIDENCE, GET_EVIDENCE_JWKS
from cycles._core.outcomes import Verdict, error_of, judge

if TYPE_CHECKING:
    from cycles._core.effects import Flow
    from cycles._core.operations import Operation
    from cycles._core.outcomes import Answer
    from cycles._core.retry import RetryPolicy


def envelope(evidence_id: str, policy: RetryPolicy, **elsewhere: Any) -> Flow[bytes]:
    """Return the envelope with this id, as it came: what its bytes mean is for the verification to say.

    A fresh one may not be there for a moment, so a 404 is asked again, as often as the *policy* says.

    Args:
        evidence_id: 64 hex digits.
        policy: How often, and how long apart.
        **elsewhere: Where to ask, when that is not the client's authority.

    Raises:
        NotFound: when it is not there.
        AuthorityError, AuthorityUnavailable: when the authority can't be asked.
    """
    answer = yield from _fetched(GET_EVIDENCE, policy, is_awaited=True, evidence_id=evidence_id, **elsewhere)
    if answer.status != GET_EVIDENCE.success or answer.content is None:
        raise error_of(GET_EVIDENCE, answer)
    return answer.content


def key_set(policy: RetryPolicy, **elsewhere: Any) -> Flow[bytes]:
    """Return the server's key set, as it came.

    Raises:
        NotFound: when the server publishes none.
        AuthorityError, AuthorityUnavailable: when it can't be asked.
    """
    answer = yield from _fetched(GET_EVIDENCE_JWKS, policy, is_awaited=False, **elsewhere)
    if answer.status != GET_EVIDENCE_JWKS.success or answer.content is None:
        raise error_of(GET_EVIDENCE_JWKS, answer)
    return answer.content


def _fetched(
    operation: Operation[Any], policy: RetryPolicy, *, is_awaited: bool, **arguments: Any
) -> Flow[Answer[Any]]:
    attempt = 1
    while True:
        answer = yield from Call(operation, **arguments)
        is_there = answer.status == operation.success and answer.content is not None
        again = (is_awaited and answer.status == 404) or judge(operation, answer) in _AGAIN
        if is_there or not again:
            return answer
        delay = policy.delay(attempt, (yield from Jitter()), answer.retry_after)
        yield from Notify(
            "attempt failed", {"operation": operation.name, "attempt": attempt, "delay": delay, "reason": repr(answer)}
        )
        if delay is None:
            return answer
        yield from Sleep(delay)
        attempt += 1


_AGAIN = (Verdict.AMBIGUOUS, Verdict.THROTTLED)
