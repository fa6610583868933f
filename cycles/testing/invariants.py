"""What must hold after every effect, whatever goes wrong. Nothing here asks the core what is right."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from cycles.testing.faults import Fault
from cycles.testing.violation import Broken, must

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cycles._core.effects import Call
    from cycles._core.records import Floor, Pending
    from cycles._core.section import Section
    from cycles.testing.authority import SimulatedAuthority
    from cycles.testing.cases import Case
    from cycles.testing.disk import Disk
    from cycles.testing.messages import Raw

_SETTLES: Final = {"commit_reservation": False, "create_event": True}
"""Operations that charge, and whether that is by event."""

_ENDS: Final = ("commit", "end", "release")
"""Intents of a section's own that settle it."""

_MANY: Final = ("extend_reservation", "decide")
"""Operations of which a section may have several intents."""

_MOST_A_SECOND: Final = 64
"""Requests of one section in a virtual second: waiting asks at most every 50 ms, three requests a time."""

_MOST_WITHOUT_PAUSE: Final = 24
"""Requests of one section between two real pauses: full jitter may choose no pause, but attempts are bounded."""

_REAL_PAUSE: Final = 0.04

LONGEST_FLOOR: Final = 3600.0
"""Seconds of a Retry-After that count, whatever is sent."""

_ALLOWS: Final = ("ALLOW", "ALLOW_WITH_CAPS")


class Invariants:
    """Watches one schedule; every method raises `Broken`.

    Attributes:
        owners: The section of each journal file.
    """

    def __init__(self, authority: SimulatedAuthority) -> None:
        self._authority: Final = authority
        self._bodies: Final[dict[tuple[str, str], str]] = {}
        self._owners: Final[dict[str, tuple[Case, str]]] = {}
        self._recorded: Final[set[tuple[str, bool]]] = set()
        self.owners: Final[dict[str, Case]] = {}
        self._floors: Final[dict[str, tuple[str, int, Floor]]] = {}

    # -- the ledger ----------------------------------------------------------------------------------------------------
    def after_effect(self) -> None:
        """Check the ledger against itself, and its charges against the requests that made them."""
        books, authority = self._authority.books, self._authority
        live = [hold for hold in books.holds.values() if hold.status == "ACTIVE"]
        for row in books.budgets.values():
            if row.remaining != row.allocated - row.reserved - row.spent - row.debt:
                raise Broken("remaining = allocated - reserved - spent - debt", row)
            if min(row.allocated, row.reserved, row.spent, row.debt) < 0:
                raise Broken("only remaining may be negative", row)
            held = 0
            for hold in live:
                if row.scope_path in hold.budgeted:
                    held += hold.estimate
            if row.reserved != held:
                raise Broken("reserved is the sum of the active reservations", f"{row}, held {held}")
        if authority.charged != authority.taken:
            raise Broken("nothing is charged without a commit or an event", f"{authority.charged}, {authority.row}")

    def handled(self, case: Case) -> None:
        """Check what *case* was charged after one of its requests, on time or late."""
        most = case.known or 0
        must(case.charges <= most, "one intent is charged once", f"{case.name}: {case.charges} of {most}")

    # -- requests ------------------------------------------------------------------------------------------------------
    def leaves(self, case: Case, who: str, intent: str, call: Call[Any], now: float) -> None:
        """Check a request that is about to leave."""
        name = call.operation.name
        is_left = intent.startswith("job")  # by a section's end, to the background
        family = "settle" if name in _SETTLES else intent if name in _MANY or is_left else name
        # Renewals count windows of time, not attempts (docs/protocol.md, Heartbeat); a wait for budget has a bound too.
        counted = name not in ("create_reservation", "list_reservations") and intent != "renew"
        self._in_time(case, f"{who} {intent} {name}", now, counted=counted)
        if "body" in call.arguments:
            self._under_its_key(case, who, family, call)
        before = {"create_reservation", "list_reservations"} | (
            {"release_reservation"} if case.plan.terms.observe else set()
        )
        must(
            family in before or case.section is not None or case.without_hold,
            "nothing but a reserve leaves before the section runs",
            f"{case.name}: {name}",
        )
        if family == "settle":
            self._may_settle(case, name, call)
        elif name in ("release_reservation", "extend_reservation"):
            if is_left:
                case.keys.setdefault(name, [])
            must("settle" not in case.keys, "no release and no extend after a possible commit", f"{case.name}: {name}")
            must(
                name != "extend_reservation" or "release_reservation" not in case.keys,
                "no extend after a release",
                case.name,
            )

    def _in_time(self, case: Case, what: str, now: float, *, counted: bool) -> None:
        sent = case.sent[what] = case.sent.get(what, 0) + 1
        if counted:
            most = case.plan.policy.max_attempts
            must(sent <= most, "an intent has no more attempts than the policy says", f"{case.name}: {what}, {sent}")
        case.restless += 1
        must(case.restless <= _MOST_WITHOUT_PAUSE, "no loop without a pause", f"{case.name}: {what}")
        case.moments.append(now)
        if len(case.moments) > _MOST_A_SECOND:
            since = now - case.moments.pop(0)
            must(since > 1.0, "requests are spread over time", f"{case.name}: {_MOST_A_SECOND} in {since:.3f} s")

    def pauses(self, case: Case, seconds: float) -> None:
        """Note that a section waits."""
        if seconds >= _REAL_PAUSE:
            case.restless = 0

    def holds_up(self, case: Case, intent: str, seconds: float) -> None:
        """Check that the end of a section holds the program up no longer than its policy says."""
        bound = case.plan.policy.settle_wait
        if bound is None or intent not in _ENDS:
            return
        waited = case.waited[intent] = case.waited.get(intent, 0.0) + seconds
        must(
            waited <= bound + 0.001, "an end waits for the authority as long as it may", f"{case.name}: {waited:.3f} s"
        )

    def _under_its_key(self, case: Case, who: str, family: str, call: Call[Any]) -> None:
        name, body = call.operation.name, call.arguments["body"].to_dict()
        key, text = body["idempotency_key"], json.dumps(body, sort_keys=True)
        known = self._bodies.setdefault((key, name), text)
        must(known == text, "the same key is the same body", f"{case.name}: {known} and {text}")
        owner = self._owners.setdefault(key, (case, family))
        must(owner == (case, family), "a new intent has a new key", f"{key} of {owner[0].name}, {case.name} {family}")
        keys = case.keys.setdefault(family, [])
        if key in keys:
            return
        keys.append(key)
        may_be_new = len(keys) == 1
        if family == "create_reservation":  # only a stored DENY has to be asked for under another key
            may_be_new = may_be_new or _was_stored_deny(case, who)
        elif family == "renew":  # each renewal is an intent of its own, once the one before is known
            may_be_new = may_be_new or _was_extended(case, who)
        must(may_be_new, "all attempts of an intent have one key", f"{case.name} {family}: {keys}")

    def _may_settle(self, case: Case, name: str, call: Call[Any]) -> None:
        body = call.arguments["body"]
        must(case.known == body.actual.amount, "what is sent is what was reported", f"{case.name}: {body.actual}")
        must("release_reservation" not in case.keys, "no commit after a release", case.name)
        must(
            (body.idempotency_key, _SETTLES[name]) in self._recorded,
            "what is settled is on record before it leaves",
            f"{case.name}: {name}",
        )

    def arrives(self, case: Case, who: str, call: Call[Any], raw: Raw | None, fault: Fault | None) -> None:
        """Note an answer that reaches a section."""
        name = call.operation.name
        family = f"{'settle' if name in _SETTLES else name} {who}"
        case.answered.pop(family, None)
        if raw is None:
            return
        case.answered[family] = (raw.status, raw.body, fault)
        if fault is not None or raw.body is None or raw.status != call.operation.success:
            return
        if name == "create_reservation":
            case.allowed = raw.body["decision"] in _ALLOWS
        elif name == "list_reservations":
            case.allowed = any(row["status"] == "ACTIVE" for row in raw.body["reservations"])
        elif name in _SETTLES:
            charged = raw.body.get("charged")
            case.acknowledged = call.arguments["body"].actual.amount if charged is None else charged["amount"]

    # -- sections ------------------------------------------------------------------------------------------------------
    def opened(self, case: Case, section: Section) -> None:
        """Check that a section whose body is about to run may run."""
        hold = self._authority.books.holds.get(section.reservation_id or "")
        if case.plan.terms.dry_run:
            must(section.reservation_id is None, "a dry run holds nothing", case.name)
        elif case.plan.terms.observe:
            must(section.state == "OBSERVED" and section.reservation_id is None, "observing holds nothing", case.name)
        elif section.state == "UNRESERVED":
            must(case.plan.unguarded, "a section runs without a hold only where that is wanted", case.name)
            must(section.reservation_id is None, "a section without a hold has none", case.name)
            case.without_hold = True
        else:
            must(case.allowed, "a section runs only when it was allowed", case.name)
            must(
                hold is not None and hold.idempotency_key in case.keys["create_reservation"],
                "a section has the reservation that was made for it",
                f"{case.name}: {section.reservation_id}",
            )

    def refused(self, case: Case, error: Exception) -> None:
        """Check that a section whose body does not run may not run."""
        must(not case.allowed, "a section that was allowed runs", f"{case.name}: {error!r}")

    def records(self, case: Case, name: str, pending: Pending) -> None:
        """Note the record that is written to the file *name*."""
        self._recorded.add((pending.key, pending.by_event))
        must(self.owners.setdefault(name, case) is case, "no two sections share a file", case.name)

    def sets_floor(self, who: str, at: int, pending: Pending, clock_ms: int) -> None:
        """Note a floor that the program *who* puts on record as the *at*-th effect."""
        self._floors.pop(pending.key, None)
        # A floor set later than now comes from just before the time of day was set back.
        if pending.floor is not None and pending.floor.set_at_ms <= clock_ms:
            self._floors[pending.key] = (who, at, pending.floor)

    def waits_out(self, who: str, began: int, call: Call[Any], clock_ms: int) -> None:
        """Check that a settlement does not leave before the floor that its program set, or found when it began."""
        if call.operation.name not in _SETTLES:
            return
        setter, at, floor = self._floors.get(call.arguments["body"].idempotency_key, ("", 0, None))
        bound = floor is not None and (setter == who or began >= at)
        must(not bound or floor is None or clock_ms >= floor.until_ms, "a floor on record is waited out", who)

    def comes_again(self, seconds: float) -> None:
        """Check how long a recovery waits for floors."""
        must(seconds <= LONGEST_FLOOR, "a floor is no longer than the authority asked for", f"{seconds} s")

    def clock_set(self) -> None:
        """Note that the time of day was set: it no longer tells whether earlier floors are waited out."""
        self._floors.clear()

    def replays(self, case: Case, pending: Pending) -> None:
        """Note that a recovery is about to settle *pending*; a section that never ended owes what it reported last."""
        if pending.provisional:
            case.known = pending.actual.amount

    def died(self, case: Case, on_disk: Pending | None) -> None:
        """Note that a section's process was killed: only the disk still knows its spend."""
        case.died = case.was_interrupted = True
        if on_disk is not None:
            case.known = on_disk.actual.amount
        elif "settle" not in case.keys:
            case.known = None

    def forgets(self, case: Case, who: str, pending: Pending) -> None:
        """Check that a record that is dropped is settled or refused for good."""
        status, body, fault = case.answered.get(f"settle {who}", _NO_ANSWER)
        refused = 400 <= status < 500 and body is not None and status not in (401, 403, 429)
        refused = refused and fault is not Fault.UNINTELLIGIBLE
        given_up = pending.provisional and case.section is not None and case.section.state == "RELEASED"
        must(
            case.acknowledged is not None or refused or given_up,
            "a record is kept until its settlement is known",
            case.name,
        )

    def ended(self, case: Case) -> None:
        """Check that a section did what its own code asked for."""
        section, settled = case.section, "settle" in case.keys
        is_observed = section is not None and case.plan.terms.observe
        must(not (settled and is_observed), "what is only observed is not charged", case.name)
        if section is None or not case.has_ended or case.plan.terms.dry_run or is_observed:
            must(
                not settled or section is not None or case.without_hold,
                "a section that did not run is not charged",
                case.name,
            )
            return
        released = section.state in ("RELEASED", "EXPIRED")
        # Time that jumps may leave none for a first attempt; a client's background releases it then.
        was_late = section.settlement is not None and section.settlement.attempts == 0
        must(
            not released
            or case.was_interrupted
            or case.without_hold
            or was_late
            or section.is_unreported
            or "release_reservation" in case.keys,
            "what is released is told to the authority",
            case.name,
        )
        must(settled or not case.owes, "what a section spent before it raised is settled", case.name)
        if case.known is not None:
            must(settled or released or section.state == "UNSETTLED", "what was spent is settled", case.name)
        elif case.plan.unreported != "error" or released:
            must(not settled and released, "what spent nothing is released", case.name)
        settlement = section.settlement
        if section.state == "COMMITTED" and settlement is not None and settlement.charged is not None:
            must(
                settlement.charged.amount == case.acknowledged == case.charges,
                "a settlement says what was charged",
                f"{case.name}: {settlement}, {case.charges}",
            )
            uncovered = 0 if settlement.uncovered is None else settlement.uncovered.amount
            must(
                case.known == case.charges + uncovered,
                "what was spent is charged, or said to be uncovered",
                f"{case.name}: {settlement}, {case.known} known",
            )

    # -- the end -------------------------------------------------------------------------------------------------------
    def at_quiescence(self, cases: Iterable[Case], disk: Disk) -> None:
        """Check a schedule when all is over: programs, replays, late requests, and every lease."""
        live = [hold for hold in self._authority.books.holds.values() if hold.status == "ACTIVE"]
        must(not live, "every hold ends", live)
        must(not disk.files, "every record is settled or refused", list(disk.files))
        must(disk.quarantine == disk.torn, "what is torn, and only that, is set aside", disk.quarantine ^ disk.torn)
        for case in cases:
            if case.acknowledged is None and case.was_refused:
                continue  # a refusal says "not now": an attempt before it may arrive later and be taken, once
            acknowledged = case.acknowledged or 0
            must(
                acknowledged == case.charges,
                "what was acknowledged is what was charged",
                f"{case.name}: {acknowledged} acknowledged, {case.charges} charged",
            )
        total = sum(case.charges for case in cases)
        must(total == self._authority.taken, "the ledger's spend is the sections' spend", f"{total}")


_NO_ANSWER: Final = (0, None, None)


def _was_extended(case: Case, who: str) -> bool:
    status, _, fault = case.answered.get(f"extend_reservation {who}", _NO_ANSWER)
    return status == 200 and fault is None


def _was_stored_deny(case: Case, who: str) -> bool:
    status, body, _ = case.answered.get(f"create_reservation {who}", _NO_ANSWER)
    decision = None if body is None else body.get("decision")
    return status == 200 and isinstance(decision, str) and decision not in _ALLOWS and case.plan.key is None
