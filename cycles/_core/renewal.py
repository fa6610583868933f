"""Keeping a lease: one attempt at a time, when the scheduler calls for it (docs/protocol.md, Heartbeat).

A `Heart` holds what is known between two attempts. So nothing is lost when one is cut off, and an open guard costs no
task while it waits. `beat` makes one attempt and says when to come again.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from cycles._core.effects import Call, NewKey, Notify, Now
from cycles._core.heartbeat import (
    Failure,
    Lease,
    attempt_timeout,
    elapsed_ms,
    fallback_delay_ms,
    fallback_lead_ms,
    leased,
    retry_delay_ms,
    retry_reserve_ms,
)
from cycles._core.lifecycle import State
from cycles._core.operations import EXTEND_RESERVATION
from cycles._core.outcomes import Verdict, error_of, judge
from cycles_api import models
from cycles_api.types import Unset

if TYPE_CHECKING:
    from collections.abc import Callable

    from cycles._core.effects import Flow
    from cycles._core.outcomes import Answer
    from cycles._core.section import Section

DEFAULT_TTL_MS: Final = 60_000
"""The lease that an authority gives when the request names none."""

_TRANSIENT: Final = (Verdict.AMBIGUOUS, Verdict.THROTTLED)

_GONE: Final = frozenset({"RESERVATION_FINALIZED", "TENANT_CLOSED", "NOT_FOUND"})
"""Codes of rejections that say that the hold is gone, whatever was left of the lease."""


class Heart:
    """One open section's lease, between two attempts to renew it.

    Args:
        section: What it belongs to.
        ordinary: Seconds that bound an ordinary request; an extend attempt may be given less (`attempt_timeout`).
        on_lost: Called when the lease is lost while the section is running.
        on_beat: Called at each attempt: the process lives, and its section runs.

    Attributes:
        ttl_ms: Milliseconds that each renewal asks for: as many as the reserve asked for.
        timeout: Seconds that bound one whole extend attempt.
        lease: As of the last success; None when the authority does not say what is left (the fallback).
        key: Of an extension that is still to be answered; None when the next attempt is a new intent.
        is_stopped: Whether renewing was given up; the section has what is left of its lease.
    """

    __slots__ = (
        "_expires_at_ms",
        "_failure",
        "_granted_ms",
        "_since",
        "is_stopped",
        "key",
        "lease",
        "on_beat",
        "on_lost",
        "section",
        "timeout",
        "ttl_ms",
    )

    def __init__(
        self,
        section: Section,
        ordinary: float,
        on_lost: Callable[[], object] | None = None,
        on_beat: Callable[[], object] | None = None,
    ) -> None:
        self.on_lost: Final = on_lost
        self.on_beat: Final = on_beat
        grant = section.grant
        remaining = grant.response.remaining_ttl_ms
        self.section: Final = section
        self.ttl_ms: Final = section.terms.ttl_ms or DEFAULT_TTL_MS
        self.timeout: Final = attempt_timeout(self.ttl_ms, ordinary)
        self.key: str | None = None
        self.lease: Lease | None = None
        if not isinstance(remaining, Unset):
            self.lease = leased(remaining, sent_at=grant.sent_at, received_at=grant.received_at, timeout=self.timeout)
        self.is_stopped = False
        self._failure: Failure | None = None
        # Only for the fallback: measured grants, and when and at which expiry the last success left us.
        self._granted_ms = 0
        self._since = grant.received_at
        self._expires_at_ms = section.expires_at_ms

    @property
    def is_needed(self) -> bool:
        """Whether there is a lease to keep: the section is open, and its hold not known to be lost."""
        return self.section.state is State.ACTIVE

    @property
    def is_too_short(self) -> bool:
        """Whether the lease as granted leaves no time to wait before its first renewal."""
        return self.lease is not None and self.lease.zeros > 0

    @property
    def left(self) -> float | None:
        """Seconds that were left at the last success, or None when the authority does not say."""
        return None if self.lease is None else self.lease.lead_floor_ms / 1000

    @property
    def needed(self) -> float:
        """Seconds of lease that two attempts and the margin need."""
        reserve = retry_reserve_ms(self.timeout, 0 if self.lease is None else self.lease.max_rtt_ms)
        return math.inf if reserve is None else reserve / 1000

    @property
    def due(self) -> float:
        """Monotonic seconds at which the first renewal begins."""
        return self._since + (0 if self.lease is None else self.lease.delay_ms) / 1000

    @property
    def assumed(self) -> Lease:
        """The lease; in the fallback it is not known, and one ttl from the last success is what one may hope for."""
        return self.lease or Lease(self.ttl_ms, self._since, 0, self.timeout)

    def attempt(self) -> Flow[float | None]:
        """Make one attempt to renew; see `beat`."""
        return beat(self)

    def extended(
        self, response: models.ReservationExtendResponse, *, sent_at: float, received_at: float
    ) -> float | None:
        """Note an extension that was granted; the times are monotonic seconds around its attempt.

        Returns:
            The seconds until the next one; None when the lease turned out to be too short to keep.
        """
        remaining, expires_at_ms = response.remaining_ttl_ms, response.expires_at_ms
        self.key, self._failure = None, None
        self.section.expires_at_ms = expires_at_ms
        if isinstance(remaining, Unset):
            delay = self._fallback(received_at, expires_at_ms)
        else:
            self.lease = leased(
                remaining, sent_at=sent_at, received_at=received_at, timeout=self.timeout, before=self.lease
            )
            if self.lease.is_too_short:
                return None
            delay = self.lease.delay_ms / 1000
        self._since, self._expires_at_ms = received_at, expires_at_ms
        return delay

    def _fallback(self, received_at: float, expires_at_ms: int) -> float:
        """Return the beat when the authority does not say what is left: from what the extension really granted."""
        self.lease = None
        grant = 0 if self._expires_at_ms is None else expires_at_ms - self._expires_at_ms
        self._granted_ms += max(0, grant)
        delay = fallback_delay_ms(self.ttl_ms, grant, elapsed_ms(self._since, received_at))
        lead = fallback_lead_ms(self._granted_ms, self.section.grant.received_at, received_at)
        if grant > 0 and lead * 2 >= grant * 3:
            delay += (lead * 2 - grant * 3) // 2  # beats are skipped while the lead is 1.5 grants or more
        return delay / 1000

    def failed(self, now: float, *, throttled: bool, retry_after_s: float | None) -> int | None:
        """Return the milliseconds to wait before the same extension is sent again, or None to give up."""
        delay_ms, self._failure = retry_delay_ms(
            self.assumed, now, throttled=throttled, retry_after_s=retry_after_s, last=self._failure
        )
        return delay_ms


def beat(heart: Heart) -> Flow[float | None]:
    """Make one attempt to renew, and return the seconds until the next one; None when there is none to make.

    Never raises for the authority's or the network's trouble, and never touches the section's own work: `Notify` tells
    what happened, and the section's state tells of a lease that is gone.
    """
    section = heart.section
    if not heart.is_needed or section.reservation_id is None:
        return None
    if heart.on_beat is not None:
        heart.on_beat()
    if heart.is_stopped:
        return (yield from _lost(heart, "it ran out"))
    if heart.key is None:
        heart.key = yield from NewKey()
        if not heart.is_needed:  # nothing is extended after a commit may have left
            return None
    body = models.ReservationExtendRequest(idempotency_key=heart.key, extend_by_ms=heart.ttl_ms)
    answer = yield from Call(
        EXTEND_RESERVATION, reservation_id=section.reservation_id, body=body, request_timeout=heart.timeout
    )
    if not heart.is_needed:  # it ended meanwhile
        return None
    verdict = judge(EXTEND_RESERVATION, answer)
    if verdict is not Verdict.DONE or answer.parsed is None:
        return (yield from _failed(heart, answer, verdict))
    delay = heart.extended(answer.parsed, sent_at=answer.sent_at, received_at=answer.received_at)
    if delay is None:
        return (yield from _stop(heart, "the lease is shorter than its safety budget; ask for a longer ttl"))
    yield from Notify("renewed", {"reservation_id": section.reservation_id, "next_in": delay})
    return delay


def _failed(heart: Heart, answer: Answer[models.ReservationExtendResponse], verdict: Verdict) -> Flow[float | None]:
    reason = str(error_of(EXTEND_RESERVATION, answer))
    if verdict is Verdict.EXPIRED or (verdict is Verdict.REJECTED and answer.code in _GONE):
        return (yield from _lost(heart, reason))
    if verdict not in _TRANSIENT:
        return (yield from _stop(heart, reason))
    now = yield from Now()
    delay_ms = heart.failed(now, throttled=verdict is Verdict.THROTTLED, retry_after_s=answer.retry_after)
    if delay_ms is None:
        return (yield from _stop(heart, reason))
    yield from Notify(
        "renewal failed, retrying",
        {
            "reservation_id": heart.section.reservation_id,
            "retry_in": delay_ms / 1000,
            "left": heart.assumed.left_ms(now) / 1000,
            "reason": reason,
        },
    )
    return delay_ms / 1000


def _stop(heart: Heart, reason: str) -> Flow[float | None]:
    """Renew no more; the section has what is left of its lease. Return the seconds until that is over."""
    now = yield from Now()
    left = heart.assumed.left_ms(now) / 1000
    heart.is_stopped = True
    yield from Notify(
        "heartbeat stopped", {"reservation_id": heart.section.reservation_id, "left": left, "reason": reason}
    )
    return left


def _lost(heart: Heart, reason: str) -> Flow[float | None]:
    """Mark the lease as lost, tell the program, and make no more attempts."""
    section = heart.section
    section.lease_lost = True
    if heart.on_lost is not None:
        heart.on_lost()
    yield from Notify("lease lost", {"reservation_id": section.reservation_id, "reason": reason})
    return None
