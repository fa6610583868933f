"""Arguments of a reserve after every check, and the memory of them: most guards ask for the same again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cycles.amounts import check
from cycles_api.models.amount import Amount

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cycles._core.requests import Terms
    from cycles._core.retry import RetryPolicy

    Same = tuple[object, ...]
    """What tells arguments from others."""

_MOST: Final = 256
"""Arguments that are remembered; a program has a few guards, each with some subjects."""

_CHANGE: Final = ("metadata", "dimensions", "policy_keys", "idempotency_key")
"""Options that are new for each reserve, or may be changed after it."""


class Checked(NamedTuple):
    """The arguments of a reserve, after every check.

    Attributes:
        terms: What to ask for.
        policy: For the requests.
        key: The idempotency key, or None for a fresh one.
        wait: Seconds to keep asking while denied or throttled.
        raise_on_unsettled: Whether the end of the section raises when it stays unsettled.
        own: Whether it is reserved at the authority even inside a limit.
    """

    terms: Terms
    policy: RetryPolicy
    key: str | None
    wait: float
    raise_on_unsettled: bool
    own: bool

    def estimating(self, estimate: Amount) -> Checked:
        """Return the same arguments with another *estimate* in the same unit.

        Raises:
            InvalidRequest: It is none.
        """
        if estimate.amount == self.terms.estimate.amount:
            return self
        checked = check("estimate", estimate)
        # A copy: the caller's own one may be changed.
        return self._replace(terms=self.terms.of(Amount(unit=checked.unit, amount=checked.amount)))


def signature(options: Mapping[str, Any]) -> Same | None:
    """Return what tells *options* from all others; None where they can't be told apart, or can change.

    True, 1 and 1.0 are equal, and not the same.
    """
    if type(options.get("action")) is not tuple or type(options.get("tags", ())) not in {tuple, type(None)}:
        return None
    for name in _CHANGE:
        if options.get(name) is not None:
            return None
    values = tuple(options.values())
    same = *options, *values, *map(type, values)
    try:
        hash(same)
    except TypeError:  # something that the checks refuse
        return None
    return same


class Memory:
    """What came of the arguments that one client has checked; a bounded number of them."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: Final[dict[Same, Checked]] = {}

    def find(self, same: Same) -> Checked | None:
        """Return what came of the *same* arguments, or None."""
        return self._known.get(same)

    def keep(self, same: Same, checked: Checked) -> None:
        """Remember what came of arguments."""
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[same] = checked
