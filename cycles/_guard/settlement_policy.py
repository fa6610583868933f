"""The part of a `Guard` that says how its sections are settled: `actual=`, `unreported=` and `on_error=`."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Protocol

from cycles._core import section_flows
from cycles._core.requests import checked_actual
from cycles._guard.shapes import shape_of
from cycles._outside.arrivals import arrived
from cycles.amounts import check, usd
from cycles.errors import InvalidRequest
from cycles_api.models.amount import Amount

if TYPE_CHECKING:
    from collections.abc import Callable

    from cycles._core.effects import Flow
    from cycles._core.results import Settlement
    from cycles._core.section import Section
    from cycles._core.section_flows import OnError, Unreported

    Ending = tuple[Flow[Settlement | None], BaseException | None]
    """What the end of a section does, and the interrupt that goes on after it, if any."""


class Policy(Protocol):
    """What says how sections are settled: a guard's `SettlementPolicy`, or a metered request."""

    def end(self, section: Section, result: Any) -> Ending:
        """Return how a section ends that ended well with *result*."""
        ...

    def end_raised(self, section: Section, raised: BaseException) -> Ending:
        """Return how a section ends that *raised*."""
        ...


class SettlementPolicy:
    """How a guard's sections are settled.

    Args:
        actual: Takes a section's result and gives what it really cost, or None; or is what each section costs.
        unreported: What happens when a section ended well and no actual is known.
        on_error: What happens when it raised and nothing was reported; or takes what it raised and gives what it had
            cost until then, or None for nothing.

    Raises:
        InvalidRequest: naming the field, the value and what is allowed.

    Attributes:
        measures: The callable of `actual=`, which is given the section's result; None without one.
    """

    __slots__ = ("_constant", "_on_error", "_on_raised", "_unreported", "measures")

    def __init__(
        self,
        actual: Amount | Decimal | Callable[[Any], Amount | Decimal | None] | None,
        unreported: Unreported,
        on_error: OnError | Callable[[BaseException], Amount | Decimal | None],
    ) -> None:
        if unreported not in ("estimate", "release", "error"):
            raise InvalidRequest(f'unreported={unreported!r}: choose "estimate", "release" or "error"')
        if not callable(on_error) and on_error not in ("release", "estimate"):
            raise InvalidRequest(
                f'on_error={on_error!r}: choose "release" or "estimate", or give a callable of the exception'
            )
        if actual is not None and not callable(actual) and not isinstance(actual, Amount | Decimal):
            raise InvalidRequest(
                f"actual={actual!r}: give a callable of the result, or an amount that is the same for each section; "
                "in a with-block call commit() or report()"
            )
        for field, value in (("actual", actual), ("on_error", on_error)):
            if callable(value) and shape_of(value) != "function":
                raise InvalidRequest(f"{field}={value!r}: give a function that is not async; its result is an amount")
        self.measures: Final = actual if callable(actual) else None
        self._constant: Final = None if actual is None or callable(actual) else _amount("actual", actual)
        self._unreported: Final[Unreported] = unreported
        # A callable that gives nothing says that nothing was spent.
        self._on_error: Final[OnError] = "release" if callable(on_error) else on_error
        self._on_raised: Final = on_error if callable(on_error) else None

    def check_unit(self, estimate: object) -> None:
        """Raise InvalidRequest when the constant of `actual=` can't be committed against *estimate*."""
        if self._constant is not None and isinstance(estimate, Amount):
            checked_actual(self._constant, estimate)

    def end(self, section: Section, result: Any) -> Ending:
        """Return how a section ends that ended well with *result*."""
        # What the section itself reported knows more than an amount that is the same for all.
        actual, failed = (self._constant if section.reported is None else None), None
        if self.measures is not None:
            actual, failed = _measured(section, "actual", self.measures, result)
        flow = section_flows.end(section, actual=actual, actual_failed=failed, unreported=self._unreported)
        return flow, None if failed is None else _interrupt(failed)

    def end_raised(self, section: Section, raised: BaseException) -> Ending:
        """Return how a section ends that *raised*; what it has reported, it has spent, and `on_error` is not asked."""
        actual = failed = None
        if self._on_raised is not None and section.reported is None:
            actual, failed = _measured(section, "on_error", self._on_raised, raised)
        flow = section_flows.end(section, raised=raised, actual=actual, actual_failed=failed, on_error=self._on_error)
        return flow, None if failed is None or failed is raised else _interrupt(failed)


def _measured(
    section: Section, field: str, measure: Callable[[Any], object], seen: Any
) -> tuple[Amount | None, BaseException | None]:
    """Return what *measure* makes of *seen*, or why it made nothing that can be committed, a Ctrl-C included."""
    try:
        amount = measure(seen)
        if isinstance(amount, Decimal):
            amount = _amount(field, amount)
        return (None if amount is None else checked_actual(amount, section.terms.estimate, field)), None
    except BaseException as error:  # noqa: BLE001 - the work was done: whatever fails here must not hide it
        return None, error


def _amount(field: str, amount: object) -> Amount:
    """Return *amount*; a Decimal is of dollars, and charges the microcent that it has begun."""
    return usd(amount, round="up") if isinstance(amount, Decimal) else check(field, amount)


def _interrupt(failed: BaseException) -> BaseException | None:
    is_own = isinstance(failed, Exception) and arrived(failed) is None
    return None if is_own else failed
