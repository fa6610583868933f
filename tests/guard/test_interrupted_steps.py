"""An interrupt after any step of a request: no lane is lost, which all threads of a client share."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import pytest

import cycles
from cycles import usd
from cycles._client.faces import runtime_of
from tests.support.authorities import ACTION

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
        if event not in {"call", "c_return"} or not is_ours(frame.f_code.co_filename) or not is_in_a_request(frame):
            return
        self.seen += 1
        if self.seen == self.at:
            raise KeyboardInterrupt


def is_ours(name):
    return name.startswith(OURS) or (name.startswith(STANDARD) and "site-packages" not in name)


def is_in_a_request(frame):
    """Whether a request is sent, and no finalizer runs: what comes in one is dropped by Python."""
    names = []
    while frame is not None:
        names.append((frame.f_code.co_filename, frame.f_code.co_name))
        frame = frame.f_back
    is_finalizer = any(name == "__del__" for _, name in names)
    return not is_finalizer and (str(Path(OURS, "_drivers", "blocking.py")), "_call") in names


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
            with contextlib.suppress(Exception):
                while True:
                    taken.append(take(0.0))
            assert len(taken) == 20, f"after step {at}"
            any(map(put, taken))
    assert at > 50
