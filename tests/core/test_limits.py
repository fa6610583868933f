"""A limit's account and its flows, effect by effect: each branch once, without threads and without luck."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from cycles._core import limit_flows, limits, section_flows, shares
from cycles._core.effects import NewKey, Notify, Record
from cycles._core.grant import Grant
from cycles._core.limits import Account, Lack, Piece, Share
from cycles._core.record_format import dump, load
from cycles._core.requests import terms
from cycles._core.retry import NO_RETRY, RetryPolicy
from cycles._core.section import Section
from cycles.amounts import tokens
from cycles.errors import BudgetExceeded
from cycles_api.models import ReservationCreateResponse
from cycles_api.models.action import Action

from .world import applied, committed, granted, refusal, released

LEVELS = {"tenant": "acme"}
RUN = terms(tokens(10), action=("agent.run", "r"), levels=LEVELS)


def wanted(amount, name="t"):
    return terms(tokens(amount), action=("tool", name), levels=LEVELS)


def account(amount=10, piece=None):
    return Account(tokens(amount), lock=nullcontext(), name="limit", piece=piece)


def reserve(amount):
    return section_flows.begin(RUN.of(amount), NO_RETRY)


def begun(world, amount=10, piece=None):
    made = account(amount, piece)
    world.answers = [granted()]
    world.run(limit_flows.begin(made, reserve))
    return made


def admit(made, amount, *, wait=0.0, policy=NO_RETRY, name="t"):
    asked = wanted(amount, name)
    return limit_flows.admit(made, asked, policy, reserve, lambda: section_flows.begin(asked, NO_RETRY), wait=wait)


def test_a_section_is_admitted_charged_and_told(world):
    made = begun(world)
    section = world.run(admit(made, 6))
    assert (made.numbers, section.reservation_id, section.is_lost) == ((0, 6, 1), None, False)
    world.run(section_flows.commit(section, tokens(7)))
    assert (made.numbers, world.told[-1].via) == ((7, 0, 1), "limit")
    assert world.records[-1].actual.amount == 7
    assert len(world.calls) == 1


def test_a_lost_lease_is_seen_inside(world):
    made = begun(world)
    section = world.run(admit(made, 6))
    made.holds[0].section.lease_lost = True
    assert (section.state, section.is_lost, section.leased) == ("LOST", True, made.holds[0].section)


def test_a_piece_that_another_one_asks_for_is_waited_for(world):
    made = begun(world, 10, 4)
    ahead = made.admit(8)
    assert ahead == Piece(4, 4)
    assert made.admit(8) is Lack.ASKED
    flow = admit(made, 8)
    asked = next(flow)
    assert (type(asked).__name__, asked.seconds) == ("Sleep", 0.005)
    world.answers = [granted(reservation_id="res-2")]
    section = world.run(reserve(tokens(4)))
    assert made.grants(section, 4, section.grant)
    made.unasked(ahead)
    assert type(flow.send(None)).__name__ == "Notify"


def test_the_least_that_would_do_is_asked_for_when_a_piece_is_denied(world):
    made = begun(world, 10, 4)
    world.answers = [refusal(409, "BUDGET_EXCEEDED"), granted(reservation_id="res-2")]
    world.run(admit(made, 5))
    assert [call.arguments["body"].estimate.amount for call in world.calls] == [4, 4, 1]


def test_a_denied_piece_is_the_authoritys_denial(world):
    made = begun(world, 10, 4)
    world.answers = [refusal(409, "BUDGET_EXCEEDED"), refusal(409, "BUDGET_EXCEEDED")]
    with pytest.raises(BudgetExceeded) as caught:
        world.run(admit(made, 5))
    assert caught.value.limit is None
    assert made.numbers == (0, 0, 0)


def test_waiting_ends_with_its_time(world):
    made = begun(world)
    world.run(admit(made, 8))
    with pytest.raises(BudgetExceeded):
        world.run(admit(made, 8, wait=1.0, policy=RetryPolicy()))
    assert world.now >= 101.0


def test_a_section_that_finds_its_limit_ended_is_reserved_by_itself(world):
    made = begun(world)
    world.answers = [released()]
    world.run(limit_flows.end(made, "k-end"))
    world.answers = [granted(reservation_id="res-9")]
    assert world.run(admit(made, 1)).reservation_id == "res-9"
    assert made.admit(1) is Lack.ENDED
    assert world.run(limit_flows.end(made, "k-end")) == []


def test_a_piece_that_comes_after_the_end_is_given_back(world):
    made = begun(world, 10, 4)
    piece = made.admit(8)

    def late(amount):
        section = yield from reserve(amount)
        made.ends()
        return section

    world.answers = [granted(reservation_id="res-2"), released()]
    world.run(limit_flows.take_ahead(made, piece, late))
    assert world.log[-1] == "release_reservation"
    assert not made.grants(None, 4, None)


def test_nothing_is_asked_for_a_limit_that_has_ended(world):
    made = begun(world, 10, 4)
    piece = made.admit(8)
    made.ends()
    world.calls.clear()
    world.run(limit_flows.take_ahead(made, piece, reserve))
    assert world.calls == []
    assert made.ahead() is None


def test_after_a_denial_nothing_is_asked_for_ahead(world):
    made = account(10, 4)
    world.answers = [refusal(409, "BUDGET_EXCEEDED")]
    world.run(limit_flows.begin(made, reserve))
    assert (made.ahead(), world.notes[-1]) == (None, "piece not granted")
    world.run(limit_flows.begin(made, reserve))
    assert world.answers == []


def test_a_job_asks_for_the_next_piece_and_says_when_it_is_over(world):
    made = begun(world, 10, 4)
    world.run(admit(made, 3))
    over = []
    job = limit_flows.NextPiece(made, made.ahead(), reserve, lambda: over.append(made.granted), due=1.0)
    world.answers = [granted(reservation_id="res-2")]
    world.run(job.attempt())
    assert (over, job.is_needed, job.due) == ([8], False, 1.0)
    assert made.unkept() == made.holds
    assert made.unkept() == []


def test_the_end_charges_each_piece_and_releases_what_is_unused(world):
    made = begun(world, 12, 4)
    for number, amount in enumerate((4, 4), 2):
        world.answers = [granted(reservation_id=f"res-{number}")]
        piece = made.ahead() or made._ask(8)
        world.run(limit_flows.take_ahead(made, Piece(amount, amount), reserve))
        assert piece.amount == 4
    section = world.run(admit(made, 5))
    world.run(section_flows.report(section, tokens(6), None, None))
    world.run(section_flows.report(section, tokens(2), None, None))
    assert [hold.assigned for hold in made.holds] == [2, 0, 0]
    world.run(section_flows.commit(section, tokens(6)))
    made.holds[2].section.leave(section_flows.Happened.RELEASE_ENDED)  # by hand
    world.answers = [committed(4), committed(2)]
    ended = world.run(limit_flows.end(made, "k-end"))
    assert [settlement.via for settlement in ended] == ["commit", "commit"]
    bodies = [call.arguments["body"].metadata for call in world.calls[-2:]]
    assert bodies[0]["limit"]["sections"] == 1
    assert bodies[1] == {"limit": {"piece": 2, "first": "res-1"}}


def test_what_is_over_goes_to_the_last_piece(world):
    made = begun(world, 4, 4)
    section = world.run(admit(made, 4))
    second = world.run(section_flows.begin(RUN, NO_RETRY)) if world.answers else None
    assert second is None
    made.holds.append(limits.Hold(made.holds[0].section, 0))
    world.run(section_flows.commit(section, tokens(9)))
    assert [hold.assigned for hold in made.holds] == [4, 5]


def test_reports_of_sections_that_outlive_the_limit_get_records_of_their_own(world):
    made = begun(world)
    late, gone = world.run(admit(made, 3)), world.run(admit(made, 3))
    for section in (late, gone):
        world.run(section_flows.report(section, tokens(2), None, None))
    gone.leave(section_flows.Happened.RELEASE_ENDED)
    inside = world.run(admit(made, 3))
    world.run(section_flows.commit(inside, tokens(1)))
    world.answers = [committed(1)]
    world.run(limit_flows.end(made, "k-end"))
    own = [pending for pending in world.records if pending.reservation_id is None]
    assert [(pending.actual.amount, pending.by_event, pending.provisional) for pending in own] == [(2, True, True)]
    world.answers = [applied()]
    assert world.run(section_flows.commit(late, tokens(3))).via == "event"
    assert world.run(section_flows.release(gone, None)) if gone.is_open else True


def test_a_nested_limit_leaves_its_record_to_the_outer_one(world):
    outer, inner = begun(world), account(6)
    world.run(
        limit_flows.begin(
            inner, lambda amount: limit_flows.admit(outer, RUN.of(amount), NO_RETRY, reserve, lambda: reserve(amount))
        )
    )
    late = world.run(admit(inner, 3))
    world.run(section_flows.report(late, tokens(2), None, None))
    assert (outer.numbers, world.records[-1].actual.amount) == ((0, 6, 1), 2)
    world.run(limit_flows.end(inner, "k-end"))
    assert outer.numbers == (0, 0, 1)
    assert late.provisional.by_event


def test_one_puts_the_spend_on_record_at_a_time(world):
    made = begun(world)
    assert made.begins_recording()
    assert world.run(shares.grow(made)) is None
    assert made.unrecorded() == []
    assert made.begins_recording()
    made.ends()
    assert made.unrecorded() == []


def test_an_interrupt_leaves_no_spend_off_the_record(world):
    """Others count on whoever has the turn; it goes on with it, and then the interrupt comes out."""
    made = begun(world)
    section = world.run(admit(made, 3))
    made.report(section.share, 2)
    flow = shares.grow(made)
    assert isinstance(next(flow), NewKey)
    assert isinstance(flow.throw(KeyboardInterrupt()), NewKey)
    record = flow.send("key-9")
    assert isinstance(record, Record)
    assert record.pending.actual == tokens(2)
    with pytest.raises(KeyboardInterrupt):
        flow.send(True)
    assert (made.is_recording, made.holds[0].recorded) == (False, 2)


def test_a_second_interrupt_gives_up_the_turn(world):
    made = begun(world)
    section = world.run(admit(made, 3))
    made.report(section.share, 2)
    flow = shares.grow(made)
    next(flow)
    flow.throw(KeyboardInterrupt())
    with pytest.raises(SystemExit):
        flow.throw(SystemExit())
    assert (made.is_recording, made.holds[0].recorded) == (False, 0)
    closed = shares.grow(made)
    next(closed)
    closed.close()
    assert not made.is_recording


def test_an_interrupted_admission_holds_nothing(world):
    made = begun(world)
    flow = admit(made, 3)
    assert isinstance(next(flow), Notify)
    assert made.numbers == (0, 3, 1)
    with pytest.raises(KeyboardInterrupt):
        flow.throw(KeyboardInterrupt())
    assert made.numbers == (0, 0, 1)


def test_a_section_that_outlives_its_limit_has_one_key_for_its_reports(world):
    """The end of the limit and the section put its report on record at the same time."""
    made = begun(world)
    section = world.run(admit(made, 3))
    world.run(section_flows.report(section, tokens(2), None, None))
    world.answers = [released()]
    world.run(limit_flows.end(made, "key-e"))
    section.provisional = None
    ours, theirs = (shares.keep_reported(section, tokens(2)) for _ in range(2))
    next(ours), next(theirs)
    ours.send("key-a")
    assert theirs.send("key-b").pending.key == section.provisional.key
    late = shares.keep_reported(section, tokens(3))
    assert isinstance(next(late), Record)
    section.provisional = None
    late = shares.keep_reported(section, tokens(3))
    next(late)
    section.leave(section_flows.Happened.COMMIT_WANTED)
    with pytest.raises(StopIteration):  # what is charged meanwhile is not recorded any more
        late.send("key-c")
    assert section.provisional.metadata["recovery_reason"] == "limit_ended"


def test_a_hold_that_has_ended_keeps_no_record(world):
    made = begun(world)
    section = world.run(admit(made, 3))
    made.holds[0].section.leave(section_flows.Happened.RELEASE_ENDED)
    world.records.clear()
    world.run(section_flows.report(section, tokens(2), None, None))
    assert world.records == []
    world.run(section_flows.release(section, "done"))
    assert made.numbers == (0, 0, 1)


def test_what_is_dropped_counts_what_it_reported(world):
    made = begun(world)
    for reported in (0, 2):
        section = world.run(admit(made, 3))
        if reported:
            world.run(section_flows.report(section, tokens(reported), None, None))
        assert shares.drop(section, section.share)
        assert not shares.drop(section, section.share)
    assert made.waiting_may_help()
    assert isinstance(made.admit(8), Share)
    assert made.numbers == (2, 8, 3)


def test_dry_runs_ask_the_account(world):
    made = begun(world)
    dry = terms(tokens(3), action=("tool", "t"), levels=LEVELS, dry_run=True)
    large = terms(tokens(30), action=("tool", "t"), levels=LEVELS, dry_run=True)
    for asked, decision in ((dry, "ALLOW"), (large, "DENY")):
        flow = limit_flows.admit(made, asked, NO_RETRY, reserve, lambda: reserve(tokens(1)))
        assert world.run(flow).grant.response.decision == decision


def test_news_are_told_once():
    made = account()
    made.granted = 10
    made.holds.append(limits.Hold(Section(RUN, _grant(), NO_RETRY), 10))
    share = made.admit(8)
    assert not made.take_news()
    assert made.settle(share, RUN.action, 8)
    assert not made.settle(share, RUN.action, 8)
    assert not made.report(share, 1)
    assert (made.take_news(), made.take_news(), made.is_reached) == (True, False, False)
    assert made.admit(3) is Lack.LIMIT
    assert made.admit(3) is Lack.LIMIT
    assert (made.take_news(), made.take_news(), made.is_reached) == (True, False, True)


def test_the_breakdown_is_bounded(world, monkeypatch):
    monkeypatch.setattr(limits, "_MOST_TALLIED", 25)
    made = begun(world, 1000)
    for number in range(30):
        made.settle(made.admit(number), Action("tool", f"{number}"), number)
    said = made.breakdown()
    assert (len(said["actions"]), said["sections"]) == (20, 30)
    assert said["others"] == {"count": 10, "amount": sum(range(5)) + sum(range(25, 30))}
    assert made.has_settled


def test_what_was_reported_is_on_record_by_action(world, monkeypatch):
    """The breakdown is made when a record is written, and has what open sections reported."""
    monkeypatch.setattr(limits, "_MOST_TALLIED", 2)
    made = begun(world, 12, 6)
    world.answers = [granted(reservation_id="res-2")]
    world.run(limit_flows.take_ahead(made, made._ask(8), reserve))
    for name, amount in (("a", 1), ("b", 2), ("c", 3)):
        section = world.run(admit(made, amount, name=name))
        world.run(section_flows.report(section, tokens(amount), None, None))
        if name == "a":
            world.run(section_flows.commit(section, tokens(1)))
    idle = world.run(admit(made, 1, name="d"))
    assert world.run(section_flows.release(idle, None)).attempts == 0
    first, second = (hold.section.provisional for hold in made.holds)
    actions = [{"kind": "tool", "name": name, "count": 1, "amount": amount} for name, amount in (("b", 2), ("a", 1))]
    said = {"sections": made.numbers[2], "actions": actions, "others": {"count": 1, "amount": 3}}
    assert first.said == {"actual_source": "reported", "limit": said}
    assert second is None
    kept = load(dump(first, None, ""))[0]
    assert (kept.actual, kept.said) == (tokens(6), first.said)
    assert kept.as_event().event_body().metadata["limit"] == first.as_event().metadata["limit"] == said


def test_a_copy_in_a_fork_has_a_lock_of_its_own():
    made = account()
    made.forked(lock := nullcontext())
    assert made._lock is lock


def _grant():
    response = ReservationCreateResponse.from_dict(
        {"decision": "ALLOW", "reservation_id": "res-1", "affected_scopes": ["tenant:acme"], "expires_at_ms": 1}
    )
    return Grant(response, {}, sent_at=0.0, received_at=0.0)


def test_sections_of_one_action_are_counted_together(world):
    made = begun(world)
    for _ in range(2):
        section = world.run(admit(made, 3))
        world.run(section_flows.commit(section, tokens(1)))
    (row,) = made.breakdown()["actions"]
    assert (row["count"], row["amount"]) == (2, 2)


def test_a_section_that_outlives_its_limit_is_released_by_itself(world):
    made = begun(world)
    section = world.run(admit(made, 3))
    world.answers = [released()]
    world.run(limit_flows.end(made, "k-end"))
    assert world.run(section_flows.release(section, "done")).attempts == 0
    assert made.numbers == (0, 0, 1)


def test_a_limit_that_ends_while_a_section_waits_for_room(world):
    made = begun(world)
    world.run(admit(made, 8))
    flow = admit(made, 8, wait=60.0, policy=RetryPolicy())
    effect = next(flow)
    while type(effect).__name__ != "Sleep":
        effect = flow.send(world.perform(effect))
    made.ends()
    world.answers = [granted(reservation_id="res-9")]
    assert world.run(_resumed(flow)).reservation_id == "res-9"


def _resumed(flow):
    """Go on with *flow*, which waits for the answer to a Sleep."""
    return (yield from flow)


def test_a_commit_whose_limit_another_thread_ends_meanwhile_is_charged_under_a_key(world, monkeypatch):
    """The section is inside when it looks, and outlives its limit when it decides."""
    made = begun(world)
    section = world.run(admit(made, 3))
    decide = section_flows.decide_commit

    def late(decided, key):
        made.ends()
        return decide(decided, key)

    monkeypatch.setattr(section_flows, "decide_commit", late)
    world.answers = [applied()]
    assert world.run(section_flows.commit(section, tokens(2))).via == "event"
    assert world.records[-1].key


def test_a_refusal_says_what_helps_with_a_limit(world):
    made = Account(tokens(10), lock=nullcontext(), name="limit", owner="the limit")
    world.answers = [granted()]
    world.run(limit_flows.begin(made, reserve))
    with pytest.raises(BudgetExceeded, match=r"was not asked; ask for less, raise the limit, or end the run"):
        world.run(admit(made, 11))
