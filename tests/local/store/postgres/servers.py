"""Several `cycles serve` on one database, client processes that spend through them, and everything that can break.

    python -m tests.local.store.postgres.servers --processes 8 --operations 2000

A child (`toil`) does mixed operations at random, sends a request again under its key until it has an answer, through
either server, and tells of each answer. Meanwhile one server is killed and started again and again, the database is
restarted, and connections to it are cut. In the end the ledger is the sum of the answers, to the unit.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import httpx

from cycles import tokens
from cycles.local import LocalAuthority
from tests.support.postgres import proxied, running
from tests.support.processes import ROOT
from tests.support.toil import Line, Toiler
from tests.support.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.postgres import Proxy, Server

SCOPE, CHILDREN = "tenant:acme", ("tenant:acme/agent:a", "tenant:acme/agent:b")
KEY = "key-of-the-tests"
ALLOWED = {200, 201, 409, 410}
CUT = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


# -- the child ---------------------------------------------------------------------------------------------------------
class ServedToiler(Toiler):
    """Asks the servers at *urls*; a request is sent until it is answered."""

    def __init__(self, urls: list[str], name: str) -> None:
        super().__init__(name, (None, "a", "b"))
        self.urls = urls
        self.http = httpx.Client(headers={"X-Cycles-API-Key": KEY}, timeout=PATIENCE)
        self.again = 0

    def asked(self, path: str, body: dict[str, Any]) -> dict[str, Any] | None:
        while True:
            url = self.random.choice(self.urls)
            try:
                response = self.http.post(f"{url}/v1/{path}", json=body)
            except httpx.TransportError:  # the server was killed, or starts
                response = None
            if response is None or response.status_code == 503:
                self.again += 1
                time.sleep(0.02)  # asks again, until it is answered
                continue
            assert response.status_code in ALLOWED, (response.status_code, response.text)
            answer: dict[str, Any] = response.json()
            return answer if response.status_code < 300 else None


def toil(urls: str, name: str, operations: str) -> None:
    """Do so many operations, and tell of each when it is done."""
    toiler = ServedToiler(urls.split(","), name)
    for _ in range(int(operations)):
        os.write(1, json.dumps(toiler.work()).encode() + b"\n")
    os.write(1, json.dumps(["again", toiler.again]).encode() + b"\n")


# -- the servers -------------------------------------------------------------------------------------------------------
class Serving:
    """One `cycles serve` on a port of its own, which it has again after it was killed."""

    def __init__(self, url: str) -> None:
        self.database, self.port = url, 0
        self.process: subprocess.Popen[str] | None = None
        self.said = ""

    def start(self) -> None:
        """Start it, until the database lets it: it refuses to start without one."""
        line = [sys.executable, "-m", "cycles.cli", "serve", "--port", str(self.port), "--json", "--api-key", KEY]
        line += ["--tenant", "acme"]
        while True:
            self.process = subprocess.Popen(
                line,
                env={**os.environ, "CYCLES_LOCAL_DB": self.database},
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            assert self.process.stdout is not None
            ready = self.process.stdout.readline()
            if ready:
                self.port = int(json.loads(ready)["base_url"].rpartition(":")[2])
                return
            self.kill()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.communicate()

    def terminate(self) -> int:
        """End it in order; return its exit status."""
        assert self.process is not None
        self.process.terminate()
        self.process.communicate()
        return self.process.returncode


def trouble(
    server: Server, proxy: Proxy, database: str, victim: Serving, over: threading.Event, seen: Counter[str]
) -> None:
    """Break one thing after the other until *over*."""
    dice = random.Random(5)
    deeds = ["kill", "end", "cut", "kill", "restart", "cut", "end", "crash"]
    for number in range(1_000_000):
        if over.wait(0.3 + dice.random() * 0.5):
            return
        deed = deeds[number % len(deeds)]
        if deed == "kill":
            victim.kill()
            victim.start()
        elif deed == "cut":  # every connection, in the middle of whatever it carries: also of the answer to a commit
            proxy.cut()
        elif deed == "end":  # by the database, as an administrator does
            server.query(database, CUT)
        elif seen[deed] == 2:
            continue
        else:
            server.restart(*([] if deed == "restart" else [3]))  # SIGQUIT: as after a loss of power
        seen[deed] += 1


def crowd(*, processes: int, operations: int, allocated: int) -> Counter[str]:
    """Let *processes* do *operations* each while everything breaks; return how many answers there were of each kind."""
    with running() as server, proxied(server) as proxy, ExitStack() as stack:
        url = server.database()
        database = url.partition("?")[0].rpartition("/")[2]
        with LocalAuthority(url) as authority:
            authority.budget(SCOPE, tokens(allocated))
            for child in CHILDREN:
                authority.budget(child, tokens(allocated // 2))
        serving = [Serving(proxy.url(url)) for _ in range(2)]
        for one in serving:
            one.start()
            stack.callback(one.kill)
        urls = ",".join(one.url for one in serving)
        over, seen = threading.Event(), Counter[str]()
        breaking = threading.Thread(target=trouble, args=(server, proxy, database, serving[1], over, seen))
        breaking.start()
        try:
            command = [sys.executable, "-W", "error", "-m", "tests.local.store.postgres.servers", "--toil", urls]
            with ThreadPoolExecutor(processes) as pool:
                told = list(
                    pool.map(_output, [[*command, f"p{number}", str(operations)] for number in range(processes)])
                )
        finally:
            over.set()
            breaking.join()
        assert [one.terminate() for one in serving] == [0, 0], "a server that is told to end, ends in order"
        lines: list[Line] = [json.loads(line) for text in told for line in text.splitlines()]
        with LocalAuthority(url) as authority:
            examine(authority, lines)
        return Counter(line[0] for line in lines) + Counter(again=sum(_of("again", lines))) + seen


def _output(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _of(what: str, lines: list[Line]) -> Iterator[int]:
    return (line[-1] for line in lines if line[0] == what)


# -- what must hold ----------------------------------------------------------------------------------------------------
def examine(authority: LocalAuthority, lines: list[Line]) -> None:
    """Check that the ledger adds up, and that it is what was acknowledged: nothing more, nothing less."""
    assert authority.check() == []
    rows = {row.scope_path: row for row in authority.balances()}
    holds = {hold.reservation_id: hold for hold in authority.reservations()}
    assert all(min(row.remaining, row.reserved, row.spent) >= 0 and row.debt == 0 for row in rows.values()), rows
    charged = sum(_of("commit", lines)) + sum(_of("event", lines))
    assert rows[SCOPE].spent == charged, "every charge was acknowledged, once"
    reserved = [line[1] for line in lines if line[0] == "reserve"]
    assert sorted(reserved) == sorted(holds), "every reservation was acknowledged, once"
    committed = {line[1]: line[2] for line in lines if line[0] == "commit"}
    assert committed == {name: hold.charged for name, hold in holds.items() if hold.status == "COMMITTED"}
    released = {line[1] for line in lines if line[0] == "release"}
    assert released == {name for name, hold in holds.items() if hold.status == "RELEASED"}
    for _, name, expires in (line for line in lines if line[0] == "extend"):
        assert holds[name].expires_at_ms >= expires


def main() -> int:
    parser = argparse.ArgumentParser(description="Several servers on one database, and everything that can break.")
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--operations", type=int, default=2000, help="Of each process.")
    parser.add_argument("--toil", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.toil:
        toil(*options.toil)
        return 0
    # About half of what they would spend: in the end they are refused.
    allocated = options.processes * options.operations
    found = crowd(processes=options.processes, operations=options.operations, allocated=allocated)
    print(f"{options.processes} processes, {options.operations} operations each: {dict(sorted(found.items()))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
