"""A process that is killed in the middle of a stream: the next one charges what had come."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import cycles
from tests.support.waiting import PATIENCE, until

ROOT = Path(__file__).parents[2]

PROGRAM = """
import threading
import httpx
import cycles
from tests.metering.metered import URL, chunk

def answer(request):
    return httpx.Response(200, stream=Waiting())

class Waiting(httpx.SyncByteStream):
    def __iter__(self):
        yield chunk("I am fine.")
        print("came", flush=True)
        threading.Event().wait()

client = cycles.wrap(httpx.Client(transport=httpx.MockTransport(answer)), unit="tokens")
body = {"model": "gpt-4o", "stream": True, "messages": [{"role": "user", "content": "How are you?"}]}
with client.stream("POST", URL, json=body) as response:
    for part in response.iter_bytes():
        pass
"""


def place(tmp_path):
    """A ledger, a journal, and the environment of a program that spends there."""
    url, journal = f"local:{tmp_path / 'ledger.db'}?tokens=100000", tmp_path / "journal"
    return (
        url,
        journal,
        {
            **os.environ,
            "CYCLES_BASE_URL": url,
            "CYCLES_TENANT": "acme",
            "CYCLES_JOURNAL_DIR": str(journal),
        },
    )


def charged_as(url, journal):
    """Settle what the program left; something is charged, nothing is held. Return what its amount was made of."""
    with cycles.Client(cycles.Config(base_url=url, tenant="acme", journal_dir=str(journal))) as client:
        client.drain()
        (balance,) = client.balances(tenant="acme")
        (row,) = client.reservations(include=["committed_metadata"])
    assert 0 < balance.spent.amount < 1000
    assert balance.reserved.amount == 0
    return row.committed_metadata["actual_source"]


@pytest.mark.slow
def test_a_killed_stream_is_charged_what_came(tmp_path):
    url, journal, environ = place(tmp_path)
    program = subprocess.Popen([sys.executable, "-c", PROGRAM], cwd=ROOT, env=environ, stdout=subprocess.PIPE)
    try:
        assert program.stdout is not None
        assert program.stdout.readline() == b"came\n"
        until(lambda: any(b"gpt-4o" in path.read_bytes() for path in journal.rglob("*") if path.is_file()))
    finally:
        program.kill()
        program.wait()
        program.stdout.close()
    assert charged_as(url, journal) == "reported"


LEAVES = """
import threading
import time
import httpx
import cycles
from tests.metering.metered import URL, chunk

class Waiting(httpx.SyncByteStream):
    def __iter__(self):
        yield chunk("I am fine.")
        drains.set()
        threading.Event().wait()

drains = threading.Event()
answer = lambda request: httpx.Response(200, stream=Waiting())
client = cycles.wrap(httpx.Client(transport=httpx.MockTransport(answer)), unit="tokens", partial="drain")
body = {"model": "gpt-4o", "stream": True, "messages": [{"role": "user", "content": "How are you?"}]}
with client.stream("POST", URL, json=body) as response:
    next(response.iter_raw())
drains.wait()
print("drains", flush=True)
while True:  # Ctrl-C would be lost in what Python runs while an object is collected, and just before a wait for ever
    time.sleep(0.05)
"""

LEAVES_ASYNC = """
import asyncio
import httpx
import cycles
from tests.metering.metered import URL, chunk

class Waiting(httpx.AsyncByteStream):
    async def __aiter__(self):
        yield chunk("I am fine.")
        print("drains", flush=True)
        await asyncio.Event().wait()

async def main():
    answer = lambda request: httpx.Response(200, stream=Waiting())
    plain = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    client = cycles.wrap(plain, unit="tokens", partial="drain")
    body = {"model": "gpt-4o", "stream": True, "messages": [{"role": "user", "content": "How are you?"}]}
    async with client.stream("POST", URL, json=body) as response:
        await anext(response.aiter_raw())
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
@pytest.mark.parametrize(
    ("program", "source"), [(LEAVES, "reported"), (LEAVES_ASYNC, "partial")], ids=["sync", "async"]
)
def test_ctrl_c_while_a_rest_is_read_charges_what_came(tmp_path, program, source):
    """The program ends at once, and does not wait for a rest that may never come."""
    url, journal, environ = place(tmp_path)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, env=environ, **pipes) as running:
        try:
            assert running.stdout is not None
            assert running.stdout.readline() == b"drains\n"
            running.send_signal(signal.SIGINT)
            _, said = running.communicate(timeout=PATIENCE)
        finally:
            running.kill()
    assert running.returncode != 0
    assert said.rstrip().endswith(b"KeyboardInterrupt"), said.decode()
    assert charged_as(url, journal) == source
