"""What happened in a schedule, one line for each effect; formatted only when somebody reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cycles._core.effects import Call, Effect, Forget, Notify, Record, Sleep

if TYPE_CHECKING:
    from cycles.testing.faults import Fault


class Line(NamedTuple):
    """An effect: when, of whom, what, what went wrong, what came of it."""

    now: float
    who: str
    intent: str
    what: Effect[Any] | str
    fault: Fault | None
    outcome: object

    def __str__(self) -> str:
        fault = "" if self.fault is None else f"[{self.fault}] "
        return f"{self.now:10.3f}  {self.who:<8} {self.intent:<9} {_shown(self.what):<44} {fault}{_short(self.outcome)}"


class Trace:
    """The lines of one schedule, oldest first."""

    __slots__ = ("lines",)

    def __init__(self) -> None:
        self.lines: Final[list[Line]] = []

    def add(
        self, now: float, who: str, intent: str, what: Effect[Any] | str, *, fault: Fault | None, outcome: object
    ) -> None:
        """Append a line; what goes over the wire is immutable, so it can be formatted later."""
        self.lines.append(Line(now, who, intent, what, fault, outcome))

    def text(self, last: int | None = None) -> str:
        """Return the *last* lines, or all."""
        return "\n".join(str(line) for line in (self.lines if last is None else self.lines[-last:]))


def _shown(what: Effect[Any] | str) -> str:
    match what:
        case str():
            return what
        case Call():
            body = what.arguments.get("body")
            key = what.arguments.get("idempotency_key") if body is None else body.idempotency_key
            amount = getattr(body, "actual", None) or getattr(body, "estimate", None)
            return f"{what.operation.name} {key}" + ("" if amount is None else f" {amount.amount}")
        case Sleep():
            return f"Sleep {what.seconds:.3f}"
        case Record() | Forget():
            return f"{type(what).__name__} {what.pending.key}{' by event' if what.pending.by_event else ''}"
        case Notify():
            return f"Notify {what.event}"
        case _:
            return type(what).__name__


def _short(outcome: object) -> str:
    text = "" if outcome is None else str(outcome)
    return text if len(text) <= 120 else f"{text[:117]}..."
