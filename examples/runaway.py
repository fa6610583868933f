"""A runaway agent, stopped by its budget: run it with `nox -s demo`.

An authority is started on loopback in a second process, with a budget of one dollar. Then an agent that never stops by
itself reads the source files of Python's own standard library, and pays for every token in them, as counted by Python's
tokenizer (`tokenize`), until the authority says no. Sync and async workers share the budget, side by side.

The second run has ten workers at once and one price for all calls, so the number of calls that a dollar buys is known
beforehand: the authority must admit exactly that many, however the workers race.

On a terminal a table follows the workers; elsewhere lines tell how far they are. Each denial is a line, when it
happens. The exit status is 0 only when the books balance to the microcent in both runs.
"""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import subprocess
import sys
import tempfile
import threading
import tokenize
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table

import cycles
from cycles import usd, usd_microcents
from cycles_api.api.balances import get_balances
from cycles_api.models import Balance, BalanceResponse
from cycles_api.types import Unset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BUDGET = usd("1.00")
PRICE_PER_TOKEN = 1_000  # microcents: $10 for a million tokens
PRICE_PER_CHARACTER = 100  # microcents: a page of 10,000 characters costs one cent
PAGE = 10_000  # characters
ACTION = ("tool.read", "python-stdlib")
WIDTH = 54  # of the table

NEXT = """\
  README.md             a first program with its own dollar
  docs/guard.md         what a guarded call does
  examples/testing      a test of an agent with a dollar"""


def dollars(microcents: int) -> str:
    """Return an amount with four decimals, so that columns keep their width; sums are checked exactly."""
    return f"${microcents / 10**8:.4f}"


class Books:
    """What the agent itself counted, to be compared with the authority's ledger; *tell* is called with the news."""

    def __init__(self, workers: int, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self.allowed = [0] * workers
        self.denied = [0] * workers
        self.charged = [0] * workers  # microcents

    def paid(self, worker: int, reservation: cycles.Reservation | cycles.AsyncReservation) -> None:
        settlement = reservation.settlement
        if settlement is None or settlement.charged is None:
            raise RuntimeError(f"not settled: {reservation!r} {reservation.settlement_error}")
        with self._lock:
            self.allowed[worker] += 1
            self.charged[worker] += settlement.charged.amount

    def refused(self, worker: int, denied: cycles.BudgetExceeded) -> None:
        with self._lock:
            self.denied[worker] += 1
        said = denied.details
        asked, left = dollars(said["requested"]), dollars(said["remaining"])
        self._tell(f"denied {self.name(worker)}: asked for {asked}, {left} left")

    def name(self, worker: int) -> str:
        """Return what *worker* is called: the first half are threads, the others tasks."""
        return f"{'thread' if worker < len(self.allowed) // 2 else 'task'} {worker}"

    def rows(self) -> Iterator[tuple[str, ...]]:
        """Return a row for each worker, and one for all of them."""
        for worker, counts in enumerate(zip(self.allowed, self.denied, self.charged, strict=True)):
            yield self.name(worker), str(counts[0]), str(counts[1]), dollars(counts[2])
        yield "all", str(sum(self.allowed)), str(sum(self.denied)), dollars(sum(self.charged))


class Work:
    """Pages of real text without end, each with what it is expected to cost and what it costs, in microcents."""

    def __init__(self) -> None:
        files = sorted(Path(io.__file__).parent.glob("*.py"))
        self._pages = itertools.cycle(_pages(files))
        self._lock = threading.Lock()

    def next_page(self) -> str:
        with self._lock:
            return next(self._pages)


def _pages(files: list[Path]) -> list[str]:
    text = "\n".join(file.read_text(encoding="utf-8", errors="replace") for file in files[:60])
    return [text[start : start + PAGE] for start in range(0, len(text) - PAGE, PAGE)]


def count_tokens(page: str) -> int:
    """Return how many Python tokens *page* holds; a page ends anywhere, so what can't be read ends the count."""
    count = 0
    try:
        for _ in tokenize.generate_tokens(io.StringIO(page).readline):
            count += 1
    except (tokenize.TokenError, SyntaxError):
        pass
    return count


def by_token(page: str) -> tuple[int, int]:
    """Return (expected, real) cost: a token has seldom fewer than two characters."""
    return len(page) // 2 * PRICE_PER_TOKEN, count_tokens(page) * PRICE_PER_TOKEN


def by_character(page: str) -> tuple[int, int]:
    """Return (expected, real) cost, which are the same: the length is known beforehand."""
    return len(page) * PRICE_PER_CHARACTER, len(page) * PRICE_PER_CHARACTER


def sync_worker(
    client: cycles.Client, worker: int, work: Work, price: Callable[[str], tuple[int, int]], books: Books
) -> None:
    while True:
        page = work.next_page()
        expected, real = price(page)
        try:
            with cycles.Guard(usd_microcents(expected), action=ACTION, client=client) as reservation:
                reservation.commit(usd_microcents(real))  # the tool call itself: the page was read
        except cycles.BudgetExceeded as denied:
            return books.refused(worker, denied)
        books.paid(worker, reservation)


async def async_worker(
    client: cycles.AsyncClient, worker: int, work: Work, price: Callable[[str], tuple[int, int]], books: Books
) -> None:
    while True:
        page = work.next_page()
        expected, real = price(page)
        try:
            async with cycles.Guard(usd_microcents(expected), action=ACTION, client=client) as reservation:
                await reservation.commit(usd_microcents(real))
        except cycles.BudgetExceeded as denied:
            return books.refused(worker, denied)
        books.paid(worker, reservation)


def run_agent(config: cycles.Config, workers: int, price: Callable[[str], tuple[int, int]], books: Books) -> None:
    """Run half of the *workers* as threads and half as tasks of one event loop, until each was refused."""
    work = Work()

    async def tasks() -> None:
        async with cycles.AsyncClient(config) as client, asyncio.TaskGroup() as group:
            for worker in range(workers // 2, workers):
                group.create_task(async_worker(client, worker, work, price, books))

    failures: list[Exception] = []

    def guarded(target: Callable[..., Any], *args: Any) -> None:
        try:
            target(*args)
        except Exception as error:  # noqa: BLE001 - raised again below, in the thread that reports
            failures.append(error)

    with cycles.Client(config) as client:
        threads = [
            threading.Thread(target=guarded, args=(sync_worker, client, worker, work, price, books))
            for worker in range(workers // 2)
        ]
        threads.append(threading.Thread(target=guarded, args=(asyncio.run, tasks())))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]


@contextmanager
def authority(tenant: str) -> Iterator[cycles.Config]:
    """Run `cycles serve` in a second process, with BUDGET for *tenant*."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "cycles.cli", "serve", "--db", str(Path(folder) / "ledger.db")]
        command += ["--port", "0", "--json", "--budget", f"tenant:{tenant}=usd:1.00"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline())
            yield cycles.Config(ready["base_url"], api_key=ready["api_key"], tenant=tenant)
        finally:
            process.terminate()
            process.wait(timeout=10)
            if process.stdout is not None:
                process.stdout.close()


def ledger(client: cycles.Client) -> Balance:
    """Return the authority's row of the tenant's budget, through the generated bindings."""
    answer = get_balances.sync(client=client.api, tenant=client.config.tenant or "")
    if not isinstance(answer, BalanceResponse):
        raise TypeError(f"no balances: {answer!r}")
    (row,) = answer.balances
    return row


def table(row: Balance, books: Books) -> Table:
    """Return the workers' books, and the authority's below them; no figure changes the width of a column."""
    shown = Table(caption=figures(row), caption_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, width=WIDTH)
    for column, width in (("worker", 10), ("allowed", 9), ("denied", 9), ("paid", 12)):
        shown.add_column(column, justify="left" if column == "worker" else "right", width=width, no_wrap=True)
    for cells in books.rows():
        shown.add_row(*cells, style="bold" if cells[0] == "all" else None)
    return shown


def figures(row: Balance) -> str:
    """Return the authority's figures as one line."""
    held = {"spent": row.spent, "held": row.reserved, "left": row.remaining}
    said = (f"{name} {dollars(figure.amount)}" for name, figure in held.items() if not isinstance(figure, Unset))
    return f"authority: {', '.join(said)}"


def scenario(
    console: Console, title: str, workers: int, price: Callable[[str], tuple[int, int]], exactly: int | None
) -> bool:
    """Run one agent to its end and return whether the books balance."""
    console.print(f"\n[bold]{title}[/]", highlight=False)
    with authority("demo") as config, cycles.Client(config) as observer:
        books = Books(workers, lambda line: console.print(f"  {line}", highlight=False))
        done = threading.Event()
        live = Live(table(ledger(observer), books), console=console) if console.is_terminal else None

        def watch() -> None:
            told = 0
            while not done.wait(0.1):
                row = ledger(observer)
                tenths = sum(books.charged) * 10 // BUDGET.amount
                if live is not None:
                    live.update(table(row, books))
                elif tenths > told:
                    told = tenths
                    console.print(f"  {sum(books.allowed):>3} calls; {figures(row)}", highlight=False)

        watcher = threading.Thread(target=watch)
        with live or nullcontext():
            watcher.start()
            try:
                run_agent(config, workers, price, books)
            finally:
                done.set()
                watcher.join()
            row = ledger(observer)
            if live is not None:
                live.update(table(row, books))
        if live is None:
            console.print(table(row, books))
        return balanced(console, row, books, exactly)


def balanced(console: Console, row: Balance, books: Books, exactly: int | None) -> bool:
    """Say which of the promises hold, and return whether all do: in whole microcents, not as they are shown."""
    amounts = row.to_dict()
    allocated, spent = amounts["allocated"]["amount"], amounts["spent"]["amount"]
    reserved, remaining = amounts["reserved"]["amount"], amounts["remaining"]["amount"]
    checks = {
        f"{dollars(spent)} spent + {dollars(remaining)} left is the dollar": (
            allocated == BUDGET.amount == spent + reserved + remaining
        ),
        "both books agree to the microcent": spent == sum(books.charged),
        "nothing is held any more, nothing is owed": reserved == 0 and remaining >= 0,
        "the budget stopped every worker": all(books.denied),
    }
    if exactly is not None:
        allowed = sum(books.allowed)
        checks[f"a dollar buys {exactly} calls, and {allowed} were let through"] = allowed == exactly
    for check, holds in checks.items():
        console.print(f"  [{'green]holds' if holds else 'red]BROKEN'}[/]  {check}", highlight=False)
    return all(checks.values())


def main() -> int:
    """Run both agents and return the exit status."""
    console = Console()
    console.print(
        "An agent that never stops by itself gets $1.00. It reads\n"
        "Python's own library, and pays $10.00 for a million tokens.",
        highlight=False,
    )
    exactly = BUDGET.amount // (PAGE * PRICE_PER_CHARACTER)
    held = [
        scenario(console, "Four workers, one dollar, each page at its price", 4, by_token, None),
        scenario(console, "Ten workers, one dollar, $0.01 a page", 10, by_character, exactly),
    ]
    if not all(held):
        console.print("\n[bold red]It did not hold.[/]")
        return 1
    console.print("\n[bold green]All of it held.[/] Now your own agent:", highlight=False)
    console.print(NEXT, highlight=False, markup=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
