"""Output for people (tables, on a terminal or piped) and for programs (JSON, one shape for each thing)."""

from __future__ import annotations

import io
import json
import sys
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from cycles.amounts import describe, spelled
from cycles_api.models.amount import Amount
from cycles_api.models.unit_enum import to_unit_enum
from cycles_api.types import UNSET, Unset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from cycles.errors import DenialDetail
    from cycles.local import Budget
    from cycles_api.models.balance import Balance

R = TypeVar("R")

json_output: Final = click.option("--json", "as_json", is_flag=True, help="Write JSON.")

_WIDE: Final = 100_000
"""Columns of a table that goes to no terminal: a program gets every value whole, on one line."""


def write_json(value: Any) -> None:
    """Write *value* for programs, on one line."""
    click.echo(json.dumps(value))


def printable(text: object) -> str:
    """Return *text* safe for a terminal, with control characters escaped."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in str(text))


def write_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Sequence[str] = ()) -> None:
    """Write a table; on a terminal long values are folded, never cut.

    Args:
        columns: The headings.
        rows: As many values each; None is an empty cell.
        right: The headings of right-aligned columns.
    """
    from rich.console import Console  # noqa: PLC0415 - costs import time, and JSON needs none of it
    from rich.table import Table  # noqa: PLC0415

    out = sys.stdout or io.StringIO()  # None where the caller closed it: then nobody reads
    wide = None if out.isatty() else _WIDE  # FORCE_COLOR makes a pipe colourful, but not narrow
    console = Console(file=out, markup=False, highlight=False, emoji=False, width=wide)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold" if console.is_terminal else "")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*("" if value is None else printable(value) for value in row))
    with console.capture() as captured:
        console.print(table)
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()), color=console.is_terminal or None)


def write_facts(facts: Iterable[tuple[str, object]]) -> None:
    """Write names and values below each other, without those that are None."""
    known = [(name, value) for name, value in facts if value is not None]
    width = max((len(name) for name, _ in known), default=0)
    for name, value in known:
        click.echo(f"{name:<{width}}  {printable(value)}")


def money(amount: Amount | Unset | None) -> str | None:
    """Return an amount for people, or None when there is none."""
    return None if amount is None or isinstance(amount, Unset) else describe(amount)


def moment(milliseconds: int | Unset | None) -> str | None:
    """Return milliseconds since the epoch as a time for people, in UTC."""
    if milliseconds is None or isinstance(milliseconds, Unset):
        return None
    try:
        return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M:%S}Z"
    except (OverflowError, ValueError, OSError):
        return f"{milliseconds} ms"


# -- denials -----------------------------------------------------------------------------------------------------------
def detail_in(detail: DenialDetail | None) -> dict[str, Any] | None:
    """Return what an authority says about a denial as `--json` writes it."""
    if detail is None:
        return None
    return {
        "reason_code": detail.reason_code,
        "scope": detail.scope,
        "remaining": detail.remaining,
        "policy": detail.policy,
        "quota": None if detail.quota is None else detail.quota.to_dict(),
        "suggested_fix": detail.suggested_fix,
    }


def detail_lines(detail: DenialDetail | None, asked: Amount) -> Iterator[str]:
    """Give what an authority says about the denial of *asked*, but for its advice, for people."""
    if detail is None:
        return
    if detail.scope is not None:
        yield f"refused by {detail.scope}"
    if detail.policy is not None:
        yield f"policy: {detail.policy}"
    if detail.quota is not None:
        quota = detail.quota
        yield f"quota: {quota.used} of {quota.limit} {quota.action_kind}, {quota.window}, at {quota.scope}"
    if detail.remaining is not None:
        yield f"left there: {spelled(asked.unit, detail.remaining)}"


# -- balances ----------------------------------------------------------------------------------------------------------
def figures_of(balance: Balance) -> dict[str, Any]:
    """Return an authority's balance as `--json` writes it; amounts that the authority leaves out are zero."""
    counts = {
        name: getattr(getattr(balance, name), "amount", 0) for name in ("reserved", "spent", "debt", "overdraft_limit")
    }
    remaining = balance.remaining.amount
    allocated = UNSET if isinstance(balance.allocated, Unset) else balance.allocated.amount
    if isinstance(allocated, Unset):
        allocated = remaining + counts["reserved"] + counts["spent"] + counts["debt"]
    return {
        "scope": balance.scope_path,
        "unit": str(balance.remaining.unit),
        "allocated": allocated,
        "remaining": remaining,
        **counts,
        "is_over_limit": balance.is_over_limit is True,
    }


def figures_in(row: Budget) -> dict[str, Any]:
    """Return a budget of a local ledger as `--json` writes it, with its status, caps and period."""
    names = (
        "allocated",
        "remaining",
        "reserved",
        "spent",
        "debt",
        "overdraft_limit",
        "is_over_limit",
        "status",
        "caps",
    )
    shown = {"scope": row.scope_path, "unit": row.unit, **{name: getattr(row, name) for name in names}}
    return shown | {"period": None if row.period is None else row.period._asdict()}


def show_budgets(budgets: Iterable[Mapping[str, Any]], *, as_json: bool, empty: str) -> None:
    """Write budgets, as `figures_of` or `figures_in` returns them, or *empty* when there are none."""
    budgets = list(budgets)
    if as_json:
        write_json(budgets)
        return
    if not budgets:
        click.echo(empty)
        return
    amounts = ("remaining", "allocated", "reserved", "spent", "debt")
    owes = any(budget["debt"] for budget in budgets)
    shown = amounts if owes else amounts[:-1]
    rows = [
        (budget["scope"], *(_figure(budget, name) for name in shown), ", ".join(notes_on(budget)) or None)
        for budget in budgets
    ]
    write_table(("SCOPE", *(name.upper() for name in shown), "NOTES"), rows, right=[name.upper() for name in shown])


def _figure(budget: Mapping[str, Any], name: str) -> str:
    return describe(Amount(unit=to_unit_enum(budget["unit"]), amount=budget[name]))


def notes_on(budget: Mapping[str, Any]) -> list[str]:
    """Return the remarks on a budget: its status, overdraft, period and caps."""
    notes = [str(budget["status"])] if budget.get("status", "ACTIVE") != "ACTIVE" else []
    notes += ["a default: each such scope begins with it"] * (":*" in budget["scope"])
    notes += ["over limit"] * bool(budget["is_over_limit"])
    notes += [f"may owe {_figure(budget, 'overdraft_limit')}"] * (budget["overdraft_limit"] > 0)
    period = budget.get("period")
    if period is not None:
        notes.append(f"anew each {period['kind']} ({period['zone']}), next {moment(period['ends_ms'])}")
    notes += [f"caps {json.dumps(budget.get('caps'))}"] * bool(budget.get("caps"))
    return notes


def one_more_than(limit: int, found: Iterable[R]) -> list[R]:
    """Read *limit* rows of *found*, and one that shows that there are more; all of them for 0."""
    return list(islice(found, limit + 1 if limit else None))


def write_list(
    rows: list[R],
    limit: int,
    *,
    as_json: bool,
    facts: Callable[[R], Any],
    show: Callable[[list[R]], None],
    noun: str,
) -> None:
    """Write the first *limit* of *rows*, as JSON or as a table, and whether there are more.

    Args:
        rows: As `one_more_than` reads them.
        limit: Rows at most; 0 is all.
        as_json: Whether a program reads it.
        facts: Makes the JSON of a row.
        show: Writes the table.
        noun: What a row is.
    """
    is_cut, rows = len(rows) > limit > 0, rows[:limit] if limit else rows
    if as_json:
        write_json([facts(row) for row in rows])
    elif rows:
        show(rows)
    else:
        click.echo(f"no {noun} found")
    if is_cut:
        click.echo(f"note: there are more than these {limit}; --limit 0 shows all", err=True)
