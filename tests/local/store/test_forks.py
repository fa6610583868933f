"""A ledger in a forked child: a file is shared, a budget in memory is not doubled."""

from __future__ import annotations

import os
import sys

import pytest

from tests.support.programs import run

forks = pytest.mark.skipif(not hasattr(os, "fork") or sys.platform == "darwin", reason="no safe fork here")

FORK = """
import os, sys, threading
from cycles import tokens
from cycles.errors import CyclesError
from cycles.local import LocalAuthority
url = sys.argv[1]
shared = LocalAuthority.from_url(url, tenant="acme")
client = shared.client(tenant="acme")
child = os.fork()
if child == 0:
    try:
        client.reserve(tokens(2), action=("k", "n")).commit(tokens(2))
        assert LocalAuthority.from_url(url) is shared
    except CyclesError as error:
        os._exit(7 if "belongs to the process that made it" in str(error) else 8)
    os._exit(0)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
client.reserve(tokens(3), action=("k", "n")).commit(tokens(3))
row = shared.balance("tenant:acme", "TOKENS")
client.close()
print(code, row.remaining)
"""


@pytest.mark.slow
@forks
def test_a_fork_shares_a_file(tmp_path):
    done = run(FORK, f"local:{tmp_path}/ledger.db?tokens=5")
    assert (done.stdout, done.stderr) == ("0 0\n", "")


@pytest.mark.slow
@forks
def test_a_fork_does_not_double_a_budget_in_memory():
    done = run(FORK, "local:?tokens=5")
    assert done.stdout == "7 2\n", done.stderr


@forks
def test_a_fork_while_locks_are_held(tmp_path):
    """The thread that holds a lock is not there in the fork, and nobody would ever release it."""
    code = """
import os, sys, threading
from cycles import tokens
from cycles.local import LocalAuthority
from cycles.local import registry as module
shared = LocalAuthority.from_url(sys.argv[1] + "?tokens=5", tenant="acme")
inside, done = threading.Event(), threading.Event()
def hold():
    with module._registry_lock, shared.store.connections._lock:
        inside.set()
        done.wait()
def write():
    with shared.store.writing():
        wrote.set()
        done.wait()
wrote = threading.Event()
threads = [threading.Thread(target=write)]
threads[0].start()
wrote.wait()
threads.append(threading.Thread(target=hold))
threads[1].start()
inside.wait()
import warnings; warnings.simplefilter("ignore")  # forking with threads is what is tested
child = os.fork()
if child == 0:
    row = LocalAuthority.from_url(sys.argv[1]).store
    with row.reading() as books:
        os._exit(books.budget("tenant:acme", "TOKENS").remaining)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
done.set()
for thread in threads:
    thread.join()
"""
    done = run(code, f"local:{tmp_path}/ledger.db")
    assert (done.stdout, done.stderr) == ("5\n", "")
