"""Kills, outages and full disks at random; afterwards the ledger must be what the work that ran has cost, to the unit.

    python -m tests.journal.torture --kills 500

A child guards work in a loop against an authority on loopback. This process kills it (SIGKILL) at random instants,
drops and loses requests, restarts the authority on its file, and lets writes to the journal fail as on a full disk.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from random import Random
from typing import Any

from cycles import usd
from cycles.local import LocalAuthority
from tests.support.authorities import SCOPE, UNIT
from tests.support.net import DROP, LOSE, Answer, Server, error
from tests.support.processes import ROOT


class Torture:
    """See the module.

    Attributes:
        killed, restarts, full: How often each happened.
        intended, ran, acknowledged: What the children's logs say: amounts by piece of work.
        recorded: What the journal held when a child was killed.
    """

    task = "toil"

    def __init__(self, directory: Path, seed: int) -> None:
        self.random = Random(seed)
        self.directory = directory
        authority = LocalAuthority(str(directory / "ledger.db"))
        authority.budget(SCOPE, usd("1000000.00"))
        self.server = Server(authority)
        self.server.chance = self._fault
        self.key = authority.key(tenant="acme")
        self.share = 0.0
        self.killed = self.restarts = self.full = 0
        self.intended: dict[str, int] = {}
        self.ran: dict[str, int] = {}
        self.acknowledged: dict[str, int] = {}
        self.recorded: dict[str, int] = {}

    def _fault(self, operation: str) -> Any:
        if self.random.random() >= self.share:
            return None
        return self.random.choice((DROP, LOSE, Answer(503, error("INTERNAL_ERROR")), Answer(200, b"{")))

    def _child(self, *arguments: str, **changed: str) -> subprocess.Popen[str]:
        settings = {
            "base_url": self.server.url,
            "api_key": self.key,
            "tenant": "acme",
            "journal_dir": str(self.directory / "journal"),
            "journal_fsync": self.random.choice(("true", "false")),
            "read_timeout": "0.5",
            "connect_timeout": "0.5",
            "retry_max_attempts": "2",
            "retry_initial_delay": "0.01",
            "retry_flush_timeout": "0",
            **changed,
        }
        environ = {name: value for name, value in os.environ.items() if not name.startswith("CYCLES_")}
        environ |= {f"CYCLES_{name.upper()}": value for name, value in settings.items()}
        return subprocess.Popen(
            [sys.executable, "-m", "tests.support.worker", *arguments],
            env=environ,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    # -- one round -----------------------------------------------------------------------------------------------------
    def kill(self, number: int) -> None:
        """Let a child work, and kill it at a random instant."""
        self.share = self.random.choice((0.0, 0.0, 0.1, 0.5))
        log = self.directory / f"{number}.log"
        child = self._child(self.task, str(number), str(log))
        assert child.stdout is not None
        assert child.stdout.readline() == "toiling\n"
        outage = None
        if self.random.random() < 0.1:
            self.restarts += 1
            outage = threading.Thread(target=self.server.restart, args=(self.random.random() * 0.3,))
            outage.start()
        if self.random.random() < 0.5:  # a busy machine may need seconds until there is something to lose
            ends = time.monotonic() + 10
            while not (log.exists() and log.stat().st_size) and time.monotonic() < ends:
                time.sleep(0.01)  # looks again
        time.sleep(self.random.random() * 0.6)
        child.send_signal(signal.SIGKILL)
        child.communicate()
        if outage is not None:
            outage.join()
        self.killed += 1
        self._read(log)

    def fill(self) -> None:
        """Let a child work whose journal can't be written: it says so, and settles all the same."""
        self.share = 0.0
        child = self._child("full", "0.03")
        out, _ = child.communicate(timeout=60)
        result = json.loads(out.splitlines()[-1])
        assert result["state"] == "COMMITTED", result
        self.full += 1

    def _read(self, log: Path) -> None:
        for line in log.read_text().splitlines() if log.exists() else ():
            kind, work, amount = line.split()
            {"I": self.intended, "R": self.ran, "C": self.acknowledged}[kind][work] = int(amount)
        for path in (self.directory / "journal").glob("*/v2-*.json"):
            record = json.loads(path.read_bytes())
            self.recorded[record["metadata"]["work"]] = record["actual"]["amount"]

    # -- the end -------------------------------------------------------------------------------------------------------
    def settle(self) -> None:
        """Let programs start, with nothing in their way, until the journal is empty."""
        self.share = 0.0
        for _ in range(10):
            self._child("recover", "60").communicate(timeout=120)
            if not list((self.directory / "journal").glob("*/v*.json")):
                return
        raise AssertionError("the journal is not empty")

    def check(self) -> None:
        """Compare the ledger with the work."""
        by_work: dict[str, int] = {}
        full = 0
        for work, amount in self.server.charges.values():
            if not work:
                full += amount  # of a full disk: without a name
                continue
            assert work not in by_work, f"{work} is charged twice"
            by_work[work] = amount
        known = {**self.intended, **self.ran, **self.recorded}
        for work, amount in by_work.items():
            assert known.get(work) in (amount, None), f"{work} cost {known[work]}, charged {amount}"
        for what, works in (
            ("ran", self.ran),
            ("was acknowledged", self.acknowledged),
            ("was recorded", self.recorded),
        ):
            for work, amount in works.items():
                assert by_work.get(work) == amount, f"{work} {what} at {amount}, charged {by_work.get(work)}"
        assert full == self.full * 3_000_000
        self.spent = self.server.authority.balance(SCOPE, UNIT).spent
        assert self.spent == sum(by_work.values()) + full, f"{self.spent} in the ledger"
        rejected = list((self.directory / "journal").glob("*/rejected/*.json"))
        assert not rejected, rejected
        self.works = len(by_work)


class LimitTorture(Torture):
    """The same with kills inside limits: each is charged once, what it had on record, or what its end said."""

    task = "limited_toil"

    def fill(self) -> None:
        """Full disks are the other one's."""

    def _read(self, log: Path) -> None:
        for line in log.read_text().splitlines() if log.exists() else ():
            kind, limit, amount = line.split()
            {"S": self.ran, "C": self.acknowledged}[kind][limit] = int(amount)
        for path in (self.directory / "journal").glob("*/v2-*.json"):
            record = json.loads(path.read_bytes())
            self.recorded[record["reservation_id"]] = record["actual"]["amount"]

    def check(self) -> None:
        """Compare the ledger with what the limits had spent."""
        charged = self.server.commits
        self.spent = self.server.authority.balance(SCOPE, UNIT).spent
        assert self.spent == sum(charged.values()), f"{self.spent} in the ledger, {sum(charged.values())} committed"
        for limit, amount in (self.recorded | self.acknowledged).items():
            assert charged.get(limit) == amount, f"{limit} has spent {amount}, charged {charged.get(limit)}"
        for limit, amount in charged.items():
            assert amount >= self.recorded.get(limit, 0)
        self.works = len(charged)


def torture(kills: int, seed: int, directory: Path, kind: type[Torture] = Torture) -> Torture:
    """Run it and return what happened."""
    run = kind(directory, seed)
    try:
        for number in range(kills):
            run.kill(number)
            if number % 20 == 19:
                run.fill()
        run.settle()
        run.check()
    finally:
        run.server.close()
        run.server.authority.close()
    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4)))
    parser.add_argument("--limits", action="store_true", help="kill inside limits")
    options = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        print(f"seed {options.seed}", flush=True)
        run = torture(options.kills, options.seed, Path(directory), LimitTorture if options.limits else Torture)
    if not run.works:
        raise SystemExit("nothing was charged, so nothing was tried: is the machine too busy?")
    print(
        f"{run.killed} kills, {run.restarts} restarts of the authority, {run.full} runs on a full disk in "
        f"{time.monotonic() - started:.0f} s: {run.works} pieces of work charged, {len(run.recorded)} of them found in "
        f"the journal after a kill, {run.spent} microcents in the ledger: equal to the unit"
    )


if __name__ == "__main__":
    main()
