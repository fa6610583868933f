"""Opened sections, and which of them the code that runs here belongs to."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, Protocol, TypeVar

from cycles._client.subjects import KeptSubject

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cycles._client.running_section import RunningSection

H = TypeVar("H")

_current: Final[ContextVar[Opened[Any] | None]] = ContextVar("cycles_current", default=None)


class Inside(Protocol):
    """What else is current while a section's own code runs: its span."""

    def enter(self) -> Any:
        """Make it current, and return what `leave` needs."""
        ...

    def leave(self, token: Any) -> None:
        """Make current again what was before."""
        ...


class Opened(Generic[H]):
    """A section that a guard opened.

    Attributes:
        running: The section.
        reservation: The reservation that its code sees.
        result: The result of its code, from when there is one until the section is settled: tasks begun inside have
            this section for as long as they live.
        inside: Its span, or None.
        outer: What was current where this became it.
    """

    __slots__ = ("_subject", "inside", "outer", "reservation", "result", "running")

    def __init__(self, running: RunningSection, reservation: H) -> None:
        self.running: Final = running
        self.reservation: Final = reservation
        self.result: Any = None
        self.inside: Inside | None = None
        self.outer: Opened[Any] | None = None
        self._subject: KeptSubject | None = None

    @property
    def is_dry_run(self) -> bool:
        """Whether its code is not to run."""
        return self.running.section.terms.dry_run

    def keep_subject(self) -> KeptSubject:
        """Return the subject that the steps of its code run for: the one around the first call of this."""
        if self._subject is None:
            self._subject = KeptSubject()
        return self._subject

    @property
    def is_over(self) -> bool:
        """Whether its reservation is nobody's current one any more."""
        return self.running.section.settlement is not None


def innermost() -> Opened[Any] | None:
    """Return the innermost opened section of this task or thread that is not settled, or None."""
    found = _current.get()
    while found is not None and found.is_over:
        found = found.outer
    return found


def surrounding() -> Opened[Any] | None:
    """Return what was opened last around the code that runs here, settled or not; the others are its `outer` ones."""
    return _current.get()


@contextmanager
def carried(opened: Opened[Any]) -> Iterator[None]:
    """Make *opened* the current section of another thread or task than the one that it was entered in."""
    before = _current.get()
    _current.set(opened)
    try:
        yield
    finally:
        _current.set(before)


class Before(NamedTuple):
    """What was current before a section became it.

    Attributes:
        outer: The opened section, or None.
        inside, token: The section's own span, and what leaves it.
    """

    outer: Opened[Any] | None
    inside: Inside | None
    token: Any


def enter(opened: Opened[Any]) -> Before:
    """Make *opened* the current section, until `leave`."""
    outer, inside = _current.get(), opened.inside
    if outer is not opened:
        opened.outer = outer
    _current.set(opened)
    return Before(outer, inside, None if inside is None else inside.enter())


def leave(before: Before) -> None:
    """Make current again what was *before* `enter`."""
    outer, inside, token = before
    if inside is not None:
        inside.leave(token)
    # Not reset(token): a block may be left in another context than it was entered in (async fixtures do).
    _current.set(outer)


@contextmanager
def entered(opened: Opened[Any]) -> Iterator[None]:
    """Make *opened* the current section."""
    before = enter(opened)
    try:
        yield
    finally:
        leave(before)


@contextmanager
def stepped(opened: Opened[Any]) -> Iterator[None]:
    """Make *opened* the current section for one step of its code: the caller's code runs before the next one."""
    with entered(opened), opened.keep_subject().step():
        yield
