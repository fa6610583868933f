"""Exceptions that arrive from outside: of a signal handler, or thrown into the thread by another one.

Time limits work that way (celery, rq, alarm timeouts, stopit). Such an exception is the program's: it comes out of
whatever was under way, and nothing takes it for an answer of the network, or for the failure of a hook. Its class says
nothing, for many limits raise a TimeoutError, as sockets do. How it came is in its traceback.
"""

from __future__ import annotations

import opcode
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType, TracebackType

_RAISES: Final = frozenset((opcode.opmap["RAISE_VARARGS"], opcode.opmap["RERAISE"]))

_BARE: Final = (MemoryError, StopIteration, StopAsyncIteration, EOFError)
"""What the interpreter itself raises without a word."""


def arrived(error: BaseException, *, causes: bool = False, thrown: bool = True) -> BaseException | None:
    """Return the exception that arrived from outside, or None when *error* is the code's own.

    Args:
        error: What was caught.
        causes: Also look at its causes: libraries wrap what they take for a socket's failure.
        thrown: Whether another thread may have thrown it (`PyThreadState_SetAsyncExc`).
    """
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        if _is_a_handlers(found) or (thrown and _is_thrown(found)):
            return found
        seen.add(id(found))
        found = found.__cause__ if causes else None
    return None


class Arrival(BaseException):
    """Carries *error*, which arrived from outside, past all that catches exceptions on its way."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error: Final = error


class _Passing:
    """Lets what arrives from outside pass as an `Arrival`; what fails inside goes on as it is."""

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception) and (outside := arrived(error, causes=True)) is not None:
            raise Arrival(outside) from None


passing: Final = _Passing()
"""The block in which it passes; one for all, since it keeps nothing."""


@contextmanager
def harmless() -> Iterator[None]:
    """Drop what fails inside; what arrives from outside meanwhile comes out."""
    try:
        yield
    except Exception as error:
        if arrived(error) is not None:
            raise


def _is_a_handlers(error: BaseException) -> bool:
    """Whether a signal handler raised *error*: it was called with the frame that it interrupted."""
    step = error.__traceback__
    while step is not None:
        interrupted = step.tb_frame.f_back
        if interrupted is not None and _was_given(step.tb_frame, interrupted):
            return True
        step = step.tb_next
    return False


def _was_given(frame: FrameType, interrupted: FrameType) -> bool:
    for value in frame.f_locals.values():
        if value is interrupted or (type(value) is tuple and any(item is interrupted for item in value)):
            return True
    return False


def _is_thrown(error: BaseException) -> bool:
    """Whether *error* came up where nothing raised it, as it does when another thread throws a class into this one."""
    last: TracebackType | None = error.__traceback__
    if last is None or error.args or isinstance(error, _BARE) or type(error).__module__ == "_queue":
        return False
    while last.tb_next is not None:
        last = last.tb_next
    return last.tb_frame.f_code.co_code[last.tb_lasti] not in _RAISES
