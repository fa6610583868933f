"""What the end of a guarded section does, row by row, as effects."""

from __future__ import annotations

import asyncio

import pytest

import cycles
from cycles._core import section_flows
from cycles._core.lifecycle import OPEN, Happened, State
from cycles._core.requests import terms
from cycles._core.retry import NO_RETRY
from cycles._core.section_flows import trouble_to_raise
from cycles.amounts import tokens, usd
from cycles_api.models import CommitResponse

from .world import LOST, committed, granted, refusal, released, reply


@pytest.fixture
def section(world, wanted):
    world.answers = [granted()]
    opened = world.run(section_flows.begin(wanted, NO_RETRY))
    world.log.clear()
    world.calls.clear()
    return opened


def sent(world):
    """The commit's amount and metadata, as they went over the wire."""
    (call,) = world.calls
    body = call.arguments["body"].to_dict()
    return call.operation.name, body.get("actual", {}).get("amount"), body.get("metadata")


def test_commit_then_end_does_nothing_more(world, section):
    world.answers = [committed()]
    world.run(section_flows.commit(section, tokens(7)))
    assert section.state is State.COMMITTED
    assert world.run(section_flows.end(section)) is None
    assert len(world.calls) == 1


def test_of_two_threads_that_end_it_between_a_look_and_a_write_one_gets_through(section):
    section._tickets.pop()  # the other one is there already, and has yet to write
    assert section.state in OPEN
    assert not section.leave(Happened.COMMIT_WANTED)
    assert section.state in OPEN


def test_release_then_end_does_nothing_more(world, section):
    world.answers = [released()]
    world.run(section_flows.release(section, "not needed"))
    assert section.state is State.RELEASED
    assert world.run(section_flows.end(section, raised=ValueError())) is None


def test_ended_well_with_a_report_commits_it(world, section):
    section.report(tokens(3), None, {"model": "a"})
    section.report(tokens(7), None, {"run": 1})
    world.answers = [committed()]
    world.run(section_flows.end(section))
    assert sent(world) == ("commit_reservation", 7, {"model": "a", "run": 1})


def test_actual_beats_an_earlier_report(world, section):
    section.report(tokens(3), None, None)
    world.answers = [committed()]
    world.run(section_flows.end(section, actual=tokens(7)))
    assert sent(world)[1] == 7


def test_unreported_estimate_commits_the_estimate_marked(world, section):
    world.answers = [committed(10)]
    world.run(section_flows.end(section, unreported="estimate"))
    assert sent(world) == ("commit_reservation", 10, {"actual_source": "estimate"})


def test_unreported_release_releases_with_a_warning(world, section):
    world.answers = [released()]
    world.run(section_flows.end(section, unreported="release"))
    assert sent(world)[0] == "release_reservation"
    assert "nothing reported, released" in world.notes


def test_unreported_error_sends_nothing(world, section):
    with pytest.raises(cycles.UnreportedSpend):
        world.run(section_flows.end(section, unreported="error"))
    assert world.calls == []


@pytest.mark.parametrize("raised", [ValueError("x"), asyncio.CancelledError(), KeyboardInterrupt(), GeneratorExit()])
def test_raised_with_nothing_reported_releases_with_the_type_as_reason(world, section, raised):
    world.answers = [released()]
    world.run(section_flows.end(section, raised=raised))
    assert world.calls[0].operation.name == "release_reservation"
    assert world.calls[0].arguments["body"].reason == type(raised).__name__


@pytest.mark.parametrize("raised", [ValueError("x"), asyncio.CancelledError(), KeyboardInterrupt(), GeneratorExit()])
def test_raised_with_spend_reported_commits_it(world, section, raised):
    section.report(tokens(4), None, None)
    world.answers = [committed(4)]
    world.run(section_flows.end(section, raised=raised))
    assert sent(world)[:2] == ("commit_reservation", 4)


def test_a_failing_actual_commits_the_estimate_marked_and_says_so(world, section):
    world.answers = [committed(10)]
    world.run(section_flows.end(section, actual_failed=ZeroDivisionError()))
    assert sent(world) == ("commit_reservation", 10, {"actual_source": "estimate"})
    assert "actual failed" in world.notes


def test_a_failing_actual_after_a_report_commits_the_report(world, section):
    section.report(tokens(4), None, None)
    world.answers = [committed(4)]
    world.run(section_flows.end(section, actual_failed=ZeroDivisionError()))
    assert sent(world) == ("commit_reservation", 4, None)


@pytest.mark.parametrize("raised", [ValueError("x"), asyncio.CancelledError(), KeyboardInterrupt(), GeneratorExit()])
def test_on_error_estimate_commits_the_estimate_marked(world, section, raised):
    world.answers = [committed(10)]
    world.run(section_flows.end(section, raised=raised, on_error="estimate"))
    assert sent(world) == ("commit_reservation", 10, {"actual_source": "estimate"})


def test_on_error_estimate_leaves_a_report_alone(world, section):
    section.report(tokens(4), None, None)
    world.answers = [committed(4)]
    world.run(section_flows.end(section, raised=ValueError(), on_error="estimate"))
    assert sent(world) == ("commit_reservation", 4, None)


def test_what_a_callable_made_of_the_exception_is_committed(world, section):
    world.answers = [committed(7)]
    world.run(section_flows.end(section, raised=ValueError(), actual=tokens(7)))
    assert sent(world) == ("commit_reservation", 7, None)


def test_a_failing_callable_of_on_error_commits_the_estimate_marked_and_says_so(world, section):
    world.answers = [committed(10)]
    world.run(section_flows.end(section, raised=ValueError(), actual_failed=ZeroDivisionError()))
    assert sent(world) == ("commit_reservation", 10, {"actual_source": "estimate"})
    assert "on_error failed" in world.notes


def test_a_charge_below_the_actual_says_what_is_not_covered(world, section):
    world.answers = [committed(7)]
    settlement = world.run(section_flows.commit(section, tokens(9)))
    assert (settlement.charged, settlement.uncovered) == (tokens(7), tokens(2))
    assert [details.uncovered for details in world.told] == [tokens(2)]
    assert world.notes.count("charged less than the actual") == 1


@pytest.mark.parametrize("charged", [{"unit": "TOKENS", "amount": 9}, {"unit": "USD_MICROCENTS", "amount": 1}])
def test_a_charge_in_full_or_in_a_unit_of_its_own_leaves_nothing_uncovered(world, section, charged):
    world.answers = [reply(200, CommitResponse.from_dict({"status": "COMMITTED", "charged": charged}))]
    settlement = world.run(section_flows.commit(section, tokens(7)))
    assert settlement.uncovered is None
    assert "charged less than the actual" not in world.notes


def test_a_second_settlement_is_refused_and_nothing_is_sent(world, section):
    world.answers = [committed()]
    world.run(section_flows.commit(section, tokens(7)))
    for again in (section_flows.commit(section, tokens(7)), section_flows.release(section, None)):
        with pytest.raises(cycles.AlreadySettled, match="res-1 is COMMITTED"):
            world.run(again)
    for late in ((tokens(1), None, None), (None, None, {"model": "a"})):
        with pytest.raises(cycles.AlreadySettled, match="can't report"):
            section.report(*late)
    assert len(world.calls) == 1


def test_of_two_commits_at_once_one_is_refused_and_nothing_is_sent_twice(world, section):
    first = section_flows.commit(section, tokens(7))
    next(first)  # asks for its key
    world.answers = [committed()]
    world.run(section_flows.commit(section, tokens(7)))
    with pytest.raises(cycles.AlreadySettled, match="res-1 is COMMITTED"):
        first.send("k-2")
    assert len(world.calls) == 1


def test_a_release_drops_what_was_on_record(world, section):
    world.run(section_flows.report(section, tokens(3), None, None))
    world.answers = [released()]
    world.run(section_flows.release(section, None))
    assert "Forget" in str(world.log)


def test_a_bad_amount_leaves_the_section_open(world, section):
    for bad in (usd("1"), 7, None, cycles.Amount(unit="TOKENS", amount=-1), cycles.Amount(unit="TOKENS", amount=2**63)):
        with pytest.raises(cycles.InvalidRequest):
            world.run(section_flows.commit(section, bad))
    assert section.state is State.ACTIVE
    assert world.calls == []


def test_bad_metadata_leaves_the_earlier_report(world, section):
    section.report(tokens(4), None, {"kept": True})
    with pytest.raises(cycles.InvalidRequest, match="actual"):
        section.report(usd(5), None, {"late": True})
    assert section.reported == tokens(4)
    assert section.metadata == {"kept": True}


def test_what_can_not_go_along_never_costs_the_charge(world, section):
    """Neither in a report nor in the commit; the log and the settlement say what was left out, once."""
    bad = {"bad": object(), "good": 1}
    world.run(section_flows.report(section, tokens(5), cycles.Metrics(tokens_input=-1, latency_ms=2), bad))
    assert section.reported == tokens(5)
    world.answers = [committed(5)]
    settlement = world.run(section_flows.commit(section, tokens(5), None, bad))
    sent = world.calls[-1].arguments["body"]
    assert (sent.actual, sent.metadata, sent.metrics.to_dict()) == (tokens(5), {"good": 1}, {"latency_ms": 2})
    assert [text.partition(":")[0].partition("=")[0] for text in settlement.left_out] == [
        "metadata",
        "metrics.tokens_input",
    ]
    assert world.notes.count("left out of the charge") == 1


@pytest.mark.parametrize("name", ["E" * 300, "\ud800", "Fehler\udfff" + "x" * 300])
def test_any_name_of_an_exception_is_a_reason(world, section, name):
    world.answers = [released()]

    class Named(type):
        @property
        def __name__(cls):  # a class statement takes no surrogates
            return name

    world.run(section_flows.end(section, raised=Named("Any", (Exception,), {})()))
    reason = world.calls[-1].arguments["body"].reason
    assert 0 < len(reason) <= 256
    assert reason.encode().decode() == reason


def test_an_exception_without_a_name_gives_no_reason(world, section):
    world.answers = [released()]
    world.run(section_flows.end(section, raised=type("", (Exception,), {})()))
    assert "reason" not in world.calls[-1].arguments["body"].to_dict()


def test_an_authority_that_only_observes_holds_and_settles_nothing(world, wanted):
    world.answers = [granted(reservation_id=None)]
    section = world.run(section_flows.begin(wanted, NO_RETRY))
    assert section.state is State.OBSERVED
    asked = len(world.calls)
    for _ in range(2):  # as often as a section likes
        world.run(section_flows.report(section, tokens(3), None, None))
        assert world.run(section_flows.commit(section, tokens(7))).state is State.OBSERVED
        assert world.run(section_flows.release(section, "why")).state is State.OBSERVED
    assert world.run(section_flows.end(section)) is None
    assert not section_flows.dropped(section)
    assert len(world.calls) == asked
    assert world.records == []


def test_a_dry_run_holds_and_settles_nothing(world):
    asked = terms(tokens(10), action=("k", "n"), levels={"tenant": "acme"}, dry_run=True)
    answer = granted(decision="DENY", reason_code="BUDGET_EXCEEDED")
    world.answers = [answer]
    section = world.run(section_flows.begin(asked, NO_RETRY))
    world.run(section_flows.commit(section, tokens(7)))
    world.run(section_flows.release(section, None))
    assert world.run(section_flows.end(section)) is None
    assert section.state is State.DRY_RUN
    assert world.log == ["create_reservation"]


def test_an_interrupted_commit_stays_unsettled_and_is_not_sent_again_by_the_end(world, section):
    world.answers = [KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        world.run(section_flows.commit(section, tokens(7)))
    assert section.state is State.UNSETTLED
    assert world.run(section_flows.end(section, raised=KeyboardInterrupt())) is None
    assert len(world.calls) == 1


@pytest.mark.parametrize(
    ("answer", "asked", "raise_on_unsettled", "raises"),
    [
        (refusal(409, "BUDGET_EXCEEDED"), True, False, True),
        (refusal(409, "BUDGET_EXCEEDED"), False, False, False),
        (refusal(409, "BUDGET_EXCEEDED"), False, True, True),
        (LOST, True, False, False),
        (LOST, True, True, True),
        (LOST, False, False, False),
        (refusal(500, "INTERNAL_ERROR"), True, False, False),
        (committed(), True, True, False),
    ],
)
def test_what_trouble_is_raised(world, section, answer, asked, raise_on_unsettled, raises):
    world.answers = [answer]
    settlement = world.run(section_flows.commit(section, tokens(7)))
    error = trouble_to_raise(settlement, asked=asked, raise_on_unsettled=raise_on_unsettled)
    assert (error is not None) is raises
