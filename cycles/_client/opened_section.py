"""Opened sections, and which of them the code that runs here belongs to."""

from __future__ import annotations

import contextlib
import inspect
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeAlias, TypeVar
from weakref import ref

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
        within: The generator of the program that this became current in, if it holds a with-block; or None.
    """

    __slots__ = ("__weakref__", "_subject", "inside", "outer", "reservation", "result", "running", "within")

    def __init__(self, running: RunningSection, reservation: H) -> None:
        self.running: Final = running
        self.reservation: Final = reservation
        self.result: Any = None
        self.inside: Inside | None = None
        self.outer: Opened[Any] | None = None
        self.within: int | None = None
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
    found = surrounding()
    while found is not None and found.is_over:
        found = found.outer
    return found


def surrounding() -> Opened[Any] | None:
    """Return what was opened last around the code that runs here, settled or not; the others are its `outer` ones."""
    found = _current.get()
    return _seen_by_generator(found) if _held else found


@contextmanager
def carried(opened: Opened[Any]) -> Iterator[None]:
    """Make *opened* the current section of another thread or task than the one that it was entered in."""
    before = _current.get()
    _current.set(opened)
    try:
        yield
    finally:
        _current.set(before)


Before: TypeAlias = "tuple[Opened[Any] | None, Inside | None, Any]"
"""What was current before a section became it: the opened section, or None; its own span, and what leaves that."""


def enter(opened: Opened[Any]) -> Before:
    """Make *opened* the current section, until `leave`."""
    outer, inside = _current.get(), opened.inside
    if outer is not opened:
        opened.outer = _seen_by_generator(outer) if _held else outer
        opened.within = _generator() if _held else None
    _current.set(opened)
    return outer, inside, None if inside is None else inside.enter()


def put_back(opened: Opened[Any]) -> None:
    """Make current again what was before *opened*, which an interrupted `enter` may have made current."""
    if _current.get() is opened:
        _current.set(opened.outer)


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


# -- with-blocks in generators of the program --------------------------------------------------------------------------
# Each step of such a generator may run in a context of its own: a web framework iterates in threads, and an event loop
# that ends closes it in a new task. And several that run by turns in one context see each other's blocks there. So a
# block is also known by its generator's frame, which is the same at each step and on the stack only then.
_held: Final[dict[int, ref[Opened[Any]]]] = {}
"""What was opened last in generators that hold a with-block, by the generator's frame."""

_GENERATORS: Final = inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR

_PASSED: Final = contextlib.__file__
"""The code of exit stacks, which enter blocks for whoever calls them."""


def place_of_caller() -> int | None:
    """Return what names the generator whose code calls the function that asks; None when that is no generator."""
    here = inspect.currentframe()
    asks = None if here is None else here.f_back
    frame = None if asks is None else asks.f_back
    while frame is not None and frame.f_code.co_filename == _PASSED:
        frame = frame.f_back
    return None if frame is None or not frame.f_code.co_flags & _GENERATORS else id(frame)


@contextmanager
def standing_in(place: int | None, opened: Opened[Any]) -> Iterator[None]:
    """Let *opened* be found by the generator at *place* that holds its with-block, if that is one."""
    if place is None:
        yield
        return
    before = _held.get(place)
    _held[place] = ref(opened, partial(_forget, place))
    try:
        yield
    finally:
        if before is None:
            _held.pop(place, None)
        else:
            _held[place] = before


def _forget(place: int, dropped: ref[Opened[Any]]) -> None:
    """Forget a generator that was dropped with its block open: another one may get its place."""
    if _held.get(place) is dropped:
        del _held[place]


def _generator() -> int | None:
    """Return what names the innermost generator that runs here and holds a with-block, or None."""
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_code.co_flags & _GENERATORS and id(frame) in _held:
            return id(frame)
        frame = frame.f_back
    return None


def _seen_by_generator(found: Opened[Any] | None) -> Opened[Any] | None:
    """Return what is current where the context says *found*: in a generator, what that has opened, or what is in it."""
    place = _generator()
    kept = None if place is None else _held.get(place)
    held = None if kept is None else kept()
    if held is None:
        return found
    inner = found
    while inner is not None and inner is not held:
        if inner.within == place:
            return inner
        inner = inner.outer
    return held
