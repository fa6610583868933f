"""An interrupt at any line of our code: no hold is left behind, and what is charged is charged once."""

from __future__ import annotations

import contextlib
import gc
import linecache
import sys
import threading
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

import cycles
from cycles import usd
from cycles._drivers.world import World
from cycles.local import LocalAuthority
from tests.support.authorities import ACTION
from tests.support.interrupts import is_in_a_finalizer
from tests.support.waiting import until

OURS = str(Path(cycles.__file__).parent)
AUTHORITY = str(Path(cycles.local.__file__).parent)
RUN = ("agent.run", "interrupted")

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.skipif(
        sys.version_info >= (3, 12),
        reason="later versions trace the ends of with-blocks as lines where no signal can come",
    ),
]


class Interrupt:
    """Raises KeyboardInterrupt before the line *at* of our code, counted from the answer to a reserve on.

    Attributes:
        seen: Lines that were counted; the interrupt came if there were as many as *at*.
    """

    def __init__(self, at, monkeypatch, *, is_counting=False):
        self.at, self.seen, self.is_counting = at, 0, is_counting
        answered = World.answered

        def counted(*args, **options):
            self.is_counting = self.is_counting or threading.current_thread() is threading.main_thread()
            return answered(*args, **options)

        monkeypatch.setattr(World, "answered", counted)

    def __enter__(self):
        self.before = sys.gettrace()
        sys.settrace(self.entered)
        return self

    def __exit__(self, *_):
        sys.settrace(self.before)

    def entered(self, frame, event, arg):
        name = frame.f_code.co_filename
        is_client = name.startswith(OURS) and not name.startswith(AUTHORITY)
        return self.line if is_client and not is_in_a_finalizer(frame) else None

    def line(self, frame, event, arg):
        # At the end of a with-block tracing can raise before the block is left, which a signal can't.
        is_with = linecache.getline(frame.f_code.co_filename, frame.f_lineno).lstrip().startswith("with ")
        if event == "line" and self.is_counting and not is_with:
            self.seen += 1
            if self.seen == self.at:
                raise KeyboardInterrupt
        return self.line


def interrupted_at_each_line(work, monkeypatch, **options):
    """Do *work* once for each of its lines, and interrupt it there; return how often that was."""
    at, interrupt = 0, None
    while interrupt is None or interrupt.seen >= at:
        at += 1
        with monkeypatch.context() as patch:
            interrupt = Interrupt(at, patch, **options)
            with contextlib.suppress(KeyboardInterrupt):
                work(interrupt)
    gc.collect()
    return at - 1


def guarded(client, interrupt):
    with interrupt, cycles.Guard(usd("0.10"), action=ACTION, client=client) as reservation:
        sys.settrace(None)
        reservation.release()


def reserved(client, interrupt):
    with interrupt:
        reservation = client.reserve(usd("0.10"), action=ACTION)
    reservation.release()


def committed(client, interrupt):
    reservation = client.reserve(usd("0.10"), action=ACTION)
    with interrupt:
        reservation.commit(usd("0.07"))


@pytest.mark.slow
@pytest.mark.parametrize("work", [guarded, reserved])
def test_an_interrupt_at_any_line_after_the_answer_leaves_no_hold(server, config, work, monkeypatch):
    monkeypatch.setattr("cycles._client.upkeep._SETTLING_IN", 0.0)
    with cycles.Client(config) as client:
        assert interrupted_at_each_line(partial(work, client), monkeypatch) > 50
        until(lambda: server.held() == 0)
    assert server.spent() == 0


@pytest.mark.slow
def test_an_interrupt_at_any_line_of_a_section_inside_a_limit_leaves_nothing_of_it_open(server, config, monkeypatch):
    with cycles.Client(config) as client, cycles.Limit(usd("0.20"), action=RUN, client=client):
        assert interrupted_at_each_line(partial(guarded, client), monkeypatch, is_counting=True) > 50
        with cycles.Guard(usd("0.20"), action=ACTION, client=client) as whole:
            whole.commit(usd("0.02"))
    until(lambda: server.held() == 0)
    assert server.spent() == 2


@pytest.mark.slow
def test_an_interrupt_at_any_line_of_a_commit_charges_once_or_nothing(monkeypatch):
    monkeypatch.setattr("cycles._client.upkeep.LATER", 0.0)
    with LocalAuthority() as authority:
        authority.budget("tenant:acme", usd("1000"))
        with authority.client(tenant="acme") as client:  # without a journal
            interrupts = interrupted_at_each_line(partial(committed, client), monkeypatch, is_counting=True)
            assert interrupts > 50
            until(lambda: not any(hold.status == "ACTIVE" for hold in authority.reservations()))
        charged = Counter(hold.charged for hold in authority.reservations())
        assert charged.keys() == {None, 7_000_000}
        assert authority.balance("tenant:acme", "USD_MICROCENTS").spent == 7_000_000 * charged[7_000_000]
        assert charged[7_000_000] > interrupts / 2
