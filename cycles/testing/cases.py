"""A guarded section of a schedule: its plan, and what the simulator has seen of it."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from cycles._core.requests import terms
from cycles._core.retry import RetryPolicy
from cycles.amounts import tokens

if TYPE_CHECKING:
    from random import Random

    from cycles._core.requests import Terms
    from cycles._core.section import Section
    from cycles._core.section_flows import OnError, Unreported
    from cycles.testing.faults import Fault
    from cycles_api import models


class Ending(Enum):
    """How a section's own code ends it."""

    COMMIT = "commits"
    COMMIT_TWICE = "commits twice"
    COMMIT_AND_RAISE = "commits, then raises"
    RELEASE = "releases"
    REPORT = "reports"
    REPORT_AND_RAISE = "reports, then raises"
    RAISE = "raises"
    ACTUAL = "has an actual"
    ACTUAL_FAILS = "has an actual that fails"
    NOTHING = "says nothing"


class Pause(NamedTuple):
    """The section works for *seconds*."""

    seconds: float


class Extend(NamedTuple):
    """The section asks for more time."""

    extend_by_ms: int


class Report(NamedTuple):
    """The section says what it has spent so far."""

    amount: models.Amount


class Nested(NamedTuple):
    """Another section inside the section."""

    plan: Plan


class Ask(NamedTuple):
    """The section asks what the authority would say to more."""


class Spend(NamedTuple):
    """Something is charged without a reservation: the estimate of *plan*."""

    plan: Plan


Step: TypeAlias = Pause | Extend | Report | Nested | Ask | Spend


class Plan(NamedTuple):
    """What a section is going to do.

    Attributes:
        name: For the trace.
        terms, key, wait: As given to `begin`; it makes a key when `key` is None.
        policy, unreported: As in the client and the guard.
        on_error: As in the guard: a word, or the amount that its callable gives.
        unguarded: Whether it may run without a hold when the authority can't be reached.
        steps: What happens in it.
        ending: How its own code ends it.
        actual: What it really costs.
    """

    name: str
    terms: Terms
    key: str | None
    wait: float
    policy: RetryPolicy
    unreported: Unreported
    on_error: OnError | models.Amount
    unguarded: bool
    steps: tuple[Step, ...]
    ending: Ending
    actual: models.Amount


class Case:
    """What the simulator has seen of a section; nothing else writes here.

    Attributes:
        section: The section, once it runs.
        charges: What the authority took for it.
        acknowledged: What a complete answer said was taken, or None as long as none came.
        allowed: Whether the last complete answer to its reserve allowed it.
        known: What must be charged if anything is: the amount in the requests.
        owes: Whether it raised, and its guard says that what it had spent is charged.
        answered: The last answer by operation and program, unless lost: status, body, what was wrong with it.
        keys: Idempotency keys by intent, in the order of first use.
        sent: Requests by intent.
        moments: Virtual times of its last requests.
        restless: Requests since it last paused.
        has_ended: Whether its end finished without an interrupt.
        was_interrupted: Whether an exception was thrown into it, or its process killed.
        was_refused: Whether the authority refused a commit or an event of it, for another reason than expiry.
        waited: Seconds that it waited, by intent.
        without_hold: Whether it is a charge without a reservation: by `record`, or of a section that has no hold.
        died: Whether its process was killed before it was over.
    """

    __slots__ = (
        "acknowledged",
        "allowed",
        "answered",
        "charges",
        "died",
        "has_ended",
        "keys",
        "known",
        "moments",
        "owes",
        "plan",
        "restless",
        "section",
        "sent",
        "waited",
        "was_interrupted",
        "was_refused",
        "without_hold",
    )

    def __init__(self, plan: Plan) -> None:
        self.plan: Final = plan
        self.section: Section | None = None
        self.charges = 0
        self.acknowledged: int | None = None
        self.allowed = False
        self.answered: dict[str, tuple[int, dict[str, Any] | None, Fault | None]] = {}
        self.known: int | None = None
        self.owes = False
        self.keys: dict[str, list[str]] = {}
        self.sent: dict[str, int] = {}
        self.moments: list[float] = []
        self.restless = 0
        self.waited: dict[str, float] = {}
        self.has_ended = False
        self.was_interrupted = False
        self.was_refused = False
        self.without_hold = False
        self.died = False

    @property
    def name(self) -> str:
        return self.plan.name


# -- drawing -----------------------------------------------------------------------------------------------------------
_AMOUNTS: Final = tuple(tokens(amount) for amount in range(40))
_POLICIES: Final = tuple(
    RetryPolicy(max_attempts=attempts, settle_wait=wait) for wait in (None, 2.0, 0.3) for attempts in (1, 2, 3, 5)
)
_OVERAGE: Final = (None, "REJECT", "ALLOW_IF_AVAILABLE", "ALLOW_WITH_OVERDRAFT")
_TTLS: Final = (None, 1.0, 3.0, 10.0, 60.0)
_GRACES: Final = (None, 0.0, 2.0)
_ENDINGS: Final = tuple(Ending)
_UNREPORTED: Final[tuple[Unreported, ...]] = ("estimate", "estimate", "release", "error")
_ON_ERROR: Final[tuple[OnError | models.Amount, ...]] = ("release", "release", "estimate", tokens(5))


def draw(random: Random, name: str, *, depth: int = 0) -> Plan:
    """Return a section that *random* draws."""
    choice = random.choice
    levels = {"tenant": "acme"} if random.random() < 0.6 else {"tenant": "acme", "agent": "a"}
    wanted = terms(
        _AMOUNTS[random.randrange(1, 15)],
        action=("llm.completion", "sim"),
        levels=levels,
        ttl=choice(_TTLS),
        grace_period=choice(_GRACES),
        overage_policy=choice(_OVERAGE),
        dry_run=(drawn := random.random()) < 0.05,
        observe=drawn > 0.95,
    )
    return Plan(
        name=name,
        terms=wanted,
        key=f"own-{name}" if random.random() < 0.15 else None,
        wait=choice((0.0, 0.0, 1.0, 30.0)),
        policy=choice(_POLICIES),
        unreported=choice(_UNREPORTED),
        on_error=choice(_ON_ERROR),
        unguarded=random.random() < 0.2,
        steps=tuple(_step(random, f"{name}.{at}", depth) for at in range(choice((0, 1, 2, 3)))),
        ending=choice(_ENDINGS),
        actual=_AMOUNTS[random.randrange(0, 25)],
    )


def _step(random: Random, name: str, depth: int) -> Step:
    drawn = random.random()
    if drawn < 0.35:
        return Pause(random.choice((0.01, 0.5, 2.0, 8.0, 70.0)))
    if drawn < 0.4:
        return Ask()
    if drawn < 0.5:
        return Spend(draw(random, name, depth=depth + 1))
    if drawn < 0.67:
        return Report(_AMOUNTS[random.randrange(0, 25)])
    if drawn < 0.85 or depth > 1:
        return Extend(random.choice((500, 5_000, 60_000)))
    return Nested(draw(random, name, depth=depth + 1))
