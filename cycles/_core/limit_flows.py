"""The flows of a limit: how it begins, how it admits a section, how it asks for its next piece, and what its end does.

    hold=None       the whole is reserved at the beginning; a denial denies the run
    hold=AMOUNT     pieces, as needed and ahead of need; a denied piece denies the section that needs it, not the run
    the end         what was spent is committed, with a breakdown by action; a reservation without spend is released

Inside another limit, what a limit reserves is a section of that one: nothing here knows the difference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cycles._core import section_flows, shares
from cycles._core.effects import Jitter, Notify, Now, Record, Sleep
from cycles._core.grant import Grant
from cycles._core.lifecycle import State
from cycles._core.limits import Lack, Piece, Share
from cycles._core.records import Claim
from cycles._core.section import Section
from cycles.errors import CyclesError, Denied
from cycles_api import models
from cycles_api.models.amount import Amount

if TYPE_CHECKING:
    from collections.abc import Callable

    from cycles._core.effects import Flow
    from cycles._core.holds import Hold
    from cycles._core.limits import Account
    from cycles._core.requests import Terms
    from cycles._core.results import Settlement
    from cycles._core.retry import RetryPolicy

    Reserve = Callable[[Amount], Flow[Section]]
    Alone = Callable[[], Flow[Section]]

_LEAST_PAUSE: Final = 0.05
"""Seconds between two questions while a section waits for room."""

_ASKED_PAUSE: Final = 0.005
"""Seconds between two looks at a piece that another section is asking for."""


# -- the beginning -----------------------------------------------------------------------------------------------------
def begin(account: Account, reserve: Reserve) -> Flow[None]:
    """Hold the whole amount, or the first piece.

    Args:
        account: The limit's; fresh.
        reserve: Returns the flow that reserves an amount for the limit.

    Raises:
        CyclesError: when the run must not begin.
    """
    if account.piece is None:
        yield from _take(account, Piece(account.amount, account.amount), reserve)
        return
    ahead = account.ahead()
    if ahead is not None:
        yield from take_ahead(account, ahead, reserve)


def _take(account: Account, piece: Piece, reserve: Reserve) -> Flow[None]:
    """Ask for *piece*, and for the least that would do when that is denied."""
    asked: Piece | None = piece
    try:
        while asked is not None and not account.is_closed:
            piece = asked
            amount = Amount(unit=account.unit, amount=piece.amount)
            try:
                section = yield from reserve(amount)
            except Denied:
                asked = account.smaller(piece)
                if asked is None:
                    raise
            else:
                if not account.grants(section, piece.amount, section.grant):
                    yield from section_flows.release(section, "the limit has ended")
                return
    finally:
        account.unasked(piece)


def take_ahead(account: Account, piece: Piece, reserve: Reserve) -> Flow[None]:
    """Ask for a *piece* ahead of need. A refusal is only reported: it is raised in the section that needs the piece."""
    try:
        yield from _take(account, piece, reserve)
    except CyclesError as error:
        account.ahead_denied()
        yield from Notify(
            "piece not granted",
            {"limit": account.name, "amount": piece.amount, "unit": str(account.unit), "reason": str(error)},
        )


class NextPiece:
    """The job that asks for a piece ahead of need.

    Args:
        account: The limit's; *piece* counts as asked for.
        piece: What to ask for.
        reserve: Returns the flow that reserves it.
        taken: Called afterwards, however it went.
        due: Monotonic seconds at which to begin.
    """

    __slots__ = ("_account", "_piece", "_reserve", "_taken", "due", "is_needed")

    def __init__(
        self, account: Account, piece: Piece, reserve: Reserve, taken: Callable[[], None], *, due: float
    ) -> None:
        self._account: Final = account
        self._piece: Final = piece
        self._reserve: Final = reserve
        self._taken: Final = taken
        self.due: Final = due
        self.is_needed = True

    def attempt(self) -> Flow[None]:
        """Ask for the piece, once."""
        self.is_needed = False
        try:
            yield from take_ahead(self._account, self._piece, self._reserve)
        finally:
            self._taken()


# -- admission ---------------------------------------------------------------------------------------------------------
def admit(
    account: Account, terms: Terms, policy: RetryPolicy, reserve: Reserve, alone: Alone, *, wait: float = 0.0
) -> Flow[Section]:
    """Return an open section inside the limit.

    Args:
        account: The limit's.
        terms: What the section asks for.
        policy: For its requests, should it outlive the limit; and how long apart it asks for room.
        reserve: Returns the flow that reserves one more piece for the limit.
        alone: Returns the flow that reserves at the authority, should the limit have ended meanwhile.
        wait: Seconds to wait for room while other sections are open.

    Raises:
        BudgetExceeded: when it would go over the limit.
        CyclesError: when the authority does not grant a piece that it needs.
    """
    estimate = terms.estimate.amount
    if terms.dry_run or terms.observe:
        return (yield from _evaluated(account, terms, policy))
    found = account.admit(estimate)
    share: Share | None
    if isinstance(found, Share):
        share = found
    else:
        share = yield from _made_room(account, found, estimate, policy, reserve, wait=wait)
    if share is None:
        return (yield from alone())
    grant = account.grant
    assert grant is not None  # noqa: S101 - types: what was admitted is granted
    section = Section(terms, grant, policy, share)
    try:
        yield from Notify(
            "reserved",
            {
                "reservation_id": None,
                "decision": "ALLOW",
                "estimate": estimate,
                "unit": str(account.unit),
                "limit": account.name,
            },
        )
    except BaseException:  # nobody will have it
        account.settle(share, terms.action, None)
        raise
    return section


def _made_room(
    account: Account, lack: Piece | Lack, estimate: int, policy: RetryPolicy, reserve: Reserve, *, wait: float
) -> Flow[Share | None]:
    """Get the share that is lacking, by one more piece, or by waiting for what other sections give back.

    Returns:
        The share; None when the limit has ended.
    """
    started: float | None = None
    attempt = 1
    found: Share | Piece | Lack = lack
    while not isinstance(found, Share):
        if found is Lack.ENDED:
            return None
        error = yield from _tried(account, found, estimate, reserve)
        if error is not None:
            now = yield from Now()
            started = now if started is None else started
            left = wait - (now - started)
            if left <= 0.0 or not account.waiting_may_help():
                if error.limit is not None:
                    yield from Notify("denied", {"decision": "DENY", "reason": str(error), "limit": account.name})
                raise error
            pause = max(policy.backoff(attempt, (yield from Jitter())), _LEAST_PAUSE)
            yield from Sleep(min(left, pause))
            attempt += 1
        found = account.admit(estimate)
    return found


def _tried(account: Account, lack: Piece | Lack, estimate: int, reserve: Reserve) -> Flow[Denied | None]:
    """Do what may help with a *lack*, once; return the denial when it is refused."""
    if lack is Lack.ASKED:
        yield from Sleep(_ASKED_PAUSE)
        return None
    if lack is Lack.LIMIT:
        return account.refusal(estimate)
    assert isinstance(lack, Piece)  # noqa: S101 - types
    try:
        yield from _take(account, lack, reserve)
    except Denied as denied:
        return denied
    return None


def _evaluated(account: Account, terms: Terms, policy: RetryPolicy) -> Flow[Section]:
    """Return the dry run of a section: the limit alone decides it."""
    allowed = account.would_admit(terms.estimate.amount)
    decision = models.DecisionEnum.ALLOW if allowed else models.DecisionEnum.DENY
    response = models.ReservationCreateResponse(decision=decision, affected_scopes=[account.name])
    if not allowed:
        response.reason_code = "BUDGET_EXCEEDED"
    now = yield from Now()
    yield from Notify("dry run", {"reservation_id": None, "decision": str(decision), "limit": account.name})
    return Section(terms, Grant(response, {}, sent_at=now, received_at=now), policy)


# -- the end -----------------------------------------------------------------------------------------------------------
def end(account: Account, key: str) -> Flow[list[Settlement]]:
    """Charge what was spent, and give the rest back; return how that went, one for each reservation.

    What becomes of each reservation is decided at once, before anything is sent: whatever cuts this off, the background
    knows what is left. All of them together wait for the authority no longer than one would.

    Sections that are open still are on their own from here on. What they have reported leaves the limit's record before
    it enters one of their own, so that a kill between the two charges nothing twice. That is done first, and an
    interrupt comes out after it: until a section reports again or ends, no other record has what it spent.

    Args:
        account: The limit's.
        key: A new one, for its charges: nothing is asked for before all is decided.
    """
    left = account.ends()
    if left is None:
        return []
    decided = _decided(account, key)
    if account.is_parting or (account.is_recorded and any(hold.recorded != hold.assigned for hold in account.holds)):
        yield from _part(account, left, decided)
    started = yield from Now()
    settlements: list[Settlement] = []
    for hold in decided:
        section = hold.section
        wait = section.policy.settle_wait
        ends = None if wait is None else started + wait
        if section.state is State.RELEASED:
            ending = section_flows.give_back(section, "nothing spent", ends=ends)
        else:
            ending = section_flows.charge(section, ends=ends)
        settlements.append((yield from ending))
    return settlements


def give_up(account: Account) -> None:
    """End a limit whose beginning was cut off: what it holds already is the background's to release."""
    account.ends()
    account.parted()  # no section was in it
    _decided(account, "")


def _decided(account: Account, key: str) -> list[Hold]:
    """Close the reservations of a limit that has ended, each to be charged or given back; return those."""
    decided: list[Hold] = []
    first: Hold | None = None
    for number, hold in enumerate(account.holds, 1):
        section: Section = hold.section
        if not section.is_open:
            continue  # released, or committed, by hand
        if hold.assigned or (first is None and account.has_settled):
            amount = Amount(unit=account.unit, amount=hold.assigned)
            section.report(amount, None, account.details_of(hold, first or hold))
            section_flows.decide_commit(section, key if first is None else f"{key}-{number}")
            first = first or hold
        else:
            section_flows.decide_release(section)
        decided.append(hold)
    return decided


def _part(account: Account, left: list[Share], decided: list[Hold]) -> Flow[None]:
    """Move what the sections that outlive the limit have reported from its record to records of their own.

    What was settled inside just before the end is in the limit's record from here on, whoever was about to put it
    there: a reservation that is decided is open for nobody else. An interrupt does not keep it from that: it goes
    through all of them once more, and comes out then.
    """
    claim, interrupt = Claim(), None
    try:
        try:
            yield from _parted(account, left, decided, claim)
        except GeneratorExit:
            raise
        except BaseException as error:  # noqa: BLE001 - it comes out below
            interrupt = error
        if interrupt is not None:  # all that is left to do is local
            yield from _parted(account, left, decided, claim)
            raise interrupt
    finally:
        claim.active = False
        account.parted()


def _parted(account: Account, left: list[Share], decided: list[Hold], claim: Claim) -> Flow[None]:
    for hold in decided:
        yield from _kept_alone(hold.section, account, claim)
    reported = [(section, section.reported) for share in left if (section := share.section) is not None]
    for section, _ in reported:
        yield from shares.keep_alone(section, claim)
    account.parted()
    for section, amount in reported:
        if section.is_open and section.reported is not amount:  # it has reported more meanwhile
            yield from shares.keep_reported(section, section.reported)


def _kept_alone(section: Section, account: Account, claim: Claim) -> Flow[None]:
    """Put what was decided for *section*, the limit's own part of it, on record in place of what was there.

    Inside another limit, that one's record has it.
    """
    if section.share is not None and section.share.account.is_recorded:
        yield from shares.grow(section.share.account)
    if section.share is not None:
        return
    if section.owed is not None:
        yield from Record(section.owed, claim)
    elif section.provisional is not None:
        nothing = Amount(unit=account.unit, amount=0)
        yield from Record(section.spend(section.provisional.key, nothing), claim)
