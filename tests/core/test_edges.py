"""Branches that only rare circumstances reach."""

from __future__ import annotations

import sys
import types

import anyio
import pytest

import cycles
from cycles import tokens
from cycles._core import jobs, requests
from cycles._core.effects import Call, Effect, Forget, Notify, Sleep, Tell
from cycles._core.heartbeat import Lease, retry_delay_ms
from cycles._core.operations import COMMIT_RESERVATION
from cycles._core.records import Claim, Pending
from cycles._core.requests import checked_metrics, metadata_of, terms
from cycles._core.results import SettlementDetails
from cycles._core.retry import RetryPolicy
from cycles._core.settlements import Recovery, recover
from cycles._drivers import aio, blocking
from cycles._drivers.world import World
from cycles._telemetry import trace
from cycles_api import models
from cycles_api.client import AuthenticatedClient

from .conftest import LOST

WANTED = terms(tokens(10), action=("tool.pay", "web"), levels={"tenant": "acme"})


def pending(**changes):
    given = {"reservation_id": "res-1", "terms": WANTED, "actual": tokens(7), "key": "k-1"}
    return Pending(**given | changes)


# -- what people see ---------------------------------------------------------------------------------------------------
def test_effects_name_their_operation():
    assert repr(COMMIT_RESERVATION) == "<Operation commit_reservation>"
    assert repr(Call(COMMIT_RESERVATION, reservation_id="res-1")) == "Call(commit_reservation)"


def test_settlement_details_show_the_spend_and_are_frozen():
    details = SettlementDetails(pending(), "pending", charged=None, attempts=1, recovered=False, error=None)
    assert repr(details) == "<SettlementDetails res-1 7 TOKENS pending via commit>"
    with pytest.raises(AttributeError, match="frozen: outcome"):
        details.outcome = "settled"
    free = pending(reservation_id=None, by_event=True)
    shown = repr(SettlementDetails(free, "settled", charged=None, attempts=1, recovered=False, error=None))
    assert "without reservation" in shown


def test_a_policy_shows_its_figures():
    assert repr(RetryPolicy(max_attempts=2)).startswith("RetryPolicy(max_attempts=2, initial_delay=0.5")


# -- what is refused ---------------------------------------------------------------------------------------------------
def test_dimensions_are_sent():
    subject = requests.subject_of({"tenant": "acme"}, {"run": "7", "note": ""})
    assert subject.to_dict()["dimensions"] == {"run": "7", "note": ""}


def test_an_action_is_taken_as_it_is_or_with_other_tags():
    action = models.Action(kind="tool.pay", name="web", tags=["a"])
    assert requests.action_of(action, None).tags == ["a"]
    assert requests.action_of(action, ["b"]).tags == ["b"]


@pytest.mark.parametrize("text", ["\ud800", "a\udfff"])
def test_a_lone_surrogate_is_refused(text):
    with pytest.raises(cycles.InvalidRequest, match="lone surrogate"):
        requests.text("agent", text, most=128)


@pytest.mark.parametrize("metadata", [[1], {1: "x"}, "text"])
def test_metadata_is_a_mapping_from_texts(metadata):
    with pytest.raises(cycles.InvalidRequest, match="metadata: give a mapping"):
        metadata_of("metadata", metadata)


def test_metrics_that_can_not_be_sent_are_refused():
    with pytest.raises(cycles.InvalidRequest, match="give a cycles"):
        checked_metrics({"tokens_input": 1})
    with pytest.raises(cycles.InvalidRequest, match="metrics: "):
        checked_metrics(models.StandardMetrics(custom={"x": object()}))


# -- times -------------------------------------------------------------------------------------------------------------
def test_an_unbounded_attempt_is_not_made_again():
    delay, _ = retry_delay_ms(Lease(60_000, 0.0, 10, None), 1.0)
    assert delay is None


# -- recovery ----------------------------------------------------------------------------------------------------------
class Records:
    """A queue of so many records."""

    def __init__(self, *found):
        self.found = list(found)

    def take(self):
        return (self.found.pop(), Claim()) if self.found else None


def test_a_recovery_that_is_out_of_time_takes_nothing(world):
    queue = Records(pending())
    recovery = Recovery(deadline=-1.0)
    assert world.run(recover(queue, recovery, 5)) is False
    assert recovery.is_paused
    assert len(queue.found) == 1


def test_a_record_that_was_set_aside_is_not_tried_again_in_this_run(world):
    recovery = Recovery(aside={"k-1"})
    assert world.run(recover(Records(pending()), recovery, 5)) is True
    assert world.calls == []


def test_a_hold_that_can_not_be_looked_for_is_looked_for_again(world):
    job = jobs.GiveBack(RetryPolicy(max_attempts=2), key="k-1")
    world.answers = [LOST, LOST]
    assert world.run(job.attempt()) is not None
    assert world.run(job.attempt()) is None
    assert not job.is_needed


# -- drivers -----------------------------------------------------------------------------------------------------------
class Odd(Effect[None]):
    """An effect of nobody's."""


class Full:
    """A journal on a disk that is full."""

    fsync = False

    def __init__(self):
        self.failures = []

    def forget(self, pending, refusal=None):
        raise OSError(28, "No space left on device")

    def failed(self, error):
        self.failures.append(error)


@pytest.fixture
def outside():
    return World(
        AuthenticatedClient(base_url="http://localhost:1", token=""), lambda event, facts: None, journal=Full()
    )


def of(effect):
    return (yield from effect)


def test_a_record_that_can_not_be_forgotten_is_told(outside):
    blocking.run(of(Forget(pending())), outside)
    assert [error.errno for error in outside.journal.failures] == [28]


def test_who_tells_nobody_goes_on(outside):
    details = SettlementDetails(pending(), "settled", charged=None, attempts=1, recovered=False, error=None)
    assert blocking.run(of(Tell(details)), outside) is None
    assert blocking.run(of(Notify("anything")), outside) is None


def test_an_effect_that_no_driver_knows_is_an_error(outside):
    with pytest.raises(TypeError, match="not an effect"):
        blocking.run(of(Odd()), outside)


def test_without_a_key_the_reason_is_left_as_it_is(outside):
    assert outside.failed(Call(COMMIT_RESERVATION), ValueError("cut off"), 0.0).reason == "ValueError: cut off"


def test_a_flow_is_given_up_when_its_time_is_over(outside):
    assert blocking.run_within(of(Sleep(5.0)), outside, 0.1) is None
    assert blocking.run_within(of(Sleep(0.0)), outside, 1.0) is None
    assert blocking.run_within(of(Notify("anything")), outside, 0.0) is None
    assert blocking.run_within(of(Call(COMMIT_RESERVATION)), outside, 0.0) is None


def test_in_trio_a_hurried_flow_is_given_up_in_time(outside):
    trio = pytest.importorskip("trio")

    async def main():
        with anyio.fail_after(5):
            return await aio.run_through(of(Sleep(60.0)), outside, patience=0.05, hurried=True)

    assert trio.run(main) is None


def test_a_span_that_is_none_starts_a_trace_of_ours(monkeypatch):
    context = types.SimpleNamespace(is_valid=False)
    api = types.SimpleNamespace(get_current_span=lambda: types.SimpleNamespace(get_span_context=lambda: context))
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", api)
    assert trace.Trace().headers()["traceparent"].startswith("00-")


def test_without_opentelemetry_a_trace_is_ours(monkeypatch):
    monkeypatch.delitem(sys.modules, "opentelemetry.trace", raising=False)
    assert trace.Trace().headers()["traceparent"].startswith("00-")


def test_a_tracing_that_fails_fails_no_request(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", object())
    assert trace.Trace().headers()["traceparent"].endswith("-01")


def test_an_id_is_never_all_zero(monkeypatch):
    drawn = [bytes(8), bytes(7) + b"\x01"]
    monkeypatch.setattr(trace.os, "urandom", lambda size: drawn.pop(0))
    assert trace._random(8) == "00" * 7 + "01"
