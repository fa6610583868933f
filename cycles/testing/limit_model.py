"""What the sections of a limit have spent, as the simulator's own numbers: they ask the account nothing."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Final, Protocol

from cycles._core import limit_flows, section_flows
from cycles._core.limits import Account, Share
from cycles._core.requests import terms
from cycles._core.retry import RetryPolicy
from cycles.amounts import tokens

if TYPE_CHECKING:
    from random import Random

    from cycles._core.effects import Flow
    from cycles._core.limits import Lack, Piece
    from cycles._core.section import Section
    from cycles_api.models.action import Action

LEVELS: Final = {"tenant": "acme"}


class Running(Protocol):
    """What runs, as a limit knows it."""

    admitted: tuple[SimulatedLimit, Spender] | None
    """The section that was admitted last, and its limit."""


class Schedule(Protocol):
    """The schedule, as a limit knows it."""

    @property
    def scale(self) -> int:
        """By how much its limits are larger than those of plain sections."""
        ...

    @property
    def running(self) -> Running:
        """What runs now."""
        ...

    @property
    def random(self) -> Random:
        """The source of all choices."""
        ...

    def check(self, holds: bool, invariant: str, detail: object) -> None:  # noqa: FBT001 - as `must`
        """Keep a violation until the program has yielded."""
        ...


class Spender:
    """A section as the model knows it.

    Attributes:
        held: What it counts in its limit while it is open: its estimate, or what it reported if that is more.
        least, most: What the authority takes for it at least and at most, should the process be killed now.
        now: The same for what it has begun to report, or to settle, last.
    """

    def __init__(self, estimate: int) -> None:
        self.estimate: Final = estimate
        self.held = estimate
        self.least = self.most = 0
        self.now = (0, 0)

    def moves_to(self, least: int, most: int | None = None) -> None:
        """Begin to report, or to settle, *least* to *most*: a kill may come before or after that is on record."""
        self.now = (least, least if most is None else most)
        self._spans(self.now, (self.least, self.most))

    def is_on_record(self, amounts: tuple[int, int]) -> None:
        """An amount between these is on record; what was begun after it may be, or not."""
        self._spans(amounts, self.now)

    def _spans(self, one: tuple[int, int], other: tuple[int, int]) -> None:
        self.least, self.most = min(one[0], other[0]), max(one[1], other[1])


class WatchedAccount(Account):
    """An account whose admissions are checked by the model's own numbers, the moment they are made."""

    __slots__ = ("limit", "spenders")
    limit: SimulatedLimit
    spenders: dict[Share, Spender]

    def admit(self, estimate: int) -> Share | Piece | Lack:
        found = super().admit(estimate)
        if isinstance(found, Share):
            self.spenders[found] = spender = Spender(estimate)
            self.limit.admitted(spender, self.numbers[1])
        return found

    def settle(self, share: Share, action: Action, amount: int | None) -> bool:
        if amount is None:  # also a piece that came when the limit that asked for it had ended
            self.limit.settled(self.spenders[share], 0)
        return super().settle(share, action, amount)


class SimulatedLimit:
    """A limit of a schedule: its account, and the model's own numbers."""

    def __init__(self, simulation: Schedule, name: str, outer: SimulatedLimit | None) -> None:
        choice = simulation.random.choice
        amount = simulation.scale * (choice((6, 15, 40, 60)) if outer is None else choice((5, 12)))
        self.account: Final = WatchedAccount(
            tokens(amount), lock=nullcontext(), name=name, piece=choice((None, None, 2, 5, 20))
        )
        self.account.limit, self.account.spenders = self, {}
        self.terms: Final = terms(
            tokens(amount), action=("agent.run", name), levels=LEVELS, ttl=choice((1.0, 5.0, 60.0)), grace_period=2.0
        )
        self.policy: Final = RetryPolicy(max_attempts=choice((1, 2, 4)))
        self.outer: Final = outer
        self.open: Final[set[Spender]] = set()
        self.spent = 0
        self.has_inner = False
        if outer is not None:
            outer.has_inner = True
        self._simulation: Final = simulation

    def reserve(self, amount: Any) -> Flow[Section]:
        """Return the flow that reserves *amount* for it."""
        wanted = self.terms.of(amount)
        if self.outer is None:
            return section_flows.begin(wanted, self.policy)
        outer = self.outer
        return limit_flows.admit(outer.account, wanted, self.policy, outer.reserve, lambda: self._alone(wanted))

    def _alone(self, wanted: Any) -> Flow[Section]:
        return section_flows.begin(wanted, self.policy)

    def admitted(self, spender: Spender, held: int) -> None:
        """Check an admission, after which the account counts *held*, by the model's own numbers."""
        self.open.add(spender)
        self._simulation.running.admitted = (self, spender)
        if not self.has_inner:  # what is spent beyond one inside is held here, too
            most = sum(max(other.estimate, other.most) for other in self.open)
            self._simulation.check(held <= most, "a limit holds what its open sections do", f"{held}, not {most}")
        used = self.spent + sum(other.held for other in self.open)
        self._simulation.check(
            used <= self.account.amount, "admission never exceeds the limit", f"{used} of {self.account.amount}"
        )

    @property
    def is_recording(self) -> bool:
        """Whether somebody is in the middle of putting on record what was spent inside."""
        return self.account.is_recording or self.account.is_parting

    def settled(self, spender: Spender, amount: int) -> None:
        """Note the end of a section that counted here."""
        if spender in self.open:
            self.open.discard(spender)
            self.spent += amount
