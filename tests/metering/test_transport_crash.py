"""A process that is killed in the middle of a stream: the next one charges what had come."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import cycles
from tests.support.waiting import until

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


@pytest.mark.slow
def test_a_killed_stream_is_charged_what_came(tmp_path):
    journal = tmp_path / "journal"
    url = f"local:{tmp_path / 'ledger.db'}?tokens=100000"
    environ = {**os.environ, "CYCLES_BASE_URL": url, "CYCLES_TENANT": "acme", "CYCLES_JOURNAL_DIR": str(journal)}
    program = subprocess.Popen([sys.executable, "-c", PROGRAM], cwd=ROOT, env=environ, stdout=subprocess.PIPE)
    try:
        assert program.stdout is not None
        assert program.stdout.readline() == b"came\n"
        until(lambda: any(b"gpt-4o" in path.read_bytes() for path in journal.rglob("*") if path.is_file()))
    finally:
        program.kill()
        program.wait()
        program.stdout.close()
    config = cycles.Config(base_url=url, tenant="acme", journal_dir=str(journal))
    with cycles.Client(config) as client:
        client.drain()
        (balance,) = client.balances(tenant="acme")
        (row,) = client.reservations(include=["committed_metadata"])
    assert 0 < balance.spent.amount < 1000
    assert balance.reserved.amount == 0
    assert row.committed_metadata["actual_source"] == "reported"
