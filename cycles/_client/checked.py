"""Arguments of a reserve after every check, and the memory of them: most guards ask for the same again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cycles.amounts import check
from cycles_api.models.amount import Amount

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cycles._core.requests import Terms
    from cycles._core.retry import RetryPolicy

    Same = object
    """What tells arguments from others: equal ones have the same one, as long as that is remembered."""

    _Known = tuple[object, ...]
    """Arguments, and who spends."""

MOST: Final = 256
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
        lease_policy: What the loss of its lease does (`Config.heartbeat`).
        own: Whether it is reserved at the authority even inside a limit.
    """

    terms: Terms
    policy: RetryPolicy
    key: str | None
    wait: float
    raise_on_unsettled: bool
    lease_policy: str
    own: bool

    def estimating(self, estimate: Amount) -> Checked:
        """Return the same arguments with another *estimate* in the same unit.

        Raises:
            InvalidRequest: It is no amount.
        """
        if estimate.amount == self.terms.estimate.amount:
            return self
        checked = check("estimate", estimate)
        # A copy: the caller's own one may be changed.
        return self._replace(terms=self.terms.of(Amount(unit=checked.unit, amount=checked.amount)))


_signatures: Final[dict[tuple[object, ...], Same]] = {}
"""By what they stand for: a guard's options are long, and looked up in each of its calls."""


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
    given = *options, *values, *map(type, values)
    if len(_signatures) >= MOST:
        _signatures.clear()
    try:
        return _signatures.setdefault(given, object())
    except TypeError:  # something that the checks refuse
        return None


class Memory:
    """What came of the arguments that one client has checked; a bounded number of them."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: Final[dict[_Known, Checked]] = {}

    def find(self, known: _Known) -> Checked | None:
        """Return what came of the same arguments, or None."""
        return self._known.get(known)

    def keep(self, known: _Known, checked: Checked) -> None:
        """Remember what came of arguments."""
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[known] = checked
