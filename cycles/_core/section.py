"""One guarded section on this side: where it stands, what was reported in it, and what it will charge.

Nothing here asks for anything outside; what begins and ends a section are the flows in `section_flows`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from cycles._core.lifecycle import NOTHING_HELD, OPEN, Happened, State, step
from cycles._core.records import Pending
from cycles._core.requests import checked_actual, sendable_metadata, sendable_metrics
from cycles.errors import AlreadySettled
from cycles_api.types import Unset

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cycles._core.grant import Grant
    from cycles._core.limits import Share
    from cycles._core.requests import Terms
    from cycles._core.results import Settlement
    from cycles._core.retry import RetryPolicy
    from cycles_api.models.amount import Amount
    from cycles_api.models.standard_metrics import StandardMetrics


class Section:
    """A reservation on this side: what was granted, what was reported, and where it stands.

    Attributes:
        terms, grant: What was asked, and what the authority answered.
        state: See `lifecycle`. The lost lease is folded in: the heartbeat's thread and the section's own never write
            the same field, so that neither can undo what the other one said.
        reported: The amount that the end of the section will commit, or None.
        metrics, metadata: What goes along with it.
        left_out: What was reported and can't go along, and why.
        settlement: How it ended, or None while it is open.
        is_dropped: The program dropped it while it was open: what it had reported is charged, without an end.
        is_unreported: It ended without an amount, and the guard makes that an error. Nothing more is sent, unless the
            program still commits or releases.
        provisional: What its journal record says while it is open; None before anything was reported.
        owed: What its end charges, from before the first request leaves; None when nothing is charged.
        lease_lost: Whether the lease was lost while the section was running.
        share: What it has of the limit that it draws on; None when it has a reservation of its own.
        details: Makes what else the metadata of a report says, should the process die; None but for a limit's own.
        expires_at_ms: The lease's end by the authority's clock, as of the last answer; None for a dry run.
    """

    __slots__ = (
        "_report_keys",
        "_state",
        "_tickets",
        "details",
        "expires_at_ms",
        "grant",
        "is_dropped",
        "is_unreported",
        "lease_lost",
        "left_out",
        "metadata",
        "metrics",
        "owed",
        "policy",
        "provisional",
        "reported",
        "settlement",
        "share",
        "terms",
    )

    def __init__(
        self,
        terms: Terms,
        grant: Grant,
        policy: RetryPolicy,
        share: Share | None = None,
        *,
        state: State | None = None,
    ) -> None:
        self.share: Final = share
        if share is not None:
            share.section = self
        self.terms: Final = terms
        self.grant: Final = grant
        self.policy: Final = policy
        self._state = state or (_granted_state(terms, grant) if share is None else State.ACTIVE)
        self._tickets: list[Literal[True]] = [True]  # the one that leaves takes it
        self._report_keys: list[str] = []
        self.details: Callable[[], Mapping[str, Any]] | None = None
        self.provisional: Pending | None = None
        self.owed: Pending | None = None
        self.is_dropped = self.is_unreported = False
        self.reported: Amount | None = None
        self.metrics: StandardMetrics | None = None
        self.metadata: dict[str, Any] | None = None
        self.left_out: tuple[str, ...] = ()
        self.settlement: Settlement | None = None
        self.lease_lost = False
        expires_at_ms = grant.response.expires_at_ms
        self.expires_at_ms = None if isinstance(expires_at_ms, Unset) else expires_at_ms

    @property
    def reservation_id(self) -> str | None:
        """The authority's id of the hold; None for a dry run, without a hold, and inside a limit."""
        return None if self.share is not None else _held(self.grant)

    @property
    def state(self) -> State:
        """Where the reservation stands; see `lifecycle`."""
        # A lost lease means nothing any more to a section that has left, and nothing to one without a hold.
        if self._state is State.ACTIVE and self.is_lost:
            return step(State.ACTIVE, Happened.LEASE_LOST)
        return self._state

    @property
    def holds_nothing(self) -> bool:
        """Whether commit, release and report are accepted, and nothing is sent."""
        return self._state in NOTHING_HELD

    @property
    def is_lost(self) -> bool:
        """Whether the lease that it runs on was lost: its own, or that of its limit."""
        return self.lease_lost or (self.share is not None and self.share.account.is_lost)

    @property
    def leased(self) -> Section:
        """The section that has the lease: itself, or the one that its limit began with."""
        share = self.share
        if share is None or not share.account.holds:
            return self
        first: Section = share.account.holds[0].section
        return first.leased

    @property
    def is_open(self) -> bool:
        """Whether commit and release are still possible."""
        return self._state in OPEN  # a lost lease closes nothing

    def leave(self, happened: Happened) -> bool:
        """Leave the open states for good; return False when that happened before.

        Of two threads at once, one gets through.
        """
        if self._state not in OPEN:
            return False
        left = step(self._state, happened)  # where a lost lease makes no difference
        try:
            # Taking it is atomic in the interpreter. One statement, so that an interrupt comes before it or after it.
            self._state = self._tickets.pop() and left
        except IndexError:
            return False
        return True

    def settled(self) -> None:
        """Note that the spend is charged."""
        self._state = step(self._state, Happened.SETTLED)

    def report(
        self,
        actual: Amount | None,
        metrics: StandardMetrics | None,
        metadata: Mapping[str, Any] | None,
    ) -> None:
        """Set what the end of the section will commit; the last report wins, field by field.

        The charge does not wait for what goes along with it: what can't be sent of that is noted in `left_out`.

        Raises:
            AlreadySettled: when the section was settled before.
            InvalidRequest: naming what is wrong with the amount, and the remedy; the earlier report stays.
        """
        if actual is not None:
            self.set_actual(actual, "report")
        elif not self.is_open and not self.holds_nothing:
            raise self.already_settled("report")
        if metrics is not None or metadata is not None:
            self._report_details(metrics, metadata)

    def set_actual(self, actual: object, wanted: str) -> None:
        """Set the amount that the end of the section will commit; *wanted* says what for.

        Raises:
            AlreadySettled: when the section was settled before.
            InvalidRequest: naming what is wrong with the amount, and the remedy; the earlier one stays.
        """
        if self._state not in OPEN and self._state not in NOTHING_HELD:
            raise self.already_settled(wanted)
        self.reported = checked_actual(actual, self.terms.estimate)

    def _report_details(self, metrics: StandardMetrics | None, metadata: Mapping[str, Any] | None) -> None:
        kept, wrong = sendable_metadata(metadata)
        metrics, wrong_too = sendable_metrics(metrics)
        self.left_out = tuple(dict.fromkeys((*self.left_out, *wrong, *wrong_too)))
        self.metrics = metrics or self.metrics
        if kept is not None:
            self.metadata = {**(self.metadata or {}), **kept}

    def report_key(self, fresh: str) -> str:
        """Return the key of what is reported: *fresh*, or the one that another thread of control was given before.

        At the end of its limit two put a section's report on record: the section, and the limit.
        """
        self._report_keys.append(fresh)  # atomic in the interpreter
        return self._report_keys[0]

    def spend(self, key: str, actual: Amount, *, provisional: bool = False) -> Pending:
        """Return the intent to charge *actual* under *key*, by event if there is no hold."""
        held = self.reservation_id
        metadata = dict(self.metadata or {})
        if provisional:
            metadata.setdefault("actual_source", "reported")  # who reported may know better
        if held is None:
            metadata["recovery_reason"] = "authority_unavailable" if self.share is None else "limit_ended"
        reported_key = key if provisional else None if self.provisional is None else self.provisional.key
        return Pending(
            reservation_id=held,
            terms=self.terms,
            actual=actual,
            key=key,
            metrics=self.metrics,
            metadata=metadata or None,
            by_event=held is None,
            provisional=provisional,
            reported_key=None if held is None else reported_key,
            details=self.details if provisional else None,
        )

    def already_settled(self, wanted: str) -> AlreadySettled:
        """Return the error of a commit, a release or a report that is *wanted* too late."""
        return AlreadySettled(
            f"can't {wanted}: reservation {self.reservation_id} is {self.state} already; nothing was sent"
        )


def _held(grant: Grant) -> str | None:
    held = grant.response.reservation_id
    return None if isinstance(held, Unset) else held


def _granted_state(terms: Terms, grant: Grant) -> State:
    if terms.dry_run:
        return State.DRY_RUN
    return State.OBSERVED if terms.observe or _held(grant) is None else State.ACTIVE
