"""A section inside a limit: what `section_flows` does in place of a request to the authority.

The spend goes to the limit's account, exactly and at once. The limit's own reservations have it on record in the
journal as it grows, so that a killed run is charged what it had spent. A section whose limit has ended first is charged
by itself, by event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cycles._core.effects import NewKey, Record
from cycles._core.lifecycle import Happened
from cycles._core.results import CountedSettlement
from cycles_api.models.amount import Amount

if TYPE_CHECKING:
    from cycles._core.effects import Flow
    from cycles._core.limits import Account, Share
    from cycles._core.results import Settlement
    from cycles._core.section import Section


def keep_reported(section: Section, amount: Amount) -> Flow[None]:
    """Put *amount*, which *section* has spent so far, on record: with its limit, or in the journal."""
    share = section.share
    if share is not None and share.account.report(share, amount.amount):
        if share.account.is_recorded:
            yield from grow(share.account)
        return
    known = section.provisional
    key = section.report_key((yield from NewKey())) if known is None else known.key
    section.provisional = section.spend(key, amount, provisional=True)
    if section.is_open:  # looked at last: who commits meanwhile has not seen this key, and would charge it once more
        yield from Record(section.provisional)


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
