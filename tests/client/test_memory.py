"""Charges that no journal holds: `drain` settles them too, says what is left, and a forked child leaves them alone."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
from collections import deque

import pytest

import cycles
from cycles import usd
from cycles._background import exit_drain
from cycles._client import upkeep
from cycles._journal.recovery import Drained
from tests.support.authorities import ACTION
from tests.support.net import HANG, Answer, error
from tests.support.waiting import PATIENCE, until

AWAY = Answer(503, error("INTERNAL_ERROR"))
LATER = Answer(429, error("LIMIT_EXCEEDED"), {"Retry-After": "999999999"})


@pytest.fixture
def forgetful(config, monkeypatch):
    """A configuration without a journal, whose background comes after the test only."""
    monkeypatch.setattr(upkeep, "LATER", 10_000.0)
    monkeypatch.setattr(exit_drain, "_owed", [])
    return config.replace(journal_enabled=False, settle_wait=0)


def spent_in(client, amount="0.07"):
    with cycles.Guard(usd("0.10"), action=ACTION, client=client) as held:
        held.report(actual=usd(amount))
    assert held.state == "UNSETTLED"


def test_drain_settles_what_memory_holds(server, forgetful):
    told = []
    with cycles.Client(forgetful, on_settlement=told.append) as client:
        spent_in(client)
        spent_in(client, "0.05")
        assert client.drain(timeout=PATIENCE) == Drained(settled=2)
        assert client.drain(timeout=PATIENCE) == Drained()
    assert [details.outcome for details in told] == ["pending", "pending", "settled", "settled"]
    assert (server.spent(), server.held()) == (12, 0)


def test_a_client_of_the_same_principal_settles_it_and_no_other(server, forgetful):
    server.authority.budget("tenant:umbrella", usd("1.00"))
    other = forgetful.replace(tenant="umbrella", api_key=server.authority.key(tenant="umbrella"))
    with cycles.Client(forgetful) as first, cycles.Client(forgetful) as twin, cycles.Client(other) as stranger:
        spent_in(first)
        assert stranger.drain(timeout=PATIENCE) == Drained()
        assert twin.drain(timeout=PATIENCE) == Drained(settled=1)
    assert server.spent() == 7


def test_an_asynchronous_client_settles_it_too(server, forgetful):
    async def main():
        async with cycles.AsyncClient(forgetful) as client:
            async with cycles.Guard(usd("0.10"), action=ACTION, client=client) as held:
                held.report(actual=usd("0.07"))
            return await client.drain(timeout=PATIENCE)

    assert asyncio.run(main()) == Drained(settled=1)
    assert server.spent() == 7


def test_drain_says_what_is_left_in_memory(server, forgetful):
    server.always["commit"] = AWAY
    with cycles.Client(forgetful) as client:
        spent_in(client)
        assert client.drain(timeout=0) == Drained(pending=1)
        assert server.of("commit") == []
        looks = []  # a busy machine may have no answer in so short a time
        until(lambda: looks.append(client.drain(timeout=0.05)) or type(looks[-1].error) is cycles.InternalError)
        assert set(looks) == {Drained(pending=1)}
        del server.always["commit"]
        drained = client.drain(timeout=PATIENCE)
        assert (drained, drained.error) == (Drained(settled=1), None)
    assert len(set(server.keys("commit"))) == 1


def test_drain_tries_again_while_there_is_time(server, forgetful):
    server.plan["commit"] = deque([AWAY, AWAY])
    with cycles.Client(forgetful) as client:
        spent_in(client)
        assert client.drain(timeout=PATIENCE) == Drained(settled=1)
    assert len(server.of("commit")) == 3


def test_what_the_authority_asked_to_wait_with_waits_unless_a_person_says_now(server, forgetful):
    server.plan["commit"] = deque([LATER])
    with cycles.Client(forgetful) as client:
        spent_in(client)
        assert client.drain(timeout=20) == Drained(pending=1)
        assert client.drain(timeout=20) == Drained(pending=1)
        assert len(server.of("commit")) == 1
        assert client.drain(timeout=PATIENCE, now=True) == Drained(settled=1)


def test_what_is_refused_is_said_and_not_tried_again(server, forgetful):
    server.plan["commit"] = deque([Answer(400, error("INVALID_REQUEST"))])
    with cycles.Client(forgetful) as client:
        spent_in(client)
        assert client.drain(timeout=PATIENCE) == Drained(rejected=1)
        assert client.drain(timeout=PATIENCE) == Drained()


@pytest.mark.slow
def test_what_the_background_has_under_way_is_waited_for(server, forgetful, monkeypatch):
    monkeypatch.setattr(upkeep, "LATER", 0.0)
    server.plan["commit"] = deque([HANG])
    with cycles.Client(forgetful.replace(read_timeout=0.5)) as client:  # which the first commit waits for in vain
        spent_in(client)
        server.wait_for("commit")
        assert client.drain(timeout=PATIENCE).pending == 0
    assert server.spent() == 7
    assert len(set(server.keys("commit"))) == 1


def test_what_a_dropped_reservation_reported_is_drained(server, forgetful, monkeypatch):
    monkeypatch.setattr("cycles._background.schedule.ThreadHeartbeats.keep", lambda *_: None)
    with cycles.Client(forgetful) as client:
        client.reserve(usd("0.10"), action=ACTION).report(actual=usd("0.07"))
        gc.collect()
        assert client.drain(timeout=PATIENCE) == Drained(settled=1)
    assert (server.spent(), server.held()) == (7, 0)


PROGRAM = """
import os, sys
import cycles
from cycles import usd

def watch(details):
    print(os.getpid() == parent, details.outcome, flush=True)

parent = os.getpid()
client = cycles.Client(on_settlement=watch)
with cycles.Guard(usd("0.10"), action=("llm.completion", "gpt-4o"), client=client) as held:
    held.report(actual=usd("0.07"))
child = os.fork()
if child == 0:
    print("child", client.drain(timeout=300).settled, held.state, flush=True)
    with cycles.Guard(usd("0.10"), action=("llm.completion", "gpt-4o"), client=client) as own:
        own.commit(usd("0.02"))
    sys.exit(0)  # which drains what it owes
os.waitpid(child, 0)
print("parent", client.drain(timeout=300).pending, flush=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork") or sys.platform == "darwin", reason="no safe fork here")
def test_a_forked_child_does_not_charge_it_a_second_time(server, environ):
    server.plan["commit"] = deque([HANG])
    changed = {
        "CYCLES_JOURNAL_ENABLED": "false",
        "CYCLES_SETTLE_WAIT": "5",
        "CYCLES_READ_TIMEOUT": "30",
        "CYCLES_RETRY_FLUSH_TIMEOUT": "20",
        "PYTHONWARNINGS": "ignore::DeprecationWarning",
    }
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, env={**os.environ, **environ, **changed}, capture_output=True, check=True, text=True)
    lines = done.stdout.splitlines()
    assert lines[:2] == ["True pending", "child 0 UNSETTLED"]
    assert lines[2] == "False settled"  # its own
    assert lines.count("True settled") == 1
    assert lines[-1] == "parent 0"
    until(lambda: server.held() == 0)
    assert (server.spent(), len(set(server.keys("commit")))) == (9, 2)
