"""The simulator can fail: each bug, planted on purpose, is found within a bounded number of seeds."""

from __future__ import annotations

import pytest
from attrs import evolve

from cycles._core import attempts, endings, flows, queries, records, recovery, retry, section_flows, settlements
from cycles._core.effects import Call, Jitter, NewKey, Sleep
from cycles._core.lifecycle import State
from cycles._core.outcomes import Verdict, judge
from cycles._core.records import Pending
from cycles.local.ledger import charging, events, leases
from cycles.local.ledger import settlements as ledger_settlements
from cycles.testing.simulate import search

_REPLAYED = "what was charged is replayed, not refused"

SEEDS = range(2000)
"""Some three seconds; these bugs need fewer than 200 of them."""


def found(*invariants: str) -> None:
    """The simulator breaks one of *invariants* within SEEDS."""
    summary = search(SEEDS)
    assert summary.found is not None, "no seed finds it"
    print(f"found at seed {summary.found.seed}: {summary.found.broken}")
    assert summary.found.broken.invariant in invariants


# -- the core ----------------------------------------------------------------------------------------------------------
@pytest.mark.slow
@pytest.mark.parametrize("module", [flows, queries, settlements], ids=["release", "decide", "settle"])
def test_a_new_key_for_each_attempt(monkeypatch, module):
    def until_known(operation, arguments, policy, throttled=None, *, ends=None, usual=attempts.until_known):
        if ends is not None:
            return (yield from usual(operation, arguments, policy, throttled, ends=ends))
        for attempt in range(1, policy.max_attempts + 1):
            answer = yield from Call(operation, **arguments)
            if judge(operation, answer) not in (Verdict.AMBIGUOUS, Verdict.THROTTLED):
                return answer, attempt
            yield from Sleep(policy.backoff(attempt, (yield from Jitter())))
            arguments["body"].idempotency_key = yield from NewKey()
        return answer, policy.max_attempts

    monkeypatch.setattr(module, "until_known", until_known)
    found("all attempts of an intent have one key", "what is settled is on record before it leaves")


def test_an_answer_that_contradicts_its_request_is_believed(monkeypatch):
    monkeypatch.setattr("cycles._core.effects.agreed", lambda operation, arguments, answer: answer)
    found(
        "a section has the reservation that was made for it",
        "a section runs only when it was allowed",
        "what was acknowledged is what was charged",
        "a settlement says what was charged",
        "no program fails",
    )


def test_an_end_that_waits_for_all_attempts(monkeypatch):
    def until_known(operation, arguments, policy, throttled=None, *, ends=None):
        return (yield from attempts.until_known(operation, arguments, policy, throttled))

    monkeypatch.setattr(settlements, "until_known", until_known)
    found("an end waits for the authority as long as it may")


def test_a_release_after_an_ambiguous_commit(monkeypatch):
    def commit(section, actual, *given, commit=section_flows.commit, **how):
        settlement = yield from commit(section, actual, *given, **how)
        if settlement.state is State.UNSETTLED:
            yield from flows.release(section.reservation_id, "commit failed", section.policy)
        return settlement

    monkeypatch.setattr(section_flows, "commit", commit)
    found("no release and no extend after a possible commit", "no commit after a release")


def test_a_second_settlement_after_an_interrupted_commit(monkeypatch):
    def end(section, end=section_flows.end, **how):
        if section.state is State.UNSETTLED and section.settlement is None:
            section._state = State.ACTIVE
            section._tickets.append(True)
        return (yield from end(section, **how))

    monkeypatch.setattr(section_flows, "end", end)
    found("all attempts of an intent have one key")


def test_a_release_of_what_was_spent_before_the_section_raised(monkeypatch):
    def end(section, end=section_flows.end, **how):
        return (yield from end(section, **{**how, "on_error": "release"}))

    monkeypatch.setattr(section_flows, "end", end)
    found("what a section spent before it raised is settled")


def test_a_charge_that_hides_what_it_did_not_cover(monkeypatch):
    def charged(*args, charged=endings.charged, **how):
        settlement = charged(*args, **how)
        settlement.uncovered = None
        return settlement

    monkeypatch.setattr(endings, "charged", charged)
    found("what was spent is charged, or said to be uncovered")


def test_a_loop_without_delay(monkeypatch):
    monkeypatch.setattr(retry.RetryPolicy, "delay", lambda self, attempt, jitter, retry_after=None: 0.0)
    found("an intent has no more attempts than the policy says")


@pytest.mark.slow
def test_waiting_without_delay(monkeypatch):
    monkeypatch.setattr(flows, "_LEAST_PAUSE", 0.0)
    monkeypatch.setattr(retry.RetryPolicy, "backoff", lambda self, attempt, jitter: 0.0)
    found("no loop without a pause")


def test_an_event_under_a_new_key_after_expiry(monkeypatch):
    def as_event(self, as_event=Pending.as_event):
        pending = as_event(self)
        return Pending(
            reservation_id=pending.reservation_id,
            terms=pending.terms,
            actual=pending.actual,
            key=f"{self.key}-event",
            by_event=True,
        )

    monkeypatch.setattr(Pending, "as_event", as_event)
    found("all attempts of an intent have one key")


def test_a_section_that_runs_whatever_the_decision(monkeypatch):
    monkeypatch.setattr(flows, "_granted", _granted_whatever)
    found("a section runs only when it was allowed")


def _granted_whatever(terms, answer, granted=flows._granted):
    if answer.parsed is not None:
        answer.parsed.decision = type(answer.parsed.decision)("ALLOW")
    return granted(terms, answer)


def test_a_charge_that_is_not_recorded_first(monkeypatch):
    class Unrecorded(settlements.Record):
        def __iter__(self):
            yield from ()
            return True

    monkeypatch.setattr(settlements, "Record", Unrecorded)
    found("what is settled is on record before it leaves")


def test_a_record_that_is_dropped_too_early(monkeypatch):
    def settled(pending, *args, settled=endings.settled, **kwargs):
        yield from endings.Forget(pending)
        return (yield from settled(pending, *args, **kwargs))

    monkeypatch.setattr(settlements, "settled", settled)
    found("a record is kept until its settlement is known")


def test_a_record_that_is_never_dropped(monkeypatch):
    class Kept(endings.Forget):
        def __iter__(self):
            yield from ()

    monkeypatch.setattr(endings, "Forget", Kept)
    found("every record is settled or refused", "no loop without a pause")


def test_a_floor_that_a_later_process_does_not_wait_out(monkeypatch):
    def impatient(pending, claim, recovery, timeout, recover=recovery._recover_one):
        pending = pending._changed(floor=None)
        yield from recover(pending, claim, recovery, timeout)

    monkeypatch.setattr(recovery, "_recover_one", impatient)
    found("a floor on record is waited out")


@pytest.mark.slow
def test_a_floor_that_trusts_a_clock_that_went_back(monkeypatch):
    monkeypatch.setattr(records.Floor, "again", lambda self, now_ms: self)
    found("a floor is no longer than the authority asked for")


def test_a_recovery_under_another_key(monkeypatch):
    def rekeyed(pending, claim, recovery, timeout, recover=recovery._recover_one):
        yield from recover(pending._changed(key=f"{pending.key}-again"), claim, recovery, timeout)

    monkeypatch.setattr(recovery, "_recover_one", rekeyed)
    found("all attempts of an intent have one key", "what is settled is on record before it leaves")


def test_an_event_for_a_hold_that_may_still_be_charged(monkeypatch):
    def hasty(operation, answer, judge=judge):
        verdict = judge(operation, answer)
        return Verdict.EXPIRED if verdict is Verdict.AMBIGUOUS and operation.name == "commit_reservation" else verdict

    monkeypatch.setattr(settlements, "judge", hasty)
    found("one intent is charged once", _REPLAYED)


def test_an_ambiguous_answer_that_is_taken_for_a_success(monkeypatch):
    def judged(operation, answer, judge=judge):
        verdict = judge(operation, answer)
        parsed = answer.parsed is not None
        return Verdict.DONE if verdict is Verdict.AMBIGUOUS and parsed else verdict

    monkeypatch.setattr(attempts, "judge", judged)
    monkeypatch.setattr(flows, "judge", judged)
    monkeypatch.setattr(settlements, "judge", judged)
    found("a record is kept until its settlement is known", "a section runs only when it was allowed")


# -- the ledger --------------------------------------------------------------------------------------------------------
def test_a_commit_that_forgets_to_give_the_rest_back(monkeypatch):
    def commit(books, hold, body, *, now_ms, commit=ledger_settlements.commit):
        answer = commit(books, hold, body, now_ms=now_ms)
        for row in list(books.budgets.values()):
            unused = answer.get("released", {"amount": 0})["amount"]
            books.put_budget(evolve(row, remaining=row.remaining - unused))
        return answer

    monkeypatch.setattr(ledger_settlements, "commit", commit)
    found("remaining = allocated - reserved - spent - debt")


def test_a_commit_that_leaves_the_hold(monkeypatch):
    def commit(books, hold, body, *, now_ms, commit=ledger_settlements.commit):
        answer = commit(books, hold, body, now_ms=now_ms)
        books.put_hold(evolve(books.hold(hold.reservation_id), status="ACTIVE"))
        return answer

    monkeypatch.setattr(ledger_settlements, "commit", commit)
    found("reserved is the sum of the active reservations")


def test_a_commit_that_is_not_replayed(monkeypatch):
    monkeypatch.setattr(ledger_settlements, "final_replay", lambda hold, status, body: None)
    found("what was charged is replayed, not refused")


def test_an_event_that_is_not_replayed(monkeypatch):
    def replayed_body(books, scope, key, digest, now_ms, replayed=events.replayed_body):
        return None if scope.startswith("event:") else replayed(books, scope, key, digest, now_ms)

    monkeypatch.setattr(events, "replayed_body", replayed_body)
    found("one intent is charged once", "what was acknowledged is what was charged", _REPLAYED)


def test_a_sweep_that_charges(monkeypatch):
    def sweep(books, now_ms, most=1000, sweep=leases.sweep):
        before = {hold.reservation_id for hold in books.overdue(now_ms, most)}
        swept = sweep(books, now_ms, most)
        for row in list(books.budgets.values()) if before else ():
            books.put_budget(evolve(row, spent=row.spent + 1, remaining=row.remaining - 1))
        return swept

    monkeypatch.setattr(leases, "sweep", sweep)
    found("nothing is charged without a commit or an event")


def test_spend_beyond_the_actual(monkeypatch):
    def spend(budgets, wanted, policy, spend=charging.spend):
        return spend(budgets, wanted + 1, policy)

    monkeypatch.setattr(ledger_settlements, "spend", spend)
    monkeypatch.setattr(events, "spend", spend)
    found("one intent is charged once", _REPLAYED)


@pytest.mark.slow
def test_without_a_bug_nothing_is_found():
    with pytest.raises(AssertionError, match="no seed finds it"):
        found()
