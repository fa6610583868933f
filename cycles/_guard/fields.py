"""The fields of a `Guard` or a `Limit`: what one reserve asks for, with callables of a call's own arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cycles._client.checked import MOST, signature
from cycles._core.requests import action_of, switch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cycles._client.checked import Same


class Asked(NamedTuple):
    """What one call asks for.

    Attributes:
        amount: The estimate, or what the run may cost.
        options: The other arguments; not to be changed.
        same: Tells the options from all others; None where that can't be.
    """

    amount: Any
    options: Mapping[str, Any]
    same: Same | None


class Fields:
    """Values, and callables that make them for each call.

    Args:
        amount: The estimate, or what the run may cost.
        options: The other fields, by name.

    Raises:
        InvalidRequest: an action that is the same for all calls is none, or a switch is neither on nor off. Other
            values are checked when they are used.

    Attributes:
        amount, options: As given.
        makes_amount: Whether each call has an amount of its own.
    """

    __slots__ = ("_constant", "_per_call", "amount", "makes_amount", "options")

    def __init__(self, amount: Any, options: dict[str, Any]) -> None:
        self.amount: Final = amount
        self.options: Final = options
        self._per_call: Final = tuple([name for name, value in options.items() if callable(value)])
        self.makes_amount: Final = callable(amount)
        is_constant = not self._per_call and not self.makes_amount
        same = signature(options) if is_constant else None
        if same is None or same not in _passed:
            _check(options)
            if same is not None:
                _remember(same)
        self._constant: Final = Asked(amount, options, same) if is_constant else None

    def of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Asked:
        """Return what a call with these arguments asks for."""
        if self._constant is not None:
            return self._constant
        amount = self.amount(*args, **kwargs) if self.makes_amount else self.amount
        options = {**self.options, **{name: self.options[name](*args, **kwargs) for name in self._per_call}}
        return Asked(amount, options, signature(options))


_passed: Final[set[Same]] = set()
"""Options that are the same for all calls and passed the check: a with-block makes its guard anew each time."""


def _check(options: Mapping[str, Any]) -> None:
    if not callable(options["action"]):
        action_of(options["action"], None)
    switch("raise_on_unsettled", options["raise_on_unsettled"])
    for name in ("own", "dry_run", "observe"):
        if name in options and not callable(options[name]):
            switch(name, options[name])


def _remember(same: Same) -> None:
    if len(_passed) >= MOST:
        _passed.clear()
    _passed.add(same)
