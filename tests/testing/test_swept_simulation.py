"""A running section whose lock is swept: other programs take it for dead, at any effect, and it is charged once.

Two flows share a ledger and a disk here, and take turns as the seed says: the section, and recoveries of what is on
record. Requests are lost, and a recovery may be killed at any effect.
"""

from __future__ import annotations

from random import Random

import pytest

from cycles import tokens
from cycles._core import section_flows
from cycles._core.effects import Call, Clock, Forget, Jitter, NewKey, Now, Record, Sleep, Take
from cycles._core.record_format import name_of
from cycles._core.recovery import Recovery, recover
from cycles._core.requests import terms
from cycles._core.retry import RetryPolicy
from cycles.testing.authority import SimulatedAuthority
from cycles.testing.cases import Case, draw
from cycles.testing.disk import Disk, Single
from cycles.testing.faults import Fault
from cycles.testing.wire import Wire

pytestmark = pytest.mark.slow

WANTED = terms(tokens(10), action=("llm.completion", "sim"), levels={"tenant": "acme"}, ttl=600.0)
FAULTS = (Fault.LOST_RESPONSE, Fault.LOST_REQUEST, Fault.ERROR_AFTER, Fault.CONNECT_REFUSED)


class Actor:
    """A flow, and the answer to its last effect; it has a case of its own, for others may charge its section too."""

    def __init__(self, name, flow):
        self.name, self.flow, self.answer, self.taken = name, flow, None, None
        self.case = Case(draw(Random(0), name))


class Swept:
    """One schedule.

    Attributes:
        sweeps: Recoveries that took the running section for dead.
        trace: What was done.
    """

    def __init__(self, seed, *, most=99, amounts=(2, 5, 9)):
        self.random = Random(seed)
        self.authority = SimulatedAuthority(1000)
        self.wire, self.disk = Wire(self.authority, self.random), Disk()
        self.amounts, self.most = amounts, most
        self.now, self.keys, self.sweeps = 0.0, 0, 0
        self.share_lost = self.random.choice((0.0, 0.0, 0.3))
        self.trace, self.settlement, self.dead = [], None, []

    def section(self):
        section = yield from section_flows.begin(WANTED, RetryPolicy(max_attempts=3))
        *reports, actual = self.amounts
        for amount in reports:
            yield from section_flows.report(section, tokens(amount), None, None)
            for _ in range(4):
                yield from Sleep(0.1)  # room for another program
        self.settlement = yield from section_flows.commit(section, tokens(actual))

    def recovery(self, name):
        return Actor("recovery", recover(Single(self.disk, name), Recovery(), 2))

    def run(self):
        """Run it, and return what the ledger took."""
        actors = [Actor("section", self.section())]
        while actors:
            may_sweep = len(actors) < 3 and self.disk.files and self.settlement is None and self.sweeps < self.most
            if may_sweep and self.random.random() < 0.25:
                self.sweeps += 1
                actors.append(self.recovery(next(iter(self.disk.files))))
            actor = self.random.choice(actors)
            if actor.name == "recovery" and self.random.random() < 0.03:
                self.dead.append(actor)  # kept: a dropped generator would run code of the dead
                actors.remove(actor)
            elif not self.step(actor):
                actors.remove(actor)
        self.share_lost = 0.0
        for _ in range(20):
            for name in list(self.disk.files):
                actor = self.recovery(name)
                while self.step(actor):
                    pass
        assert not self.disk.files
        return self.authority.taken

    def step(self, actor):
        try:
            effect = actor.flow.send(actor.answer)
        except StopIteration:
            return False
        actor.answer = self.performed(actor, effect)
        self.trace.append(f"{actor.name:10} {effect!r} -> {actor.answer!r}")
        return True

    def performed(self, actor, effect):
        self.now += 0.01
        match effect:
            case Call():
                fault = self.random.choice(FAULTS) if self.random.random() < self.share_lost else None
                if effect.operation.name == "create_reservation":
                    fault = None
                return self.wire.send(effect, actor.case, fault, self.now, 0.01).answer
            case Now():
                return self.now
            case Clock():
                return 1_800_000_000_000 + round(self.now * 1000)
            case Jitter():
                return 0.5
            case NewKey():
                self.keys += 1
                return f"key-{self.keys}"
            case Record():
                if self.may_touch(actor, effect.pending):
                    self.disk.write(effect.pending)
                return True
            case Forget():
                if self.may_touch(actor, effect.pending):
                    self.disk.forget(effect.pending, rejected=effect.refusal is not None)
            case Take():
                taken = effect.queue.take()
                actor.taken = None if taken is None else intent(taken[0])
                return taken
            case Sleep():
                self.now += effect.seconds
        return None

    def may_touch(self, actor, pending):
        """As `cycles._journal.records.Records` has it."""
        found = self.disk.read(name_of(pending))
        return actor.taken is None or (found is not None and intent(found) == actor.taken)


def intent(pending):
    return pending.key, pending.actual.amount


def schedules(*, most=99, **options):
    """Schedules in which the running section was swept, *most* times at most."""
    for seed in range(150):
        schedule = Swept(seed, most=most, **options)
        schedule.taken = schedule.run()
        assert schedule.settlement is not None
        if schedule.sweeps:
            yield schedule


AMOUNTS = pytest.mark.parametrize("amounts", [(2, 9), (2, 5, 9), (4, 4)], ids=str)


@AMOUNTS
def test_a_section_that_was_taken_for_dead_is_charged_what_it_spent(amounts):
    seen = list(schedules(most=1, amounts=amounts))
    assert len(seen) > 100
    for schedule in seen:
        assert schedule.taken == amounts[-1], "\n".join(schedule.trace)


@AMOUNTS
def test_however_often_it_was_taken_for_dead_nothing_is_lost(amounts):
    """Charged by two of its reports, it may be charged too much: an event can't be asked for."""
    for schedule in schedules(amounts=amounts):
        assert amounts[-1] <= schedule.taken <= sum(amounts), "\n".join(schedule.trace)


def test_a_recovery_that_removes_what_the_section_wrote_since_is_found(monkeypatch):
    monkeypatch.setattr(Swept, "may_touch", lambda *_: True)
    assert [schedule for schedule in schedules(most=1, amounts=(2, 9)) if schedule.taken != 9]


def test_a_section_that_charges_all_of_it_on_top_is_found(monkeypatch):
    monkeypatch.setattr("cycles._core.records.Pending.rest", lambda pending, charged: pending.as_event())
    assert [schedule for schedule in schedules(most=1, amounts=(2, 9)) if schedule.taken != 9]
