"""An interrupt after any step of a request: no lane is lost, which all threads of a client share."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from queue import Empty

import pytest

import cycles
from cycles import usd
from cycles._client.faces import runtime_of
from cycles._drivers import blocking
from tests.support.authorities import ACTION
from tests.support.interrupts import is_in_a_finalizer

OURS = str(Path(cycles.__file__).parent)
STANDARD = str(Path(contextlib.__file__).parent)

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")]


class Interrupt:
    """Raises KeyboardInterrupt after the step *at* of a request: there the interpreter runs the handlers of signals.

    These are the ends of calls of C functions, and the beginnings of Python's own. Steps of the HTTP library are not
    counted: its locks are its own.

    Attributes:
        seen: Steps that were counted; the interrupt came if there were as many as *at*.
    """

    def __init__(self, at):
        self.at, self.seen = at, 0

    def __enter__(self):
        sys.setprofile(self.step)

    def __exit__(self, *_):
        sys.setprofile(None)

    def step(self, frame, event, arg):
        is_step = event in {"call", "c_return"} and is_ours(frame.f_code.co_filename)
        if not is_step or not is_in_a_request(frame) or is_in_a_finalizer(frame):
            return
        self.seen += 1
        if self.seen == self.at:
            raise KeyboardInterrupt


def is_ours(name):
    return name.startswith(OURS) or (name.startswith(STANDARD) and "site-packages" not in name)


def is_in_a_request(frame):
    while frame is not None and frame.f_code is not blocking._call.__code__:
        frame = frame.f_back
    return frame is not None


def test_an_interrupt_after_any_step_of_a_request_gives_its_lane_back(config):
    with cycles.Client(config) as client:
        permits = runtime_of(client).world.lanes
        take, put = permits.steps
        at, interrupt = 0, None
        while interrupt is None or interrupt.seen >= at:
            at += 1
            interrupt = Interrupt(at)
            with contextlib.suppress(KeyboardInterrupt), interrupt:
                client.decide(usd("0.01"), action=ACTION)
            client.decide(usd("0.01"), action=ACTION)
            taken = []
            with contextlib.suppress(Empty):
                while True:
                    taken.append(take(0.0))
            assert len(taken) == 20, f"after step {at}"
            any(map(put, taken))
    assert at > 50
