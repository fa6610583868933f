"""Celery: a task base that says who spends, limits what a task may cost, and runs no charged task twice.

    @app.task(base=BudgetTask, cycles_limit=usd("0.50"), soft_time_limit=60)
    def research(question): ...

The levels of `cycles.subject` travel with the message, from the code that sends it to the worker that runs it.
"""

from __future__ import annotations

import uuid
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, ClassVar

import celery  # type: ignore[import-untyped]

import cycles
from cycles._client.subjects import around
from cycles._core.requests import LEVELS
from cycles.errors import Denied
from cycles.integrations._tool_calls import ToolCall, ToolCallReplayed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cycles.integrations._tool_calls import ToolOptions
    from cycles_api.models.amount import Amount

__all__ = ["BudgetTask"]

_HEADER = "cycles_subject"


class BudgetTask(celery.Task):  # type: ignore[misc]  # celery has no types
    """A task that spends.

    Set what you need as options of `@app.task(base=BudgetTask, …)`, or in a subclass. A denial fails the task, and
    `autoretry_for` does not retry it. To run it again later, catch `cycles.Denied` and call `self.retry(countdown=…)`.

    When Celery's soft time limit interrupts the task inside a guard, the guard ends as with any exception: what was
    reported is charged, and the rest is given back, or charged as its `on_error` says. A `Limit` is charged what was
    spent in it. A hard limit kills the process: the journal then charges what was reported.

    Attributes:
        cycles_limit: What one run of the task may cost at most: a `cycles.Limit` around it. None: no limit.
        cycles_estimate: The most that a run costs by itself, beside what is guarded in it: the run is one section, and
            a message that is delivered twice is not run again when the first run has ended well or is still running:
            it is a `ToolCallReplayed` then. A run that raised may be run again. None: no section.
        cycles_subject: Levels of the subject, or a callable of the task's own arguments that returns them. They go
            before those that came with the message.
        cycles_options: Fields of a `Guard` for the section of *cycles_estimate*, such as `actual` and `on_error`.
    """

    cycles_limit: ClassVar[Amount | None] = None
    cycles_estimate: ClassVar[Amount | None] = None
    cycles_subject: ClassVar[Mapping[str, str | None] | Callable[..., Mapping[str, str | None]] | None] = None
    cycles_options: ClassVar[ToolOptions] = {}
    dont_autoretry_for = (Denied, ToolCallReplayed)

    def apply_async(self, args: Any = None, kwargs: Any = None, *rest: Any, **options: Any) -> Any:
        """Send the task, with the subject of the code that sends it."""
        named = around()
        if named:
            pairs: Any = named
            options["headers"] = {_HEADER: dict(pairs), **(options.get("headers") or {})}
        return super().apply_async(args, kwargs, *rest, **options)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the task."""
        with ExitStack() as stack:
            stack.enter_context(cycles.subject(**_levels(self._sent_subject())))
            stack.enter_context(cycles.subject(**_levels(self._own_subject(args, kwargs))))
            if self.cycles_estimate is not None:  # outside of the limit, which asks no authority about keys
                stack.enter_context(self._section(self.cycles_estimate).running())
            if self.cycles_limit is not None:
                stack.enter_context(cycles.Limit(self.cycles_limit, action=("task.limit", self._named)))
            return super().__call__(*args, **kwargs)

    @property
    def _named(self) -> str:
        """Its name, which a task that runs has: registering it gave it one."""
        return str(self.name)

    def _sent_subject(self) -> Mapping[str, Any]:
        if self.request.called_directly:  # the subject of the caller is around it
            return {}
        headers = self.request.headers or {}
        found = headers.get(_HEADER) or getattr(self.request, _HEADER, None)
        return found if isinstance(found, dict) else {}

    def _own_subject(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Mapping[str, Any]:
        own = type(self).cycles_subject
        if own is None:
            return {}
        return own(*args, **kwargs) if callable(own) else own

    def _section(self, estimate: Amount) -> ToolCall:
        options: Any = {"action": ("task.run", self._named), **self.cycles_options}
        call_id = self.request.id or uuid.uuid4().hex  # called directly: nobody delivers that twice
        return ToolCall(self._named, estimate, run_id="celery", call_id=call_id, **options)


def _levels(given: Mapping[str, Any]) -> Any:
    """Return the levels in *given*; what a message has besides them is none of ours."""
    return {level: value for level, value in given.items() if level in LEVELS}
