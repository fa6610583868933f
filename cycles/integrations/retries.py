"""Retry helpers that know denials: a predicate for each of tenacity, stamina and LangGraph.

A denial is an answer. Asking again at once gets the same answer, and a `wait=` of the guard asks again in the right
rhythm. What may have gone wrong on the way is worth another try.

    @tenacity.retry(retry=retries.tenacity(), stop=tenacity.stop_after_attempt(3))
    @stamina.retry(on=retries.stamina(httpx.TransportError), attempts=3)
    RetryPolicy(retry_on=retries.langgraph())
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cycles.errors import AuthorityUnavailable, CyclesError, Denied, InternalError, RateLimited

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["is_retryable", "langgraph", "stamina", "tenacity"]


def _denials_in(error: BaseException) -> bool:
    """Return whether *error* is a denial, or was raised because of one (frameworks wrap what tools raise)."""
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        if isinstance(found, Denied):
            return True
        if isinstance(found, BaseExceptionGroup):
            return any(_denials_in(each) for each in found.exceptions)
        found = found.__cause__
    return False


def is_retryable(error: BaseException) -> bool:
    """Return whether the work that raised *error* may succeed when it is tried again soon.

    Of this package's errors only those on the way to the authority are: `AuthorityUnavailable`, `InternalError` and
    `RateLimited`. A denial never is, not even with a `retry_after`, and neither is an error that a denial caused.
    Errors of others are theirs to judge, so they are retryable here; what is no `Exception` is not.
    """
    if not isinstance(error, Exception) or _denials_in(error):
        return False
    if isinstance(error, CyclesError):
        return isinstance(error, AuthorityUnavailable | InternalError | RateLimited)
    return True


def _predicate(on: tuple[type[BaseException], ...]) -> Callable[[BaseException], bool]:
    kinds = on or (Exception,)

    def retries(error: BaseException) -> bool:
        return isinstance(error, kinds) and is_retryable(error)

    return retries


def tenacity(*on: type[BaseException]) -> Callable[[Any], bool]:
    """Return what tenacity's `retry=` takes: try again at the errors *on* (all when none), and never at a denial."""
    retries = _predicate(on)

    def retries_outcome(state: Any) -> bool:  # tenacity.RetryCallState
        error = None if state.outcome is None else state.outcome.exception()
        return error is not None and retries(error)

    return retries_outcome


def stamina(*on: type[BaseException]) -> Callable[[Exception], bool]:
    """Return what stamina's `on=` takes: try again at the errors *on* (all when none), and never at a denial."""
    return _predicate(on)


def langgraph(*on: type[BaseException]) -> Callable[[Exception], bool]:
    """Return what a `RetryPolicy` of LangGraph takes as `retry_on=`.

    With errors *on*, those are tried again. With none, those that LangGraph itself would try again. Never a denial.
    LangChain's `ToolRetryMiddleware` and `ModelRetryMiddleware` take it as `retry_on=`, too.
    """
    if on:
        return _predicate(on)
    usual: Callable[[Exception], bool] = import_module("langgraph.types").RetryPolicy().retry_on
    return lambda error: is_retryable(error) and (isinstance(error, CyclesError) or usual(error))
