"""Forks at any instant of a busy program: every child answers, whatever lock a thread of the parent held just then."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

import cycles
from cycles import tokens
from cycles._background import exit_drain
from cycles._client.defaults import Defaults
from cycles._journal import journal as journals
from cycles._journal import locks, registry, writer
from cycles._journal.journal import Journal
from cycles.local import LocalAuthority, ManualClock
from cycles_api.client import AuthenticatedClient
from tests.support.authorities import ACTION
from tests.support.waiting import PATIENCE

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork") or sys.platform == "darwin", reason="no safe fork here"),
    # From 3.12 on Python warns of forks beside threads: that is what is tested.
    pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning"),
]


def held_while_forking(lock, work):
    """Fork while another thread holds *lock*; return whether the child's *work* came to its end."""
    inside, done = threading.Event(), threading.Event()

    def hold():
        with lock:
            inside.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    assert inside.wait(PATIENCE)
    child = os.fork()
    if child == 0:
        try:
            threading.Thread(
                target=lambda: (done.wait(PATIENCE), os._exit(9)), daemon=True
            ).start()  # a child that hangs
            work()
            os._exit(0)
        finally:
            os._exit(8)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    done.set()
    thread.join()
    return ended


def spent_in(guard):
    with guard as held:
        held.commit(tokens(1))


def test_a_lock_that_was_held_at_the_fork_is_free_in_the_child(tmp_path):
    api = AuthenticatedClient("http://127.0.0.1:9", "key")
    defaults = Defaults(cycles.Client, cycles.AsyncClient)
    config = cycles.Config("http://127.0.0.1:9", api_key="k", tenant="acme", journal_dir=str(tmp_path / "journal"))
    defaults.configure(config)
    path = tmp_path / "ledger.db"
    with LocalAuthority(path, clock=ManualClock(), history=10) as authority:
        authority.budget("tenant:acme", tokens(10))
        client = authority.client(tenant="acme")
        guard = cycles.Guard(tokens(1), action=ACTION, client=client)
        journal = Journal(tmp_path / "journal" / "one")
        cases = {
            "generated client": (api._lock, api.get_httpx_client),
            "default clients": (defaults._lock.native, defaults.client),
            "exit": (exit_drain._lock, lambda: cycles.Client(config)),
            "registry": (registry._guard, lambda: cycles.Client(config)),
            "journals": (journals._guard, journal.keep),
            "owners": (journal.owners._lock, journal.owners.own),
            "owner": (locks._guard, journal.owners.own),
            "claims": (journal.claims._lock, lambda: journal.claims.take("x")),
            "records": (journal.records._lock, journal.queue),
            "writer": (writer._guard.native, writer.the_writer),
            "clock": (authority.clock._lock, lambda: authority.advance(1)),
            "history": (authority.requests._lock, authority.requests.clear),
            "faults": (authority.faults._lock, authority.faults.lose_request),
            "store": (authority.store.connections._lock, lambda: spent_in(guard)),
        }
        answers = {name: held_while_forking(lock, work) for name, (lock, work) in cases.items()}
        client.close()
    assert answers == dict.fromkeys(cases, 0)


def test_no_fork_happens_while_connections_are_made():
    inside, forking, made = threading.Event(), threading.Event(), []

    def slowly(**arguments):
        inside.set()
        forking.wait()
        time.sleep(0.1)  # in which the fork would go on
        made.append(httpx.Client(**arguments))
        return made[0]

    os.register_at_fork(before=forking.set)  # runs before the handlers that were there
    api = AuthenticatedClient("http://127.0.0.1:9", "key", client_factory=slowly)
    thread = threading.Thread(target=api.get_httpx_client)
    thread.start()
    assert inside.wait(PATIENCE)
    child = os.fork()
    if child == 0:
        os._exit(0 if made else 1)
    thread.join()
    api.close()
    assert os.waitpid(child, 0)[1] == 0


BUSY = """
import faulthandler, os, random, sys, threading, time, warnings
warnings.simplefilter("ignore")  # forking with threads is what is tested
import cycles
from cycles import tokens
from cycles._client.defaults import Defaults
from cycles_api.client import AuthenticatedClient

url, key, journal = sys.argv[1:4]
config = cycles.Config(url, api_key=key, tenant="acme", journal_dir=journal)
shared = cycles.Client(config)
guards = [cycles.Guard(tokens(1), action=("a", "b"), client=shared) for _ in range(8)]
state = {}
gate = threading.Event()  # closed while the children ask: the threads would leave them no turn at the authority

def renew():
    state["api"] = AuthenticatedClient(url, key)
    defaults = Defaults(cycles.Client, cycles.AsyncClient)
    defaults.configure(config)
    state["defaults"] = defaults  # whole: a child may be forked at any instant

def ask(random, client):
    state["api"].get_httpx_client()
    state["defaults"].client()
    sibling = client.with_options(agent=f"a{random.randrange(9)}")
    held = sibling.reserve(tokens(1), action=("a", "b"))
    held.report(actual=tokens(0))
    held.commit(tokens(0))

def busy(number):
    mine = random.Random(number)
    while True:
        gate.wait()
        try:
            if mine.random() < 0.1:
                renew()
            ask(mine, shared)
        except cycles.CyclesError:
            pass  # the authority is busy too

renew()
ask(random.Random(0), shared)  # all modules are loaded: a fork in the middle of an import is beyond any library
for number in range(200):
    threading.Thread(target=busy, args=(number,), daemon=True).start()
instants, children = random.Random(7), []
gate.set()
for number in range(50):
    time.sleep(instants.random() * 0.05)
    child = os.fork()
    if child == 0:
        # A child that waits for a lock says where, and ends.
        faulthandler.dump_traceback_later(float(sys.argv[4]), exit=True)
        try:
            while True:
                try:
                    ask(instants, shared)
                    with guards[number % 8]:
                        pass
                    os._exit(0)
                except cycles.CyclesError as error:
                    print(repr(error), file=sys.stderr, flush=True)
                    time.sleep(0.05)  # asks again, until it is answered
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(4)
    children.append(child)
gate.clear()  # the authority is the children's now
print(*(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children), flush=True)
os._exit(0)
"""


@pytest.mark.slow
def test_two_hundred_threads_and_fifty_forks_at_any_instant(tmp_path):
    command = [
        sys.executable,
        "-m",
        "cycles.cli",
        "serve",
        "--port",
        "0",
        "--json",
        "--budget",
        "tenant:acme=tokens:1000000000",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            told = json.loads(server.stdout.readline())
            done = subprocess.run(
                [
                    sys.executable,
                    "-c",
                    BUSY,
                    told["base_url"],
                    told["api_key"],
                    str(tmp_path / "journal"),
                    str(PATIENCE),
                ],
                cwd=Path(__file__).parents[2],
                capture_output=True,
                text=True,
                check=False,
            )
        finally:
            server.terminate()
    assert done.stdout.split() == ["0"] * 50, done.stderr
