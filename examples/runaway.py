"""A runaway agent, stopped by its budget: run it with `nox -s demo`.

An authority is started on loopback in a second process, with a budget of one dollar. Then an agent that never stops by
itself reads the source files of Python's own standard library, and pays for every token in them, as counted by Python's
tokenizer (`tokenize`), until the authority says no. Sync and async workers share the budget, side by side.

The second run has ten workers at once and one price for all calls, so the number of calls that a dollar buys is known
beforehand: the authority must admit exactly that many, however the workers race.

The exit status is 0 only when the books balance to the microcent in both runs.
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
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

import cycles
from cycles import usd, usd_microcents
from cycles.amounts import describe
from cycles_api.api.balances import get_balances
from cycles_api.models import Balance, BalanceResponse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BUDGET = usd("1.00")
PRICE_PER_TOKEN = 250  # microcents: $2.50 for a million tokens
PRICE_PER_CHARACTER = 100  # microcents: a page of 10,000 characters costs one cent
PAGE = 10_000  # characters
ACTION = ("tool.read", "python-stdlib")


class Books:
    """What the agent itself counted, to be compared with the authority's ledger."""

    def __init__(self, workers: int) -> None:
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

    def refused(self, worker: int) -> None:
        with self._lock:
            self.denied[worker] += 1


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
        except cycles.BudgetExceeded:
            return books.refused(worker)
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
        except cycles.BudgetExceeded:
            return books.refused(worker)
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


def table(row: Balance, books: Books, title: str) -> Table:
    figures = {"spent": row.spent, "reserved": row.reserved, "remaining": row.remaining}
    caption = "   ".join(f"{name} {describe(amount)}" for name, amount in figures.items() if amount)  # type: ignore[arg-type]
    shown = Table(title=title, caption=caption)
    for column in ("worker", "calls allowed", "calls denied", "paid"):
        shown.add_column(column, justify="right")
    for worker, (allowed, denied, charged) in enumerate(zip(books.allowed, books.denied, books.charged, strict=True)):
        kind = "thread" if worker < len(books.allowed) // 2 else "task"
        shown.add_row(f"{kind} {worker}", str(allowed), str(denied), describe(usd_microcents(charged)))
    total = (str(sum(books.allowed)), str(sum(books.denied)), describe(usd_microcents(sum(books.charged))))
    shown.add_row("all", *total, style="bold")
    return shown


def scenario(
    console: Console, title: str, workers: int, price: Callable[[str], tuple[int, int]], exactly: int | None
) -> bool:
    """Run one agent to its end and return whether the books balance."""
    with authority("demo-corp") as config, cycles.Client(config) as observer:
        books = Books(workers)
        done = threading.Event()

        def watch(live: Live) -> None:
            while not done.wait(0.1):
                live.update(table(ledger(observer), books, title))

        with Live(table(ledger(observer), books, title), console=console) as live:
            watcher = threading.Thread(target=watch, args=(live,))
            watcher.start()
            try:
                run_agent(config, workers, price, books)
            finally:
                done.set()
                watcher.join()
            row = ledger(observer)
            live.update(table(row, books, title))
        return balanced(console, row, books, exactly)


def balanced(console: Console, row: Balance, books: Books, exactly: int | None) -> bool:
    figures = row.to_dict()
    allocated, spent = figures["allocated"]["amount"], figures["spent"]["amount"]
    reserved, remaining = figures["reserved"]["amount"], figures["remaining"]["amount"]
    checks = {
        f"allocated {allocated} = spent {spent} + reserved {reserved} + remaining {remaining}": (
            allocated == BUDGET.amount == spent + reserved + remaining
        ),
        f"the authority's spent {spent} = what the workers paid {sum(books.charged)}": spent == sum(books.charged),
        f"nothing is held any more (reserved {reserved}), nothing is owed": reserved == 0 and remaining >= 0,
        f"every worker was stopped by the budget ({sum(books.denied)} denials)": all(books.denied),
    }
    if exactly is not None:
        allowed = sum(books.allowed)
        checks[f"the budget buys {exactly} calls, and {allowed} were admitted"] = allowed == exactly
    for check, holds in checks.items():
        console.print(f"  [{'green]holds' if holds else 'red]BROKEN'}[/] {check}")
    return all(checks.values())


def main() -> int:
    console = Console()
    console.print("All figures are microcents of a dollar where no unit is named (1 USD = 100,000,000).\n")
    exactly = BUDGET.amount // (PAGE * PRICE_PER_CHARACTER)
    held = [
        scenario(console, "A runaway agent with one dollar: it pays per token", 4, by_token, None),
        scenario(console, "Ten workers at once: a cent a page", 10, by_character, exactly),
    ]
    console.print("\n[bold green]All of it held.[/]" if all(held) else "\n[bold red]It did not hold.[/]")
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
