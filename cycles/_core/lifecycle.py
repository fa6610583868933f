"""The life of a reservation as one table.

Truth about a reservation is a `State`, moved only by `step`. The table is total: a pair that is not in it can't happen,
and asking for it is an error of this package (tests/core/test_lifecycle.py walks every pair).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class State(StrEnum):
    """Where a reservation stands, as far as this client knows.

    Example:
        ```python
        import cycles
        from cycles import usd

        with cycles.Client() as client:
            reservation = client.reserve(usd("0.05"), action=("tool.search", "web"))
            assert reservation.state is cycles.State.ACTIVE
            reservation.release()
        ```
    """

    ACTIVE = "ACTIVE"  # held; the section may spend
    UNSETTLED = "UNSETTLED"  # spend is known and not (yet) acknowledged
    COMMITTED = "COMMITTED"  # charged, by commit or by event
    RELEASED = "RELEASED"  # given back, or given up: the hold ends at its expiry at the latest
    EXPIRED = "EXPIRED"  # the authority says that the hold is gone
    LOST = "LOST"  # the lease could not be kept while the section was running
    DRY_RUN = "DRY_RUN"  # nothing was ever held
    OBSERVED = "OBSERVED"  # allowed by an authority that only observes: nothing is held, and nothing is settled
    UNRESERVED = "UNRESERVED"  # running without a hold because the authority could not be reached


class Happened(StrEnum):
    """What can happen to a reservation."""

    COMMIT_WANTED = "commit wanted"
    SETTLED = "settled"
    RELEASE_ENDED = "release ended"
    HOLD_EXPIRED = "hold expired"
    LEASE_LOST = "lease lost"


_TABLE: Final[dict[tuple[State, Happened], State]] = {
    (State.ACTIVE, Happened.COMMIT_WANTED): State.UNSETTLED,
    (State.ACTIVE, Happened.RELEASE_ENDED): State.RELEASED,
    (State.ACTIVE, Happened.HOLD_EXPIRED): State.EXPIRED,
    (State.ACTIVE, Happened.LEASE_LOST): State.LOST,
    # What was spent under a lost lease or without a hold is settled all the same: the work was done.
    (State.LOST, Happened.COMMIT_WANTED): State.UNSETTLED,
    (State.LOST, Happened.RELEASE_ENDED): State.RELEASED,
    (State.LOST, Happened.HOLD_EXPIRED): State.EXPIRED,
    (State.LOST, Happened.LEASE_LOST): State.LOST,
    (State.UNRESERVED, Happened.COMMIT_WANTED): State.UNSETTLED,
    (State.UNRESERVED, Happened.RELEASE_ENDED): State.RELEASED,
    (State.UNSETTLED, Happened.SETTLED): State.COMMITTED,
    # A renewal that was under way may report after the section ended; it changes nothing any more.
    (State.UNSETTLED, Happened.LEASE_LOST): State.UNSETTLED,
    (State.COMMITTED, Happened.LEASE_LOST): State.COMMITTED,
    (State.RELEASED, Happened.LEASE_LOST): State.RELEASED,
    (State.EXPIRED, Happened.LEASE_LOST): State.EXPIRED,
}

NOTHING_HELD: Final = frozenset({State.DRY_RUN, State.OBSERVED})
"""States in which commit, release and report are accepted, and nothing is sent."""

OPEN: Final = frozenset({State.ACTIVE, State.LOST, State.UNRESERVED})
"""States in which commit and release are still possible."""


def step(state: State, happened: Happened) -> State:
    """Return the state after *happened*.

    Raises:
        ValueError: when that can't happen in *state*: a defect of this package.
    """
    try:
        return _TABLE[state, happened]
    except KeyError:
        raise ValueError(f"{happened.value!r} can't happen to a reservation that is {state}") from None
