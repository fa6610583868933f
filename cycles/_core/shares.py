"""A section inside a limit: what `section_flows` does in place of a request to the authority.

The spend goes to the limit's account, exactly and at once. The limit's own reservations have it on record in the
journal as it grows, so that a killed run is charged what it had spent. A section whose limit has ended first is charged
by itself, by event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cycles._core.effects import NewKey, Record, Tell
from cycles._core.lifecycle import Happened, State
from cycles._core.results import Settlement, SettlementDetails
from cycles_api.models.amount import Amount

if TYPE_CHECKING:
    from cycles._core.effects import Flow
    from cycles._core.limits import Account, Share
    from cycles._core.section import Section


def keep_reported(section: Section, amount: Amount) -> Flow[None]:
    """Put *amount*, which *section* has spent so far, on record: with its limit, or in the journal."""
    share = section.share
    if share is not None and share.account.report(share, amount.amount):
        yield from grow(share.account)
        return
    key = (yield from NewKey()) if section.provisional is None else section.provisional.key
    section.provisional = section.spend(key, amount, provisional=True)
    yield from Record(section.provisional)


def grow(account: Account) -> Flow[None]:
    """Put what the sections of *account* have spent so far on record, with the limit's own reservations.

    One of several does it at a time, and goes on until nothing is left: a later record never has less in it.
    """
    if not account.begins_recording():
        return
    try:
        while due := account.unrecorded():
            for hold, known in due:
                yield from _kept_by(hold.section, Amount(unit=account.unit, amount=known))
    except BaseException:  # else the turn ended with the last look
        account.ends_recording()
        raise


def _kept_by(section: Section, amount: Amount) -> Flow[None]:
    if section.is_open:
        section.reported = amount
        yield from keep_reported(section, amount)


def take(section: Section, share: Share, actual: Amount) -> Settlement | None:
    """Charge *actual* to the limit; None when that has ended, and the section is on its own. Put it on record next."""
    if not share.account.settle(share, section.terms.action, actual.amount):
        return None
    unused = max(0, share.estimate - actual.amount)
    return Settlement(
        State.COMMITTED,
        via="limit",
        attempts=0,
        charged=actual,
        released=Amount(unit=actual.unit, amount=unused),
    )


def tell(section: Section, share: Share, actual: Amount) -> Flow[None]:
    """Put on record, and tell, that *actual* was charged to the limit."""
    yield from grow(share.account)
    yield from Tell(
        SettlementDetails(
            section.spend("", actual), "settled", charged=actual, attempts=0, recovered=False, error=None, via="limit"
        )
    )


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
