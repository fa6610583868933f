"""Spans in OpenTelemetry around guarded sections, when the program itself has loaded that (docs/observability.md).

OpenTelemetry is never imported here (see `trace`); without it, a section costs one look into a dictionary.
Nothing that fails here fails a section.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from cycles._outside.arrivals import harmless
from cycles.errors import Denied
from cycles_api.models.amount import Amount
from cycles_api.types import Unset

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

    from cycles._core.section import Section

C = TypeVar("C")

_TRACE: Final = "opentelemetry.trace"


class Running(Protocol):
    """The part of a running section that its span shows: `cycles._client.running_section.RunningSection`."""

    @property
    def section(self) -> Section:
        """Where it stands."""
        ...

    @property
    def is_inherited(self) -> bool:
        """Whether this is a forked child's copy."""
        ...


class Opened(Protocol):
    """What a section's opening gives: `cycles._client.opened_section.Opened`."""

    @property
    def running(self) -> Running:
        """The section."""
        ...

    inside: Any
    """What is current while its code runs."""


def are_watched() -> bool:
    """Whether the program has loaded OpenTelemetry."""
    return _TRACE in sys.modules


def around(opening: C, options: Mapping[str, Any], tenant: str | None, *, name: str = "cycles.guard") -> C:
    """Return *opening*, which opens and settles a section, with a span around it; itself without OpenTelemetry.

    Args:
        opening: A context manager, blocking or asynchronous, that gives an `Opened`.
        options: What is reserved, as the caller wrote it.
        tenant: The configured one.
        name: Of the span.
    """
    api: Any = sys.modules.get(_TRACE)
    if api is None:
        return opening
    traced: Any = opening
    with harmless():  # half imported, or of another version: tracing must never fail a section
        traced = _Traced(opening, SectionSpan(api, _asked(options, tenant), name))
    section: C = traced
    return section


def _asked(options: Mapping[str, Any], configured: str | None) -> dict[str, Any]:
    """Return the attributes that are known before anything is checked: samplers see no others."""
    action, estimate, tenant = options["action"], options["estimate"], options["tenant"]
    kind, name = (
        action if isinstance(action, tuple) and len(action) == 2 else (_of(action, "kind"), _of(action, "name"))
    )
    found = {"cycles.action.kind": kind, "cycles.action.name": name}
    found["cycles.tenant"] = configured if isinstance(tenant, Unset) else tenant
    asked: dict[str, Any] = {key: value for key, value in found.items() if isinstance(value, str)}
    return asked | (_amount("cycles.estimate", estimate) if isinstance(estimate, Amount) else {})


def _of(value: object, name: str) -> Any:
    return getattr(value, name, None)


def _amount(name: str, amount: Amount) -> dict[str, Any]:
    return {name: amount.amount, "cycles.unit": str(amount.unit)}


class SectionSpan:
    """The span of one guarded section, from before its reserve until after its settlement.

    It is current while the reserve and the settlement are sent, and while the section's own code runs. Between two
    steps of a generator the caller's own span is current.
    """

    __slots__ = ("_api", "_context", "_left", "_running", "_span")

    def __init__(self, api: Any, attributes: Mapping[str, Any], name: str = "cycles.guard") -> None:
        tracer = api.get_tracer("cycles", sys.modules["cycles"].__version__)
        self._api: Final = api
        self._context: Final[Any] = sys.modules["opentelemetry.context"]
        self._left: Any = None
        self._running: Running | None = None
        self._span: Final = tracer.start_span(name, kind=api.SpanKind.INTERNAL, attributes=attributes)

    # -- which span is current -----------------------------------------------------------------------------------------
    def enter(self) -> Any:
        """Make the section's span current, or the one that its generator had open; return what `leave` needs."""
        return self._attach(self._left)

    def leave(self, token: Any) -> None:
        """Make current again what was before `enter`."""
        with harmless():
            is_ours = self._api.get_current_span() is self._span
            self._left = None if is_ours else self._context.get_current()
        self._detach(token)

    def _attach(self, context: Any) -> Any:
        with harmless():
            return self._context.attach(self._api.set_span_in_context(self._span) if context is None else context)
        return None

    def _detach(self, token: Any) -> None:
        if token is None:
            return
        with harmless():
            variable = getattr(token, "var", None)
            if variable is None:  # a runtime context of the program's own
                self._context.detach(token)
            else:
                # Not detach(), which logs an error where a block is left in another context than it was entered in
                # (async fixtures do that): there is nothing to be undone there.
                variable.reset(token)

    @contextmanager
    def current(self, error: BaseException | None = None, *, ends: bool) -> Iterator[None]:
        """Make the span current; end it with what is raised meanwhile, or, if this *ends* the section, with *error*."""
        token = self._attach(None)
        try:
            yield
        except BaseException as raised:
            self._end(raised)
            raise
        else:
            if ends:
                self._end(error)
        finally:
            self._detach(token)

    # -- what it says --------------------------------------------------------------------------------------------------
    def granted(self, opened: Opened) -> None:
        """Note what the authority answered, and be current in the section's code from now on."""
        self._running = opened.running
        opened.inside = self
        with harmless():
            if self._span.is_recording():
                section = opened.running.section
                self._span.set_attribute("cycles.decision", str(section.grant.response.decision))
                if section.reservation_id is not None:
                    self._span.set_attribute("cycles.reservation_id", section.reservation_id)

    def _end(self, error: BaseException | None) -> None:
        running = self._running
        if running is not None and running.is_inherited:
            return  # a forked child's copy: the parent ends it
        with harmless():
            if self._span.is_recording():
                self._say_how(None if running is None else running.section, error)
        with harmless():
            self._span.end()

    def _say_how(self, section: Section | None, error: BaseException | None) -> None:
        said: dict[str, Any] = {}
        if section is not None:
            settlement = section.settlement
            said["cycles.settlement"] = str(section.state)
            if settlement is not None and settlement.charged is not None:
                said |= _amount("cycles.charged", settlement.charged)
            if settlement is not None and settlement.uncovered is not None:
                said |= _amount("cycles.uncovered", settlement.uncovered)
        elif isinstance(error, Denied):
            said["cycles.decision"] = "DENY"
            if error.code is not None:
                said["cycles.reason_code"] = error.code
        # Leaving a stream early is no error of the section's.
        raised = None if error is None or isinstance(error, GeneratorExit) else error
        if raised is not None:
            said["error.type"] = type(raised).__qualname__
        self._span.set_attributes(said)
        if raised is not None:  # last: its text is the program's own, and may fail to be made
            self._span.record_exception(raised)
            self._span.set_status(self._api.Status(self._api.StatusCode.ERROR, f"{said['error.type']}: {raised}"))


class _Traced:
    """A section's opening with its span around it, blocking or asynchronous as that is."""

    __slots__ = ("_opening", "_span")

    def __init__(self, opening: Any, span: SectionSpan) -> None:
        self._opening: Final = opening
        self._span: Final = span

    def __enter__(self) -> Opened:
        with self._span.current(ends=False):
            opened: Opened = self._opening.__enter__()
        self._span.granted(opened)
        return opened

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        with self._span.current(error, ends=True):
            result: bool | None = self._opening.__exit__(kind, error, trace)
        return result

    async def __aenter__(self) -> Opened:
        with self._span.current(ends=False):
            opened: Opened = await self._opening.__aenter__()
        self._span.granted(opened)
        return opened

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        with self._span.current(error, ends=True):
            result: bool | None = await self._opening.__aexit__(kind, error, trace)
        return result
