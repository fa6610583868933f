"""Guards where threads are greenlets: gevent and eventlet, patched before the package is loaded, or long after."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest

from tests.support.waiting import PATIENCE

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
]

KINDS = {
    "gevent": "import gevent, gevent.monkey; gevent.monkey.patch_all(); spawn, sleep, join = "
    "gevent.spawn, gevent.sleep, lambda jobs: gevent.joinall(jobs, raise_error=True)",
    "eventlet": "import eventlet; eventlet.monkey_patch(); spawn, sleep, join = "
    "eventlet.spawn, eventlet.sleep, lambda jobs: [job.wait() for job in jobs]",
}


@pytest.fixture(params=KINDS)
def patched(request):
    """The line that turns threads into greenlets."""
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed (dependency group greenlets)")
    return KINDS[request.param]


def run(program: str, tmp_path) -> str:
    """Run *program*, and return what it said."""
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path), "LEDGER": str(tmp_path / "ledger.db")},
        capture_output=True,
        check=False,
        text=True,
        timeout=PATIENCE,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


PATCHED_FIRST = """
PATCH
import asyncio, os
import cycles
from cycles import tokens

client = cycles.Client(cycles.Config(f"local:{os.environ['LEDGER']}?tokens=1000", tenant="acme"))
renewed = []

def work():
    with cycles.Guard(tokens(1), action=("tool", "x"), ttl=12, client=client) as reservation:
        granted = reservation.expires_at
        while reservation.expires_at == granted:  # the background renews the lease meanwhile
            sleep(0.01)
        assert cycles.current() is reservation
        renewed.append(reservation)

jobs = [spawn(work) for _ in range(3)]
join(jobs)
assert len(renewed) == 3
assert cycles.current() is None

async def five():
    return 5

assert asyncio._get_running_loop() is None
assert asyncio.run(five()) == 5
client.close()
print(next(iter(cycles.Client(client.config).balances())).spent.amount)
"""


@pytest.mark.slow
def test_leases_are_renewed_and_no_loop_is_seen(patched, tmp_path):
    assert run(PATCHED_FIRST.replace("PATCH", patched), tmp_path) == "3\n"


PRELOADED = """
import os, sqlite3
import cycles
from cycles import tokens

path = os.environ["LEDGER"]
config = cycles.Config(f"local:{path}?tokens=1000", tenant="acme")
cycles.configure(config)
with cycles.Guard(tokens(1), action=("tool", "x")):
    pass
begin, ticks = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    code = 1
    try:
        os.read(begin[0], 1)
        PATCH

        def work():
            with cycles.Guard(tokens(1), action=("tool", "x")):
                sleep(0.001)

        jobs = [spawn(work) for _ in range(4)]
        for _ in range(20):  # the others of this process run while all of these wait for the ledger
            sleep(0.005)
            os.write(ticks[1], b".")
        join(jobs)
        code = 0
    finally:
        os._exit(code)
holder = sqlite3.connect(path, isolation_level=None)
holder.execute("BEGIN IMMEDIATE")
os.write(begin[1], b".")
os.close(ticks[1])
for _ in range(20):
    os.read(ticks[0], 1)
holder.execute("COMMIT")
_, status = os.waitpid(child, 0)
assert status == 0, status
print(next(iter(cycles.Client(config).balances())).spent.amount)
"""


@pytest.mark.slow
def test_a_busy_ledger_stops_no_greenlet_of_a_preloaded_program(patched, tmp_path):
    """As `gunicorn --preload -k gevent`: clients and locks are made, then the workers fork, then they patch."""
    assert run(PRELOADED.replace("PATCH", patched), tmp_path) == "5\n"
