"""What a run may cost at most, as numbers: admission, and what is spent and held.

    spent + held + estimate <= amount         admits a section (exact, whatever else runs at the same time)
    held                                      each open section counts its estimate, or what it reported if that is more
    spent + held + estimate <= granted        else the limit lacks budget: with `hold=`, one more piece is asked for

An `Account` knows no section, clock or lock of its own: its lock is handed in, the reservations that it draws on are in
`holds`, and the flows in `shares` (a section inside) and `limit_flows` (the limit itself). An account ends once. A
share that is open then is on its own: its section is charged at the authority by itself.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cycles._core.breakdown import shown
from cycles._core.holds import Hold, assign
from cycles.amounts import describe
from cycles.errors import BudgetExceeded
from cycles_api.models.amount import Amount

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from cycles._core.grant import Grant
    from cycles._core.holds import Leased
    from cycles_api.models.action import Action

_MOST_TALLIED: Final = 1000
"""Actions that are told apart while the limit runs; bounds its memory."""

_NEAR: Final = 80
"""Per cent of the amount that is told before the limit is reached."""


class Lack(Enum):
    """Why a section is not admitted."""

    ENDED = "the limit has ended"
    LIMIT = "it would go over the limit"
    ASKED = "a piece that would do is being asked for"


class Piece(NamedTuple):
    """What must be asked of the authority before a section can be admitted.

    Attributes:
        amount: What to ask for.
        least: What would do for this section.
    """

    amount: int
    least: int


class Share:
    """What one section has of a limit.

    Attributes:
        account: The limit's.
        estimate: What it was admitted with.
        reported: What it said that it has spent so far.
        is_open: Whether it counts as held: not after its settlement, nor after the end of the limit.
        section: The section; None once the share is settled.
    """

    __slots__ = ("account", "estimate", "is_open", "reported", "section")

    def __init__(self, account: Account, estimate: int) -> None:
        self.account: Final = account
        self.estimate: Final = estimate
        self.reported = 0
        self.is_open = True
        self.section: Any = None

    @property
    def held(self) -> int:
        """What it counts."""
        return max(self.reported, self.estimate)


class Account:
    """The numbers of one limit; safe to share between threads and tasks.

    Args:
        amount: What may be spent.
        lock: Held while the numbers change; of a kind that its holder may take again (a signal handler may guard too).
        name: Names the limit in messages and as the scope of a refusal.
        owner: What `error.limit` is.
        piece: How much to ask the authority for at a time; None when the whole is held from the start.
        is_recorded: Whether what its sections spend is put on record as it grows, with the holds.

    Attributes:
        amount, unit: As given.
        holds: What it draws on, in the order of asking.
        grant: What the authority answered to the first hold; None before that.
        numbers: (spent, held, sections admitted), replaced as a whole.
        is_closed: Whether the limit has ended.
        is_recording: Whether somebody has the turn to put the spend on record.
        is_parting: Whether the limit has ended, and its records still have what its open sections have reported.
        news: How many levels were passed that the program was not told of yet.
    """

    __slots__ = (
        "_asked",
        "_asks_ahead",
        "_dropped",
        "_lock",
        "_open",
        "_reported",
        "_tally",
        "_told",
        "_unkept",
        "amount",
        "grant",
        "granted",
        "holds",
        "is_closed",
        "is_parting",
        "is_recorded",
        "is_recording",
        "name",
        "news",
        "numbers",
        "owner",
        "piece",
        "unit",
    )

    def __init__(
        self,
        amount: Amount,
        *,
        lock: AbstractContextManager[Any],
        name: str,
        owner: Any = None,
        piece: int | None = None,
        is_recorded: bool = True,
    ) -> None:
        self.amount: Final = amount.amount
        self.unit: Final = amount.unit
        self.name: Final = name
        self.owner: Final = owner
        self.piece: Final = piece
        self.is_recorded: Final = is_recorded
        self.holds: Final[list[Hold]] = []
        self.grant: Grant | None = None
        self.granted = 0
        self.numbers = (0, 0, 0)
        self.is_closed = False
        self._lock = lock
        self._open: Final[dict[Share, None]] = {}
        self._dropped: Final[deque[tuple[Share, Action]]] = deque()
        self._tally: Final[dict[tuple[str, str], list[int]]] = {}
        self._asked = 0
        self._asks_ahead = True
        self._reported = 0  # by open sections
        self.is_recording = self.is_parting = False
        self._unkept: Final[list[Hold]] = []
        self._told = self.news = 0

    def forked(self, lock: AbstractContextManager[Any]) -> None:
        """Change the numbers of this copy under another *lock*: a thread of the parent may have held the one it had."""
        self._lock = lock

    # -- admission -----------------------------------------------------------------------------------------------------
    def admit(self, estimate: int) -> Share | Piece | Lack:
        """Hold *estimate* for a section; or say what it lacks. A `Piece` counts as asked for from now on."""
        with self._lock:
            if self._dropped:
                self._settle_dropped()
            if self.is_closed:
                return Lack.ENDED
            spent, held, sections = self.numbers
            wanted = spent + held + estimate
            if wanted > self.amount:
                self._tell(2)
                return Lack.LIMIT
            if wanted <= self.granted and self.holds:
                share = Share(self, estimate)
                self._open[share] = None
                self.numbers = (spent, held + estimate, sections + 1)
                return share
            if self._asked and wanted <= self.granted + self._asked:
                return Lack.ASKED
            return self._ask(wanted)

    def would_admit(self, estimate: int) -> bool:
        """Return whether a section of *estimate* would be within the limit now."""
        spent, held, _ = self.numbers
        return spent + held + estimate <= self.amount

    def ahead(self) -> Piece | None:
        """Return the next piece, counted as asked for, when less than half a one is left; else None."""
        if self.piece is None or not self._asks_ahead:
            return None
        with self._lock:
            spent, held, _ = self.numbers
            free = self.granted + self._asked - spent - held
            if self.is_closed or self.granted + self._asked >= self.amount or free * 2 >= self.piece:
                return None
            return self._ask(spent + held)

    def _ask(self, wanted: int) -> Piece:
        rest = self.amount - self.granted - self._asked
        least = max(0, wanted - self.granted - self._asked)
        amount = min(rest, max(least, self.piece or rest))
        self._asked += amount
        return Piece(amount, least)

    def smaller(self, piece: Piece) -> Piece | None:
        """Return the least that would do in place of a *piece* that was denied; None when that was it."""
        if piece.least >= piece.amount or piece.least == 0:
            return None
        with self._lock:
            self._asked -= piece.amount - piece.least
        return Piece(piece.least, piece.least)

    def ahead_denied(self) -> None:
        """Ask for nothing ahead of need until something is granted again."""
        self._asks_ahead = False

    def unasked(self, piece: Piece) -> None:
        """Note that a *piece* is not asked for any more, granted or not."""
        with self._lock:
            self._asked -= piece.amount

    def grants(self, section: Leased, size: int, grant: Grant) -> bool:
        """Draw on one more hold; return False when the limit has ended meanwhile."""
        with self._lock:
            if self.is_closed:
                return False
            hold = Hold(section, size)
            section.details = partial(self.details_of, hold)
            self.holds.append(hold)
            self._unkept.append(hold)
            self.granted += size
            self._asks_ahead = True
            if self.grant is None:
                self.grant = grant
            return True

    def unkept(self) -> list[Hold]:
        """Return the holds whose leases nobody keeps yet; from now on the caller does."""
        if not self._unkept:
            return []
        with self._lock:
            found = self._unkept[:]
            self._unkept.clear()
        return found

    @property
    def is_lost(self) -> bool:
        """Whether the lease of a hold was lost."""
        for hold in self.holds:  # noqa: SIM110 - asked often, and of one hold as a rule: a generator costs more
            if hold.section.is_lost:
                return True
        return False

    @property
    def wants_upkeep(self) -> bool:
        """Whether the client has something to do for it: leases to keep, a piece to ask for, or news to tell."""
        return bool(self._unkept) or self.piece is not None or self.news > 0

    def waiting_may_help(self) -> bool:
        """Return whether sections are open, whose end may make room."""
        return bool(self._open) or bool(self._dropped)

    # -- sections ------------------------------------------------------------------------------------------------------
    def report(self, share: Share, amount: int) -> bool:
        """Note what an open section has spent so far; return False when its share is not open."""
        with self._lock:
            if not share.is_open:
                return False
            before = share.held
            self._reported += amount - share.reported
            share.reported = amount
            spent, held, sections = self.numbers
            self.numbers = (spent, held + share.held - before, sections)
            return True

    def settle(self, share: Share, action: Action, amount: int | None) -> bool:
        """End *share*, with *amount* spent on *action*, or nothing (None); return False when it was not open."""
        with self._lock:
            if not share.is_open:
                return False
            share.is_open = False
            share.section = None
            self._open.pop(share, None)
            spent, held, sections = self.numbers
            spent += amount or 0
            reported, estimate = share.reported, share.estimate
            self.numbers = (spent, held - (max(estimate, reported)), sections)
            self._reported -= reported
            if amount is not None:
                key = (action.kind, action.name)
                counted = self._tally.get(key) or self._first_of(key)
                counted[0] += 1
                counted[1] += amount
                if spent * 100 >= self.amount * _NEAR:
                    self._tell(2 if spent >= self.amount else 1)
            return True

    def drop(self, share: Share, action: Action) -> None:
        """Leave *share* to whoever comes next: the collector may have come in while the lock is held."""
        self._dropped.append((share, action))

    def _settle_dropped(self) -> None:
        while self._dropped:
            share, action = self._dropped.popleft()
            self.settle(share, action, share.reported or None)

    def _first_of(self, action: tuple[str, str]) -> list[int]:
        return self._tally.setdefault(action if len(self._tally) < _MOST_TALLIED else ("", ""), [0, 0])

    # -- what is on record ---------------------------------------------------------------------------------------------
    def begins_recording(self) -> bool:
        """Take the turn to put the spend on record; return False when somebody has it: they record all there is."""
        with self._lock:
            if self.is_recording:
                return False
            self.is_recording = True
            return True

    def unrecorded(self) -> list[tuple[Hold, int]]:
        """Return the holds whose spend on record is out of date, with the new one; when there is none the turn ends."""
        with self._lock:
            if self.is_closed:
                self.is_recording = False
                return []
            assign(self.holds, self.numbers[0] + self._reported)
            due = [(hold, hold.assigned) for hold in self.holds if hold.assigned != hold.recorded]
            self.is_recording = bool(due)
            return due

    def ends_recording(self) -> None:
        """Give up the turn, however it went."""
        self.is_recording = False

    # -- the end -------------------------------------------------------------------------------------------------------
    def ends(self) -> list[Share] | None:
        """End the limit; return the shares of sections that outlive it, or None when it has ended before."""
        with self._lock:
            if self.is_closed:
                return None
            self._settle_dropped()
            self.is_closed = True
            self.is_parting = self._reported > 0
            left = list(self._open)
            self._open.clear()
            for share in left:
                share.is_open = False
            spent, _, sections = self.numbers
            self.numbers = (spent, 0, sections)
            self._reported = 0
            assign(self.holds, spent)
            return left

    def parted(self) -> None:
        """Note that no record of the limit has anything of a section that outlives it."""
        self.is_parting = False

    @property
    def has_settled(self) -> bool:
        """Whether a section inside was charged, be it nothing."""
        return bool(self._tally)

    def details_of(self, hold: Hold, first: Hold | None = None) -> dict[str, Any]:
        """Return what the metadata of a charge to *hold* says: that to the *first* one has the breakdown."""
        first = first or self.holds[0]
        if hold is first:
            return {"limit": self.breakdown()}
        return {"limit": {"piece": self.holds.index(hold) + 1, "first": first.section.reservation_id}}

    def breakdown(self) -> dict[str, Any]:
        """Return what was spent, by action, in a bounded size: for the metadata of a charge.

        What open sections have reported is in it: a killed run is charged that, too.
        """
        with self._lock:
            tally = {key: (count, amount) for key, (count, amount) in self._tally.items()}
            for share in self._open if self._reported else ():
                if share.reported:
                    action = share.section.terms.action
                    key = (action.kind, action.name)
                    if key not in tally and len(tally) >= _MOST_TALLIED:
                        key = ("", "")
                    count, amount = tally.get(key, (0, 0))
                    tally[key] = (count + 1, amount + share.reported)
            return shown(tally, self.numbers[2])

    # -- what the program is told --------------------------------------------------------------------------------------
    def _tell(self, level: int) -> None:
        """Note that the limit is near (1) or reached (2). Each is news once, and near is no news after reached."""
        if level > self._told:
            self._told = level
            self.news += 1

    @property
    def is_reached(self) -> bool:
        """Whether a section was refused for it, or all of it is spent."""
        return self._told == 2

    def take_news(self) -> bool:
        """Return whether the limit has passed a level since the last call: the program hears of each once."""
        if not self.news:
            return False
        with self._lock:
            news, self.news = self.news, 0
        return news > 0

    def refusal(self, estimate: int) -> BudgetExceeded:
        """Return the error of a section that would go over the limit."""
        spent, held, _ = self.numbers
        shown = [describe(Amount(unit=self.unit, amount=part)) for part in (estimate, self.amount, spent, held)]
        return BudgetExceeded(
            f"{self.name}: an estimate of {shown[0]} would go over the limit of {shown[1]} ({shown[2]} spent, "
            f"{shown[3]} held by open sections); the authority was not asked",
            code="BUDGET_EXCEEDED",
            scope=self.name,
            affected_scopes=(self.name,),
            limit=self.owner,
        )
