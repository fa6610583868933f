"""Retry helpers try again what may succeed, and never a denial."""

from __future__ import annotations

import pytest

import cycles
from cycles.integrations import ToolCallReplayed, is_retryable, retries

DENIED = [
    cycles.BudgetExceeded("no"),
    cycles.BudgetExceeded("not now", retry_after=1.0),
    cycles.Denied("no", code="MOON_IS_FULL"),
]
FINAL = [
    *DENIED,
    cycles.InvalidRequest("wrong"),
    cycles.ConfigError("wrong"),
    cycles.Unauthorized("who?"),
    cycles.LeaseLost("late"),
    ToolCallReplayed("again", tool="t", state=None, reservation_id=None),
    KeyboardInterrupt(),
]
PASSING = [
    cycles.AuthorityUnavailable("away"),
    cycles.RateLimited("slow", retry_after=1.0),
    cycles.InternalError("broken"),
    ConnectionError("reset"),
    ValueError("of somebody else"),
]


def _caused(error: BaseException) -> Exception:
    wrapped = RuntimeError("error running tool")
    wrapped.__cause__ = error
    return wrapped


@pytest.mark.parametrize("error", FINAL, ids=repr)
def test_what_is_final_is_not_tried_again(error):
    assert not is_retryable(error)


@pytest.mark.parametrize("error", PASSING, ids=repr)
def test_what_passes_is_tried_again(error):
    assert is_retryable(error)


@pytest.mark.parametrize("error", DENIED, ids=repr)
def test_a_denial_in_a_framework_s_own_error_is_one(error):
    assert not is_retryable(_caused(error))
    assert not is_retryable(_caused(_caused(error)))
    assert not is_retryable(ExceptionGroup("tools failed", [ValueError("x"), _caused(error)]))


def test_errors_that_cause_each_other_end():
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    assert is_retryable(first)


class Work:
    """Raises its errors, one a call; then succeeds."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


def test_tenacity():
    tenacity = pytest.importorskip("tenacity")
    again = tenacity.retry(retry=retries.tenacity(), stop=tenacity.stop_after_attempt(5), reraise=True)
    passing = Work(cycles.AuthorityUnavailable("away"), ValueError("x"))
    assert (again(passing)(), passing.calls) == ("done", 3)
    for error in DENIED:
        denied = Work(error)
        with pytest.raises(cycles.Denied):
            again(denied)()
        assert denied.calls == 1
    other = Work(ValueError("x"))
    with pytest.raises(ValueError, match="x"):
        tenacity.retry(retry=retries.tenacity(ConnectionError), reraise=True)(other)()
    assert other.calls == 1


def test_stamina():
    stamina = pytest.importorskip("stamina")
    again = stamina.retry(on=retries.stamina(), attempts=5, wait_initial=0, wait_max=0, wait_jitter=0)
    passing = Work(cycles.AuthorityUnavailable("away"), ConnectionError("x"))
    assert (again(passing)(), passing.calls) == ("done", 3)
    for error in DENIED:
        denied = Work(error)
        with pytest.raises(cycles.Denied):
            again(denied)()
        assert denied.calls == 1


def test_langgraph():
    types = pytest.importorskip("langgraph.types")
    graph = pytest.importorskip("langgraph.graph")
    usual = types.RetryPolicy(initial_interval=0.0, jitter=False)
    ours = usual._replace(retry_on=retries.langgraph())
    for policy, asked in ((usual, 3), (ours, 1)):
        denied = Work(*[cycles.BudgetExceeded("no") for _ in range(3)])
        made = graph.StateGraph(dict)
        made.add_node("work", lambda state, denied=denied: {"said": denied()}, retry_policy=policy)
        made.add_edge(graph.START, "work")
        with pytest.raises(cycles.BudgetExceeded):
            made.compile().invoke({"said": ""})
        assert denied.calls == asked, "LangGraph itself tries a denial again"
    assert ours.retry_on(ConnectionError())
    assert ours.retry_on(cycles.AuthorityUnavailable("away"))
    assert not ours.retry_on(ValueError())  # as LangGraph itself has it
    assert retries.langgraph(ValueError)(ValueError())
