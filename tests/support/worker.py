"""A program that guards work, run by tests in a process of its own: `python -m tests.support.worker TASK [ARG …]`.

Configured by the environment as any program is; prints one JSON line at its end.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import cycles
from cycles import usd, usd_microcents
from tests.support.authorities import ACTION
from tests.support.waiting import PATIENCE, until

if TYPE_CHECKING:
    from cycles import Amount

told: list[tuple[str | None, str, str]] = []


def client() -> cycles.Client:
    def note(details: cycles.SettlementDetails) -> None:
        told.append((details.reservation_id, details.outcome, details.via))

    return cycles.Client(on_settlement=note)


def said(**facts: Any) -> None:
    print(json.dumps({"told": told, **facts}), flush=True)


def spend(amount: str = "0.03", ttl: str = "60") -> None:
    """Reserve 10 cents and commit *amount*."""
    used = client()
    with cycles.Guard(usd("0.10"), action=ACTION, client=used, ttl=float(ttl), grace_period=0) as held:
        if amount != "nothing":
            with suppress(cycles.AuthorityError):  # what was refused is in held.settlement_error
                held.commit(usd(amount))
    said(state=held.state, error=type(held.settlement_error).__name__)


def record(amount: str = "0.03") -> None:
    try:
        client().record(usd(amount), action=ACTION)
    except cycles.CyclesError as error:
        said(error=type(error).__name__)
        return
    said(error=None)


def recover(timeout: str = "300") -> None:
    """Settle what is in the journal."""
    used = client()
    drained = used.drain(float(timeout))
    # What the client's own recovery, in the background, has settled before the drain came to it counts as well.
    settled = sum(outcome == "settled" for _, outcome, _ in told)
    said(settled=settled, rejected=drained.rejected, pending=drained.pending)


def start(seconds: str = "300") -> None:
    """Start a client, and do nothing else for a while, as a program that waits for work."""
    used = client()
    deadline = time.monotonic() + float(seconds)
    while not told and time.monotonic() < deadline:
        time.sleep(0.02)
    said(closed=used.close())


def _wait_for_record(reported: Amount) -> None:
    """Wait until the journal holds what was *reported* last: that may wait for its turn."""
    records = Path(os.environ["CYCLES_JOURNAL_DIR"])

    def is_there() -> bool:
        for path in records.glob("*/v*.json"):
            with suppress(FileNotFoundError):  # replaced between two looks
                record = json.loads(path.read_text("utf-8"))
                if record["actual"]["amount"] == reported.amount:
                    return True
        return False

    until(is_there)


def report(*amounts: str) -> None:
    """Report each amount in turn, say so, and wait to be killed."""
    with cycles.Guard(usd("0.10"), action=ACTION, client=client()) as held:
        for amount in amounts:
            held.report(actual=usd(amount), metadata={"step": amount})
        if amounts:
            _wait_for_record(usd(amounts[-1]))
        print("reported", flush=True)
        time.sleep(PATIENCE)  # until the test kills it


def stream(seconds: str = "3") -> None:
    """Report as fast as possible for a while, and a thousand times at least, however long that takes."""
    began = time.monotonic()
    count, deadline = 0, began + float(seconds)
    with cycles.Guard(usd("0.10"), action=ACTION, client=client()) as held:
        while time.monotonic() < deadline or count < 1000:
            count += 1
            held.report(actual=usd("0.0001") if count == 1 else usd("0.02"))
    said(reports=count, state=held.state, seconds=time.monotonic() - began)


def terminated() -> None:
    """Spend, and be ended by SIGTERM, which this program turns into an exit."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    used = client()
    with cycles.Guard(usd("0.10"), action=ACTION, client=used) as held:
        held.commit(usd("0.03"))
    print("spent", flush=True)
    time.sleep(PATIENCE)  # until the test kills it


def forked() -> None:
    """Report, fork, let the child recover while the parent's section still runs, then end the section."""
    used = client()
    with cycles.Guard(usd("0.10"), action=ACTION, client=used) as held:
        held.report(actual=usd("0.01"))
        pid = os.fork()
        if pid == 0:
            with cycles.Client() as mine:
                drained = mine.drain(PATIENCE)
            os._exit(10 + drained.settled)
        _, status = os.waitpid(pid, 0)
        held.report(actual=usd("0.05"))
    said(child=os.waitstatus_to_exitcode(status), state=held.state)


def full(amount: str) -> None:
    """Spend with a journal whose disk is full: no file may become longer than a record is."""
    import resource  # noqa: PLC0415 - not on every platform

    resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))
    spend(amount)


def toil(number: str, log: str) -> None:
    """Work until killed: each piece of work has a cost of its own, and the log says what ran and what is settled.

    A line "R" says that the work ran and its amount is known to the journal; "I", that a commit is about to be asked
    for; "C", that it was acknowledged.
    """
    random = Random(int(number))
    used = client()
    lines = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def note(kind: str, work: str, amount: int) -> None:
        os.write(lines, f"{kind} {work} {amount}\n".encode())

    with suppress(cycles.CyclesError):
        used.decide(usd("0.01"), action=ACTION)  # everything is imported now
    print("toiling", flush=True)
    for piece in range(100_000):
        work, amount = f"{number}.{piece}", random.randrange(1, 1_000_000)
        ttl, reported = random.choice((1.0, 60.0, 60.0, 60.0)), random.random() < 0.5
        options = {"action": ACTION, "client": used, "ttl": ttl, "grace_period": 0}
        with suppress(cycles.CyclesError), cycles.Guard(usd_microcents(1_000_000), **options) as held:
            if reported:
                held.report(actual=usd_microcents(amount), metadata={"work": work})
                note("R", work, amount)
                time.sleep(random.choice((0.0, 0.002)))
            else:
                note("I", work, amount)
            settlement = held.commit(usd_microcents(amount), metadata={"work": work})
            if settlement.state == "COMMITTED":
                note("C", work, amount)


# -- limits ------------------------------------------------------------------------------------------------------------
RUN = ("agent.run", "worker")


def limited(*amounts: str) -> None:
    """Spend each amount inside a limit, report one more in an open section, say so, and wait to be killed."""
    used = client()
    with cycles.Limit(usd("0.50"), action=RUN, client=used):
        for amount in amounts:
            with cycles.Guard(usd("0.10"), action=ACTION, client=used) as held:
                held.commit(usd(amount))
        with cycles.Guard(usd("0.10"), action=ACTION, client=used) as held:
            held.report(actual=usd("0.001"))
            _wait_for_record(usd_microcents(sum(usd(amount).amount for amount in (*amounts, "0.001"))))
            print("spent", flush=True)
            time.sleep(PATIENCE)  # until the test kills it


def _guarded(used: cycles.Client) -> bool:
    """Spend a cent, and say whether a reservation was made for it."""
    with cycles.Guard(usd("0.01"), action=ACTION, client=used) as held:
        return held.id is not None


def limited_fork() -> None:
    """Guard in a forked child of a limit's process: twice, with the log in a pipe."""
    import logging  # noqa: PLC0415 - only here

    used = client()
    with cycles.Limit(usd("0.50"), action=RUN, client=used) as limit:
        _guarded(used)
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            handler = logging.StreamHandler(os.fdopen(write, "w"))
            logging.getLogger("cycles.guard").addHandler(handler)
            by_itself = _guarded(used) and _guarded(used)
            handler.flush()
            os._exit(17 if by_itself else 1)
        os.close(write)
        _, status = os.waitpid(pid, 0)
        with os.fdopen(read) as lines:
            log = lines.read().splitlines()
        spent = limit.spent.amount
    said(child=os.waitstatus_to_exitcode(status), log=log, spent=spent)


def _guarded_elsewhere() -> bool:
    return _guarded(client())


def limited_spawn() -> None:
    """Guard in a spawned child, through an executor of processes."""
    import multiprocessing  # noqa: PLC0415 - only here
    from concurrent.futures import ProcessPoolExecutor  # noqa: PLC0415 - only here

    with (
        cycles.Limit(usd("0.50"), action=RUN, client=client()) as limit,
        ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool,
    ):
        by_itself = pool.submit(limit.run, _guarded_elsewhere).result()
    said(by_itself=by_itself, spent=limit.spent.amount)


def limited_toil(number: str, log: str) -> None:
    """Run limit after limit until killed; each has sections of random cost, some in threads, some in pieces.

    A line "S" says what a limit has spent so far, before its next section; "C", what its end charged.
    """
    random = Random(int(number))
    used = client()
    lines = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def note(kind: str, work: str | None, amount: int) -> None:
        os.write(lines, f"{kind} {work} {amount}\n".encode())

    with suppress(cycles.CyclesError):
        used.decide(usd("0.01"), action=ACTION)  # everything is imported now
    print("toiling", flush=True)
    while True:
        with suppress(cycles.CyclesError):
            limit = cycles.Limit(usd_microcents(5_000_000), action=RUN, client=used, ttl=3600.0)  # no event
            with limit:
                for _ in range(random.randrange(1, 30)):
                    amount = random.randrange(1, 100_000)
                    with cycles.Guard(usd_microcents(100_000), action=ACTION, client=used) as held:
                        if random.random() < 0.5:
                            held.report(actual=usd_microcents(amount))
                            time.sleep(random.choice((0.0, 0.0, 0.15)))
                        held.commit(usd_microcents(amount))
                    note("S", limit.reservation_id, limit.spent.amount)
            if limit.settlement is not None and limit.settlement.state == "COMMITTED":
                note("C", limit.reservation_id, limit.spent.amount)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
