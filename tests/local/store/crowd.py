"""Many processes on one ledger file, at peace and being killed; afterwards the file is what was acknowledged.

    python -m tests.local.store.crowd --operations 2000 --kills 100

A child (`toil`) does mixed operations at random and writes a line for each answer, after it has it. What it was killed
in the middle of may or may not have happened; what it has written must be in the file.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cycles import tokens
from cycles.local import LocalAuthority
from cycles.local.store import sqlite as store
from cycles.local.wire.messages import Request
from tests.support.processes import ROOT
from tests.support.toil import Line, Toiler

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cycles.local.ledger.values import Budget, Hold

SCOPE, CHILD = "tenant:acme", "tenant:acme/agent:a"


# -- the child ---------------------------------------------------------------------------------------------------------
class FileToiler(Toiler):
    """Asks an authority in its own process."""

    def __init__(self, authority: LocalAuthority, secret: str, name: str) -> None:
        super().__init__(name, (None, "a"))
        self.authority = authority
        self.headers = {"x-cycles-api-key": secret}

    def asked(self, path: str, body: dict[str, Any]) -> dict[str, Any] | None:
        request = Request("POST", f"/v1/{path}", "", self.headers, json.dumps(body).encode())
        response = self.authority.app.handle(request)
        assert response.status in (200, 201, 409, 410), response
        answer: dict[str, Any] = json.loads(response.body)
        return answer if response.status < 300 else None


def toil(path: str, secret: str, name: str, operations: str) -> None:
    """Do so many operations, 0: for ever, and tell of each when it is done."""
    store.CHECKPOINT_PAGES = 100  # so that kills come in the middle of checkpoints, too
    with LocalAuthority(path) as authority:
        toiler = FileToiler(authority, secret, name)
        print('["ready"]', flush=True)
        sys.stdin.readline()
        while int(operations) == 0 or toiler.made < int(operations):
            os.write(1, json.dumps(toiler.work()).encode() + b"\n")


# -- the parent --------------------------------------------------------------------------------------------------------
@contextmanager
def toiling(path: Path, secret: str, names: list[str], operations: int) -> Iterator[list[subprocess.Popen[str]]]:
    """Have children toil who begin at once."""
    with ExitStack() as stack:
        command = [sys.executable, "-W", "error", "-m", "tests.local.store.crowd", "--toil", str(path), secret]
        children = [
            stack.enter_context(
                subprocess.Popen(
                    [*command, name, str(operations)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    cwd=ROOT,
                )
            )
            for name in names
        ]
        try:
            for child in children:
                assert child.stdout is not None
                assert child.stdout.readline() == '["ready"]\n'
            for child in children:
                assert child.stdin is not None
                child.stdin.write("\n")
                child.stdin.flush()
            yield children
        finally:
            for child in children:
                child.kill()


def made(directory: Path, allocated: int) -> tuple[Path, str]:
    path = directory / "ledger.db"
    with LocalAuthority(path) as authority:
        authority.budget(SCOPE, tokens(allocated))
        authority.budget(CHILD, tokens(allocated // 2))
        return path, authority.key(tenant="acme")


def crowd(directory: Path, *, processes: int, operations: int, allocated: int) -> Counter[str]:
    """Let *processes* do *operations* each; the ledger is the sum of their answers. Return how many of each."""
    path, secret = made(directory, allocated)
    names = [f"p{number}" for number in range(processes)]
    with (
        toiling(path, secret, names, operations) as children,
        ThreadPoolExecutor(processes) as readers,
        LocalAuthority(path) as authority,
    ):
        reading = [readers.submit(lambda child: child.communicate()[0], child) for child in children]
        while wait(reading, timeout=0.02).not_done:
            assert all(balanced(row) for row in authority.balances())
        told = [one.result() for one in reading]
        assert [child.returncode for child in children] == [0] * processes
    lines: list[Line] = [json.loads(line) for text in told for line in text.splitlines()]
    assert len(lines) == processes * operations
    stored = examine(path, lines)
    charged = sum(line[2] for line in lines if line[0] in ("commit", "event"))
    assert stored[SCOPE].spent == charged, "every charge in the file was acknowledged"
    with LocalAuthority(path) as authority:
        assert len(authority.reservations()) == sum(line[0] == "reserve" for line in lines)
    return Counter(line[0] for line in lines)


def kills(directory: Path, *, rounds: int, seed: int, processes: int = 2) -> int:
    """Kill *processes* at once, again and again, at random instants; return how many answers there were in all."""
    dice = random.Random(seed)
    path, secret = made(directory, 10_000_000)
    lines: list[Line] = []
    for number in range(rounds):
        names = [f"k{seed}-{number}-{child}" for child in range(processes)]
        with toiling(path, secret, names, 0) as children:
            assert children[0].stdout is not None
            seen = [children[0].stdout.readline() for _ in range(dice.randint(1, 150))]
            for child in children:
                child.send_signal(signal.SIGKILL)
            seen += [line for child in children if child.stdout is not None for line in child.stdout]
        lines += [json.loads(line) for line in seen if line.endswith("\n")]
        examine(path, lines)
    return len(lines)


# -- what must hold ----------------------------------------------------------------------------------------------------
def examine(path: Path, lines: list[Line]) -> dict[str, Budget]:
    """Check the file by itself, and that everything acknowledged is in it; return the budgets."""
    with LocalAuthority(path) as authority, authority.store.reading() as books:
        # All as of one moment: leases of a second end meanwhile.
        rows = {row.scope_path: row for row in books.all_budgets()}
        holds = {hold.reservation_id: hold for hold in books.all_holds()}
        assert books.connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        kept = books.connection.execute("SELECT key, data FROM replays WHERE scope = 'event:acme'").fetchall()
    events: dict[str, tuple[int, set[str]]] = {}
    for key, data in kept:
        body = json.loads(data)[1]
        charged = body.get("charged", {"amount": int(key.rpartition("-")[2])})["amount"]
        events[body["event_id"]] = charged, {balance["scope_path"] for balance in body["balances"]}
    for row in rows.values():
        mine = [hold for hold in holds.values() if row.scope_path in hold.budgeted]
        assert balanced(row), row
        assert row.reserved == sum(hold.estimate for hold in mine if hold.status == "ACTIVE")
        spent = sum(hold.charged or 0 for hold in mine if hold.status == "COMMITTED")
        assert row.spent == spent + sum(charged for charged, scopes in events.values() if row.scope_path in scopes)
    for line in lines:
        assert is_there(line, holds, {name: charged for name, (charged, _) in events.items()}), line
    return rows


def balanced(row: Budget) -> bool:
    """Whether a budget adds up, and is not overspent; nobody asks for an overdraft here."""
    adds_up = row.remaining == row.allocated - row.reserved - row.spent - row.debt
    return adds_up and min(row.remaining, row.reserved, row.spent) >= 0 and row.debt == 0


def is_there(line: Line, holds: dict[str, Hold], events: dict[str, int]) -> bool:
    """Whether what was acknowledged is in the file."""
    what = line[0]
    if what == "event":
        return events.get(line[1]) == line[2]
    if what not in ("reserve", "commit", "release", "extend"):
        return True
    hold = holds.get(line[1])
    if hold is None:
        return False
    return {
        "reserve": hold.estimate == line[2],
        "commit": hold.status == "COMMITTED" and hold.charged == line[2],
        "release": hold.status == "RELEASED" and hold.estimate == line[2],
        "extend": hold.expires_at_ms >= line[2],
    }[str(what)]


def main() -> int:
    parser = argparse.ArgumentParser(description="Many processes on one ledger file, at peace and being killed.")
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--operations", type=int, default=2000, help="Of each process.")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--toil", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.toil:
        toil(*options.toil)
        return 0
    with tempfile.TemporaryDirectory() as directory:
        # About half of what they would spend: in the end they are refused.
        allocated = options.processes * options.operations
        found = crowd(Path(directory), processes=options.processes, operations=options.operations, allocated=allocated)
        print(f"{options.processes} processes, {options.operations} operations each: {dict(sorted(found.items()))}")
    with tempfile.TemporaryDirectory() as directory:
        answers = kills(Path(directory), rounds=options.kills, seed=options.seed)
        print(f"killed {options.kills} times: {answers} acknowledged answers, all of them in the file")
    return 0


if __name__ == "__main__":
    sys.exit(main())
