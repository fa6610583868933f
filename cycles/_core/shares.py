"""A section inside a limit: what `section_flows` does in place of a request to the authority.

The spend goes to the limit's account, exactly and at once. The limit's own reservations have it on record in the
journal as it grows, so that a killed run is charged what it had spent. A section whose limit has ended first is charged
by itself, by event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cycles._core.effects import NewKey, Record, Sleep
from cycles._core.lifecycle import Happened
from cycles._core.results import CountedSettlement
from cycles_api.models.amount import Amount

if TYPE_CHECKING:
    from cycles._core.effects import Flow
    from cycles._core.limits import Account, Share
    from cycles._core.records import Claim, Pending
    from cycles._core.results import Settlement
    from cycles._core.section import Section

_PAUSE: Final = 0.005
"""Seconds between two looks at a limit whose records are being parted."""

_MOST_PAUSES: Final = 200


def keep_reported(section: Section, amount: Amount) -> Flow[None]:
    """Put *amount*, which *section* has spent so far, on record: with its limit, or in the journal."""
    share = section.share
    if share is not None and share.account.report(share, amount.amount):
        if share.account.is_recorded:
            yield from grow(share.account)
        return
    own = yield from _own_record(section, amount)
    if share is not None and share.account.is_parting:
        return  # the limit's record has some of it still: its end puts this on record when it has not
    if section.is_open:  # looked at last: who commits meanwhile has not seen this key, and would charge it once more
        yield from Record(own)


def _own_record(section: Section, amount: Amount) -> Flow[Pending]:
    known = section.provisional
    key = section.report_key((yield from NewKey())) if known is None else known.key
    section.provisional = own = section.spend(key, amount, provisional=True)
    return own


def keep_alone(section: Section, claim: Claim) -> Flow[None]:
    """Put what *section* has spent, which outlives its limit, on a record of its own; under *claim* if it has ended.

    One that has ended waits for this in `parted`.
    """
    if section.reported is not None and (section.is_open or section.is_dropped):
        own = yield from _own_record(section, section.reported)
        if section.is_open or section.is_dropped:  # as in `keep_reported`
            yield from Record(own)
    if section.owed is not None and section.settlement is None:
        yield from Record(section.owed, claim)


def parted(share: Share) -> Flow[None]:
    """Wait until no record of the ended limit has what its section has reported: a kill would charge both.

    That takes a few writes to disk. Whoever does them may have been interrupted: then nobody waits for ever.
    """
    for _ in range(_MOST_PAUSES):
        if not share.account.is_parting:
            return
        yield from Sleep(_PAUSE)


def grow(account: Account) -> Flow[None]:
    """Put what the sections of *account* have spent so far on record, with the limit's own reservations.

    One of several does it at a time, and goes on until nothing is left: a later record never has less in it. The others
    count on that, also when an interrupt comes in between.
    """
    if not account.begins_recording():
        return
    interrupt: BaseException | None = None
    try:
        yield from _recorded(account)
    except GeneratorExit:
        account.ends_recording()
        raise
    except BaseException as error:  # noqa: BLE001 - it comes out below
        interrupt = error
    if interrupt is not None:  # all that is left to do is local
        try:
            yield from _recorded(account)
        except BaseException:
            account.ends_recording()
            raise
        raise interrupt


def _recorded(account: Account) -> Flow[None]:
    while due := account.unrecorded():  # the turn ends with the last look
        for hold, known in due:
            yield from _kept_by(hold.section, Amount(unit=account.unit, amount=known))
            hold.recorded = known


def _kept_by(section: Section, amount: Amount) -> Flow[None]:
    if section.is_open:
        section.reported = amount
        yield from keep_reported(section, amount)


def take(section: Section, share: Share, actual: Amount) -> Settlement | None:
    """Charge *actual* to the limit; None when that has ended, and the section is on its own. Put it on record next."""
    if not share.account.settle(share, section.terms.action, actual.amount):
        return None
    return CountedSettlement(actual, share.estimate)


def give_back(section: Section, share: Share) -> None:
    """Give back what *section* holds of its limit, if that has not ended. Put it on record next."""
    share.account.settle(share, section.terms.action, None)


def drop(section: Section, share: Share) -> bool:
    """Leave what a dropped *section* has of its limit to the limit: what it reported counts as spent.

    Returns:
        Whether that is all: not when the limit has ended.
    """
    if not share.is_open or not section.leave(Happened.RELEASE_ENDED):
        return False
    share.account.drop(share, section.terms.action)
    return True
