"""The flows of one guarded section: how it begins, what happens in it, and what its end does.

Every decision of `Guard`, `Reservation` and `AsyncReservation` is here, once; those classes only run these flows.

    the section …                             then
    called commit or release                  nothing more
    ended well, actual known                  commit it
    ended well, nothing reported              commit the estimate (marked), or release, or refuse: as `unreported` says
    raised, with spend reported               commit what was reported, re-raise
    raised, nothing reported                  release, or commit the estimate (marked) or the amount that a callable
                                              made of the exception: as `on_error` says; re-raise
    raised inside `actual=` or `on_error=`    the work was done: commit the report, else the estimate (marked)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from cycles._core import flows, shares
from cycles._core.denials import known
from cycles._core.effects import Forget, NewKey, Notify, Now, Ready, Tell
from cycles._core.endings import pending_error
from cycles._core.grant import Grant
from cycles._core.lifecycle import Happened, State
from cycles._core.results import CountedDetails, Settlement
from cycles._core.section import Section
from cycles._core.settlements import settle
from cycles.errors import AuthorityError, AuthorityUnavailable, Denied, UnreportedSpend
from cycles_api import models

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cycles._core.effects import Flow
    from cycles._core.requests import Terms
    from cycles._core.retry import RetryPolicy
    from cycles_api.models.amount import Amount
    from cycles_api.models.standard_metrics import StandardMetrics

_BEGAN: Final = {State.DRY_RUN: "dry run", State.OBSERVED: "observed"}
"""The event that reports a section that begins, by its state; else "reserved"."""

Unreported: TypeAlias = Literal["estimate", "release", "error"]
"""What to do with a section that ended well and reported nothing."""

OnError: TypeAlias = Literal["release", "estimate"]
"""What to do with a section that raised and reported nothing."""


def begin(
    terms: Terms,
    policy: RetryPolicy,
    *,
    key: str | None = None,
    wait: float = 0.0,
    unguarded: bool = False,
    asking: flows.Asking | None = None,
) -> Flow[Section]:
    """Reserve, and return the open section.

    Args:
        terms: What to reserve.
        policy: For the section's requests.
        key: Idempotency key of the create, or None for a fresh one.
        wait: Seconds to keep asking while denied or throttled.
        unguarded: Whether the section may run without a hold when the authority can't be reached.
        asking: Notes a hold that is left when this flow is cut off. Who takes the section claims it there.

    Raises:
        CyclesError: when the section must not run.
    """
    try:
        if terms.observe:
            grant = yield from flows.observe(terms, policy, key=key, asking=asking)
        else:
            grant = yield from flows.reserve(terms, policy, key=key, wait=wait, asking=asking)
    except Denied as denied:
        yield from Notify("denied", {"decision": "DENY", "reason": str(denied), **_asked(terms)})
        raise
    except (AuthorityUnavailable, AuthorityError) as error:
        may_run = unguarded and not terms.dry_run and _is_unreachable(error)
        # Without a journal its spend would be in memory alone.
        if not may_run or not (terms.observe or (yield from Ready())):
            yield from Notify("reserve failed", {"reason": str(error), "is_told": True, **_asked(terms)})
            raise
        section = yield from _without_hold(terms, policy, error)
        return section
    section = Section(terms, grant, policy)
    yield from _tell_begun(section)
    return section


def claimed(reserving: Flow[Section], asking: flows.Asking) -> Flow[Section]:
    """Reserve by the flow *reserving*, and note in *asking* that the caller has what was granted."""
    section = yield from reserving
    asking.claim(section.reservation_id)
    return section


def _tell_begun(section: Section) -> Flow[None]:
    terms, response = section.terms, section.grant.response
    if terms.observe:
        allowed = response.decision in (models.DecisionEnum.ALLOW, models.DecisionEnum.ALLOW_WITH_CAPS)
        event = "observing" if allowed else "observing, would be denied"
        yield from Notify(
            event, {"decision": str(response.decision), "reason": known(response.reason_code), **_asked(terms)}
        )
        return
    yield from Notify(
        _BEGAN.get(section.state, "reserved"),
        {"reservation_id": section.reservation_id, "decision": str(response.decision), **_asked(terms)},
    )


def _asked(terms: Terms) -> dict[str, Any]:
    return {"estimate": terms.estimate.amount, "unit": str(terms.estimate.unit)}


def _is_unreachable(error: AuthorityUnavailable | AuthorityError) -> bool:
    return isinstance(error, AuthorityUnavailable) or error.status is None or error.status >= 500


def _without_hold(terms: Terms, policy: RetryPolicy, error: Exception) -> Flow[Section]:
    """Return a section that runs unguarded: what it spends is charged by event, now or from the journal."""
    now = yield from Now()
    response = models.ReservationCreateResponse(decision=models.DecisionEnum.ALLOW, affected_scopes=[])
    state = State.OBSERVED if terms.observe else State.UNRESERVED
    section = Section(terms, Grant(response, {}, sent_at=now, received_at=now), policy, state=state)
    yield from Notify("authority unreachable, running without a hold", {"reason": str(error)})
    return section


def report(
    section: Section,
    actual: Amount | None,
    metrics: StandardMetrics | None,
    metadata: Mapping[str, Any] | None,
) -> Flow[None]:
    """Set what the end of the section will commit, and keep it on record: the process may die before that.

    Raises:
        AlreadySettled, InvalidRequest: see `Section.report`.
    """
    yield from _noted(section, actual, metrics, metadata)
    if section.reported is None or section.holds_nothing:
        return
    yield from shares.keep_reported(section, section.reported)


def _noted(
    section: Section,
    actual: Amount | None,
    metrics: StandardMetrics | None,
    metadata: Mapping[str, Any] | None,
) -> Flow[None]:
    before = section.left_out
    section.report(actual, metrics, metadata)
    if section.left_out != before:
        new = [wrong for wrong in section.left_out if wrong not in before]
        yield from Notify(
            "left out of the charge", {"reservation_id": section.reservation_id, "reason": "; ".join(new)}
        )


def commit(
    section: Section,
    actual: Amount,
    metrics: StandardMetrics | None = None,
    metadata: Mapping[str, Any] | None = None,
    *,
    is_checked: bool = False,
) -> Flow[Settlement]:
    """Commit *actual* and return how that ended; trouble is in the settlement, not raised.

    With *is_checked* it is known that the amount can be committed, and that the section is open.

    Raises:
        AlreadySettled: when the section was settled before.
        InvalidRequest: when the amount can't be sent; the section stays open.
    """
    if is_checked:
        section.reported = actual
    else:
        section.set_actual(actual, "commit")
    if metrics is not None or metadata is not None:
        yield from _noted(section, None, metrics, metadata)
    if section.share is None and section.holds_nothing:
        return Settlement(section.state, via="commit", attempts=0)
    share = section.share
    # Before it is closed: who is interrupted here has an open section still. A limit needs no key.
    key = "" if share is not None and share.is_open else (yield from NewKey())
    if not decide_commit(section, key):
        raise section.already_settled("commit")
    if section.owed is not None and not section.owed.key:  # another thread has ended the limit just now
        section.owed = section.owed.under((yield from NewKey()))
    return (yield from charge(section))


def decide_commit(section: Section, key: str) -> bool:
    """Close *section*, and decide what is charged: what it reported; return False when it was closed before.

    From here on nobody has to come back to it: `charge` does it, or the background.
    """
    if not section.leave(Happened.COMMIT_WANTED):
        return False
    decide_charge(section, key)
    return True


def decide_charge(section: Section, key: str) -> None:
    """Decide what is charged for a *section* that was closed to be committed; an interrupt may have come before."""
    assert section.reported is not None  # noqa: S101 - types
    if section.share is not None:
        section.settlement = shares.take(section, section.share, section.reported)
    if section.settlement is not None:
        section.settled()
        return
    if section.provisional is not None and section.reservation_id is None:
        key = section.provisional.key  # its record is named after it
    section.owed = section.spend(key, section.reported)


def charge(section: Section, *, ends: float | None = None) -> Flow[Settlement]:
    """Charge what was decided for *section*, waiting for the authority until *ends* at most, or as its policy says."""
    if section.owed is not None:
        if section.share is not None:
            yield from shares.parted(section.share)
        policy = section.policy
        wait = policy.settle_wait if ends is None else max(0.0, ends - (yield from Now()))
        section.settlement = yield from settle(
            section.owed, policy, wait=wait, lease_ends_ms=section.expires_at_ms, goes_on=True
        )
        if section.settlement.state is State.COMMITTED:
            section.settled()
    else:  # by its limit, which has taken it already
        assert section.share is not None  # noqa: S101 - types
        assert section.reported is not None  # noqa: S101 - types
        if section.share.account.is_recorded:
            yield from shares.grow(section.share.account)
        yield from Tell(CountedDetails(section.reported))
    settlement = section.settlement
    assert settlement is not None  # noqa: S101 - types
    settlement.left_out = section.left_out
    if settlement.state is State.COMMITTED:
        yield from Notify(
            "committed",
            {
                "reservation_id": section.reservation_id,
                "via": settlement.via,
                "charged": settlement.charged.amount if settlement.charged else None,
                "unit": str(section.terms.estimate.unit),
            },
        )
    return settlement


def release(section: Section, reason: str | None) -> Flow[Settlement]:
    """Give the hold back and return how that ended; trouble is in the settlement, not raised.

    Raises:
        AlreadySettled: when the section was settled before.
    """
    if section.holds_nothing:
        return Settlement(section.state, via="release", attempts=0)
    if not decide_release(section):
        raise section.already_settled("release")
    return (yield from give_back(section, reason))


def decide_release(section: Section) -> bool:
    """Close *section*, and decide that nothing is charged; see `decide_commit`."""
    if not section.leave(Happened.RELEASE_ENDED):
        return False
    if section.share is not None:
        shares.give_back(section, section.share)
    return True


def give_back(section: Section, reason: str | None, *, ends: float | None = None) -> Flow[Settlement]:
    """Give back what *section* held, as was decided; see `charge`."""
    if section.share is not None:
        if section.share.reported and section.share.account.is_recorded:
            yield from shares.grow(section.share.account)
        yield from Notify("released", {"reservation_id": None, "reason": reason})
    if section.provisional is not None:
        yield from Forget(section.provisional)
    if section.reservation_id is None:  # nothing is held
        section.settlement = Settlement(State.RELEASED, via="release", attempts=0)
        return section.settlement
    section.settlement = yield from flows.release(section.reservation_id, reason, section.policy, ends=ends)
    return section.settlement


def end(
    section: Section,
    *,
    raised: BaseException | None = None,
    actual: Amount | None = None,
    actual_failed: BaseException | None = None,
    unreported: Unreported = "estimate",
    on_error: OnError = "release",
) -> Flow[Settlement | None]:
    """Do what the end of a section does, and return how that went, or None when nothing was to be done.

    Args:
        section: The section that ended.
        raised: What it raised, or None when it ended well.
        actual: What `actual=` made of its result, or `on_error=` of what it raised, checked; or None.
        actual_failed: What that callable raised, or what is wrong with the amount that it gave, or None.
        unreported: What to do when it ended well and nothing was reported.
        on_error: What to do when it raised and nothing was reported.

    Raises:
        UnreportedSpend: when `unreported="error"` and nothing was reported.
    """
    if not section.is_open:
        return None
    reported = section.reported if actual is None else actual
    if actual_failed is not None:
        event = "actual failed" if raised is None else "on_error failed"
        yield from Notify(event, {"reservation_id": section.reservation_id, "reason": repr(actual_failed)})
        reported = reported or section.terms.estimate
        return (yield from commit(section, reported, None, _marked(section)))
    if reported is not None:
        return (yield from commit(section, reported, is_checked=True))
    if raised is not None and on_error == "release":
        return (yield from release(section, type(raised).__name__))
    if raised is not None or unreported == "estimate":
        return (yield from commit(section, section.terms.estimate, None, _marked(section)))
    if unreported == "release":
        yield from Notify("nothing reported, released", {"reservation_id": section.reservation_id})
        return (yield from release(section, "nothing reported"))
    section.is_unreported = True
    raise UnreportedSpend(
        f"reservation {section.reservation_id}: the section ended without an actual amount; give actual=, "
        "call report() or commit() in it; nothing was sent, and the hold ends at its expiry"
    )


def _marked(section: Section) -> dict[str, str] | None:
    return {"actual_source": "estimate"} if section.reported is None else None


def dropped(section: Section) -> bool:
    """Close *section*, which the program has dropped: its lease is not kept any longer.

    Its record may be older than what it said last: a report or a commit may have been interrupted in between.

    Returns:
        Whether a job is left: to give its hold back, or to charge what it reported.
    """
    kept, said = section.provisional, section.reported
    if kept is not None and said is not None and said != kept.actual:
        section.provisional = section.spend(kept.key, said, provisional=True)
    if not section.leave(Happened.RELEASE_ENDED):
        return False
    section.is_dropped = True
    return not section.is_unreported and has_something(section)


def has_something(section: Section) -> bool:
    """Return whether there is a hold to give back, or a spend to charge."""
    return section.reservation_id is not None or section.provisional is not None


def trouble_to_raise(settlement: Settlement, *, asked: bool, raise_on_unsettled: bool) -> Exception | None:
    """Return what a settlement's trouble must raise, or None.

    A commit that the caller *asked* for and that the authority understood and refused is the caller's to know. All
    other trouble never hides the section's own result or exception, unless `raise_on_unsettled` is set.
    """
    error = settlement.error
    if error is None or settlement.via == "release":
        return None
    if not raise_on_unsettled and not (asked and settlement.is_refused):
        return None
    return pending_error(settlement) if settlement.is_kept or settlement.goes_on else error
