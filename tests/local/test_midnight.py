"""Two servers, and two authorities, of one ledger at the moment at which its budgets begin anew, on each store."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from json import loads
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from cycles import BudgetExceeded, Client, Config, tokens
from cycles.local import LocalAuthority
from cycles.local.ledger.periods import window
from tests.support.authorities import SCOPE, Clock
from tests.support.postgres import SHARED_STORES, shared, shared_place_of
from tests.support.processes import ROOT
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY = "key-of-the-tests"
MIDNIGHT = window("day", "Europe/Berlin", Clock().now)[1]


def spent_anew(authorities: tuple[LocalAuthority, LocalAuthority], spend: ThreadPoolExecutor) -> int:
    """Let eight threads spend all there is, by sevens, half of them at each authority; return how much."""
    start = threading.Barrier(8)

    def toil(number: int) -> int:
        granted = 0
        with authorities[number % 2].client(tenant="acme") as client:
            start.wait()
            while True:
                try:
                    client.reserve(tokens(7), action=("k", "n")).commit(tokens(7))
                except BudgetExceeded:
                    return granted
                granted += 7

    return sum(spend.map(toil, range(8)))


@pytest.mark.parametrize("store", SHARED_STORES)
def test_two_authorities_and_a_midnight(store, tmp_path):
    """The period begins once, whoever is first; each has the whole budget, once."""
    clock = Clock()
    clock.now = MIDNIGHT - 1
    with ExitStack() as stack:
        place = stack.enter_context(shared_place_of(store, tmp_path))
        one, two = (stack.enter_context(LocalAuthority(place, clock=clock)) for _ in range(2))
        pool = stack.enter_context(ThreadPoolExecutor(8))
        one.budget(SCOPE, tokens(100), period="day", zone="Europe/Berlin")
        assert spent_anew((one, two), pool) == 98
        clock.now += 1
        assert spent_anew((one, two), pool) == 98
        row = two.balance(SCOPE, "TOKENS")
        assert (row.spent, row.renewals, one.check()) == (98, 1, [])


# -- processes, with clocks of their own -------------------------------------------------------------------------------
class FileClock:
    """The clock of the machine on which two servers have one file: each reads what it shows in another file."""

    def __init__(self, place: str, directory: Path) -> None:
        self.place, self._shows = place, directory / "now"
        self.program = ("-m", "tests.support.shifted", str(self._shows))

    def set(self, now_ms: int) -> None:
        new = self._shows.with_suffix(".new")
        new.write_text(str(now_ms))
        new.replace(self._shows)


class DatabaseClock:
    """The clock of a database: a function of the tests' own, which sessions of `place` find before PostgreSQL's."""

    program = ("-m", "cycles.cli")

    def __init__(self, url: str, directory: Path) -> None:
        del directory
        self.name = url.partition("?")[0].rpartition("/")[2]
        self.place = f"{url}&options={quote('-csearch_path=public,pg_catalog')}"
        self.ask("CREATE TABLE now_ms AS SELECT 0::bigint AS shown")
        self.ask(
            "CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS "
            "'SELECT to_timestamp(shown / 1000.0) FROM public.now_ms'"
        )

    def ask(self, statement: str) -> None:
        shared().query(self.name, statement)

    def set(self, now_ms: int) -> None:
        self.ask(f"UPDATE now_ms SET shown = {now_ms}")


CLOCKS = {"file": FileClock, "postgres": DatabaseClock}


@contextmanager
def serving(clock: FileClock | DatabaseClock) -> Iterator[str]:
    """Give the URL of a `cycles serve` in a process of its own."""
    line = [sys.executable, *clock.program, "serve", "--port", "0", "--json", "--api-key", KEY, "--tenant", "acme"]
    environment = {**os.environ, "CYCLES_LOCAL_DB": clock.place}
    with subprocess.Popen(line, env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield loads(process.stdout.readline())["base_url"]
        finally:
            process.kill()


class Spender:
    """A thread that spends by sevens at one server, and says what it was granted and how often it was refused."""

    def __init__(self, url: str, over: threading.Event) -> None:
        self.granted = self.refused = 0
        self.client = Client(Config(url, api_key=KEY, tenant="acme", journal_enabled=False))
        self._over = over

    def run(self) -> None:
        with self.client:
            while not self._over.is_set():
                try:
                    self.client.reserve(tokens(7), action=("k", "n")).commit(tokens(7))
                    self.granted += 7
                except BudgetExceeded:
                    self.refused += 1


@pytest.mark.slow
@pytest.mark.parametrize("store", SHARED_STORES)
def test_two_servers_and_a_midnight(store, tmp_path):
    """Their clock passes midnight while eight threads ask both without a pause: each day has its budget, once.

    What was held before midnight is settled in the day that is over.
    """
    with ExitStack() as stack:
        clock = CLOCKS[store](stack.enter_context(shared_place_of(store, tmp_path)), tmp_path)
        clock.set(MIDNIGHT - 2)
        url, other = (stack.enter_context(serving(clock)) for _ in range(2))
        seen = Clock()
        seen.now = MIDNIGHT - 2
        # PostgreSQL's own clock counts there, whoever asks.
        made = LocalAuthority(clock.place, clock=seen) if store == "file" else LocalAuthority(clock.place)
        authority = stack.enter_context(made)
        authority.budget(SCOPE, tokens(100), period="day", zone="Europe/Berlin")
        client = stack.enter_context(Client(Config(url, api_key=KEY, tenant="acme", journal_enabled=False)))
        held = client.reserve(tokens(2), action=("k", "n"))
        over = threading.Event()
        spenders = [Spender((url, other)[number % 2], over) for number in range(8)]
        pool = stack.enter_context(ThreadPoolExecutor(8))
        stack.callback(over.set)
        runs = [pool.submit(spender.run) for spender in spenders]

        def all_refused() -> None:
            before = [spender.refused for spender in spenders]
            until(
                lambda: (
                    any(run.done() for run in runs)
                    or all(spender.refused > count + 1 for spender, count in zip(spenders, before, strict=True))
                )
            )

        all_refused()
        assert sum(spender.granted for spender in spenders) == 98
        for now in range(MIDNIGHT - 1, MIDNIGHT + 2):
            clock.set(now)
            seen.now = now
        all_refused()
        over.set()
        for run in runs:
            run.result()
        assert sum(spender.granted for spender in spenders) == 98 * 2
        held.commit(tokens(2))
        row = authority.balance(SCOPE, "TOKENS")
        assert (row.spent, row.reserved, row.renewals, authority.check()) == (98, 0, 1, [])
        with authority.store.reading() as books:
            assert [(past.spent, past.reserved) for past in books.all_past()] == [(100, 0)]
