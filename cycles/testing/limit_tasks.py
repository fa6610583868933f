"""The threads of control of a schedule with limits, and when each is interrupted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cycles._core.effects import Notify, Now, Record, Sleep
from cycles._core.renewal import beat

if TYPE_CHECKING:
    from cycles._core.effects import Effect, Flow
    from cycles._core.jobs import Charge, GiveBack
    from cycles._core.renewal import Heart
    from cycles.testing.limit_model import SimulatedLimit, Spender


class Task:
    """A thread of control: what it runs, the answer to its last effect, and when it is interrupted.

    Attributes:
        admitted: The section that was admitted last, and its limit.
        effect: The last effect.
        interrupt_in: After how many effects an exception is thrown into it, or None.
        is_after: Whether that one is performed before.
        is_interrupted: Whether it is thrown next.
    """

    def __init__(self, name: str, flow: Flow[Any], ready_at: float) -> None:
        self.name: Final = name
        self.flow: Final = flow
        self.ready_at = ready_at
        self.answer: Any = None
        self.admitted: tuple[SimulatedLimit, Spender] | None = None
        self.effect: Effect[Any] | None = None
        self.interrupt_in: int | None = None
        self.is_after = False
        self.is_interrupted = False

    def next(self) -> Effect[Any]:
        """Return the next effect: of what the answer to the last one leads to, or the interrupt."""
        if self.is_interrupted:
            self.is_interrupted = False
            self.effect = self.flow.throw(KeyboardInterrupt())
        else:
            self.effect = self.flow.send(self.answer)
        if self.interrupt_in is not None:
            self.interrupt_in -= 1
            self.is_interrupted = self.interrupt_in < 0
            if self.is_interrupted:
                self.interrupt_in = None
        return self.effect

    @property
    def is_cut(self) -> bool:
        """Whether the last effect is not performed. A record always is: drivers see to that."""
        return self.is_interrupted and not self.is_after and not isinstance(self.effect, Record)

    def abandons(self) -> None:
        """Note for the model that a section, interrupted as its admission was told, is nobody's."""
        told = isinstance(self.effect, Notify) and self.effect.event == "reserved" and "limit" in self.effect.facts
        if told and self.admitted is not None:
            limit, spender = self.admitted
            limit.settled(spender, 0)


def until_done(job: Charge | GiveBack) -> Flow[None]:
    delay: float | None = 1.0
    while delay is not None:
        yield from Sleep(delay)
        delay = yield from job.attempt()


def renewed(heart: Heart) -> Flow[None]:
    delay: float | None = max(0.0, heart.due - (yield from Now()))
    while delay is not None:
        yield from Sleep(delay)
        delay = yield from beat(heart)
