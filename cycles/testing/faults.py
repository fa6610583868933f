"""What can go wrong, and a plan of when: every choice comes from one seeded `random.Random`."""

from __future__ import annotations

from asyncio import CancelledError
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from cycles.local.wire.fault_kinds import FaultKind

if TYPE_CHECKING:
    from random import Random


class Fault(StrEnum):
    """A fault of a request, of a section, or of the world between two effects."""

    # of requests
    CONNECT_REFUSED = FaultKind.CONNECT_REFUSED
    LOST_REQUEST = FaultKind.LOST_REQUEST
    LATE_REQUEST = "late request"  # seems lost, and reaches the authority after the next attempts did
    LOST_RESPONSE = FaultKind.LOST_RESPONSE
    ERROR_BEFORE = FaultKind.ERROR_BEFORE
    ERROR_AFTER = FaultKind.ERROR_AFTER
    THROTTLED = FaultKind.THROTTLED
    THROTTLED_SILENT = FaultKind.THROTTLED_SILENT
    UNAUTHORIZED = "401"
    UNINTELLIGIBLE = "4xx that says nothing"  # a proxy's, or a code of tomorrow: nobody has refused anything
    OUTAGE = "401 for want of a database"
    MALFORMED = FaultKind.MALFORMED
    OTHER_SUCCESS = "other 2xx"
    UNKNOWN_VALUE = "unknown status or decision"
    CONTRADICTORY = "2xx that contradicts its request"  # another amount or unit, an id that can't be sent back
    # of sections
    KEYBOARD_INTERRUPT = "KeyboardInterrupt"
    CANCELLED = "CancelledError"
    GENERATOR_EXIT = "GeneratorExit"
    # of the process
    CRASH = "crash"
    # of the world
    TIME_JUMP = "time jump"
    CLOCK_SET = "clock set"  # the time of day jumps; what counts seconds does not
    TORN_FILE = "torn file"
    HOLD_EXPIRED = "hold expired"
    FUNDED = "operator funds"
    FROZEN = "operator freezes"


REQUEST_FAULTS: Final = tuple(Fault)[:15]
INTERRUPTS: Final[dict[Fault, type[BaseException]]] = {
    Fault.KEYBOARD_INTERRUPT: KeyboardInterrupt,
    Fault.CANCELLED: CancelledError,
    Fault.GENERATOR_EXIT: GeneratorExit,
}

_WEATHERS: Final = (0.0, 0.05, 0.2, 0.2, 0.4, 0.7, 0.95)
"""Shares of requests that go wrong; each schedule draws one."""


class Interrupt:
    """An exception thrown into a section at its *at*-th effect, before or *after* the driver performs it."""

    __slots__ = ("after", "at", "fault")

    def __init__(self, fault: Fault, at: int, *, after: bool) -> None:
        self.fault: Final = fault
        self.at: Final = at
        self.after: Final = after


class FaultPlan:
    """When what goes wrong in one schedule.

    Args:
        random: The schedule's source of all choices.
    """

    __slots__ = ("_clears_after", "_favourite", "_random", "_share", "calm")

    def __init__(self, random: Random) -> None:
        self._random: Final = random
        self._share: Final = random.choice(_WEATHERS)
        # One kind of trouble that lasts makes attempts run out; all kinds by turns rarely do.
        self._favourite: Final = random.choice(REQUEST_FAULTS) if random.random() < 0.3 else None
        self._clears_after = random.choice((3, 8, 20, 1000))
        self.calm = False

    def of_request(self) -> Fault | None:
        """Return what goes wrong with the next request, or None."""
        if self.calm or self._share == 0.0:
            return None
        self._clears_after -= 1
        if self._clears_after < 0 or self._random.random() >= self._share:
            return None
        return self._favourite or self._random.choice(REQUEST_FAULTS)

    def of_world(self) -> Fault | None:
        """Return what happens between two effects, or None."""
        if self.calm:
            return None
        draw = self._random.random()
        if draw < 0.03:
            return Fault.TIME_JUMP
        if draw < 0.045:
            return Fault.FUNDED
        if draw < 0.06:
            return Fault.FROZEN
        if draw < 0.07:
            return Fault.CLOCK_SET
        return Fault.TORN_FILE if draw < 0.073 else None

    def crash(self) -> int | None:
        """Return the number of effects after which the process is killed, or None."""
        return self._random.randrange(60) if self._random.random() < 0.4 else None

    def interrupts(self) -> list[Interrupt]:
        """Return the interrupts of one program, none most of the time; a second one hits what the first one left."""
        count = self._random.choice((0, 0, 0, 1, 1, 2))
        return [
            Interrupt(
                self._random.choice(tuple(INTERRUPTS)), self._random.randrange(24), after=self._random.random() < 0.5
            )
            for _ in range(count)
        ]
