"""The background without an event loop, on threads of any kind."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import pytest

from cycles._background.agenda import MOST_AT_ONCE
from cycles._background.greenlets import GreenBeats
from cycles._background.schedule import ThreadHeartbeats
from cycles._core.effects import Now
from cycles._drivers import threads
from tests.support.waiting import PATIENCE


class Job:
    """Waits at its first attempt until it may go on, and is done at its second."""

    is_needed = True

    def __init__(self, may_go_on=None, due=0.0):
        self.due = due
        self.attempts = 0
        self.begun, self.done = threading.Event(), threading.Event()
        self.may_go_on = may_go_on

    def attempt(self):
        self.attempts += 1
        self.begun.set()
        if self.may_go_on is not None:
            self.may_go_on.wait()
        yield from Now()
        if self.attempts == 2:
            self.done.set()
            return None
        return 0.0


WORLD = SimpleNamespace(perform=lambda effect: time.monotonic())


@pytest.fixture
def beats():
    beats = GreenBeats()
    yield beats
    beats.stop()


def test_a_job_is_repeated_until_it_is_done(beats):
    job = Job()
    beats.agenda.add(0.0, job, WORLD)
    beats.wake_soon()
    assert job.done.wait(PATIENCE)
    assert job.attempts == 2


def test_jobs_run_side_by_side_up_to_a_bound(beats):
    gate = threading.Event()
    jobs = [Job(gate) for _ in range(MOST_AT_ONCE + 1)]
    for job in jobs:
        beats.agenda.add(0.0, job, WORLD)
    beats.wake_soon()
    assert all(job.begun.wait(PATIENCE) for job in jobs[:-1])
    assert not jobs[-1].begun.is_set()
    gate.set()
    assert all(job.done.wait(PATIENCE) for job in jobs)


def test_heartbeats_use_it_where_threads_are_greenlets(monkeypatch):
    monkeypatch.setattr(threads, "are_greenlets", lambda: True)
    heartbeats = ThreadHeartbeats(blocks=False)
    job = Job()
    heartbeats.keep(job, WORLD)
    assert job.done.wait(PATIENCE)
    green = heartbeats._beats
    assert isinstance(green, GreenBeats)
    closed = []

    async def last():
        closed.append("never: there is no loop to close anything in")

    heartbeats.close(last())
    assert green._stopped
    assert closed == []
    heartbeats.keep(Job(due=time.monotonic() + 60), WORLD)
    copied = heartbeats._beats
    heartbeats.forked()  # greenlets go on in a fork
    assert copied._stopped
