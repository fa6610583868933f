"""`cycles prices`: what is known about the price of a model."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click

from cycles._prices.rates import PER_TOKEN
from cycles._prices.table import Table
from cycles.cli._errors import NO, Failure, explained
from cycles.cli._output import json_output, write_json, write_table

if TYPE_CHECKING:
    from decimal import Decimal

    from cycles._prices.rates import Price
    from cycles._prices.table import Entry

_ALWAYS: Final = ("input", "cached_input", "output")


@click.command()
@click.argument("model")
@click.option("--provider", help="Only this provider's price: openai, anthropic, google, …")
@json_output
def prices(*, model: str, provider: str | None, as_json: bool) -> None:
    """Show what MODEL costs at each provider that has it, in dollars per million tokens, and how old that is.

    It asks nobody: the table is that of the installed genai-prices (extra `prices`), and as old. A price that is not
    known, or has changed, is given in Python: `cycles.Prices({"my-model": {"input": "0.50", "output": "1.50"}})`.

    \b
    Example:
      cycles prices gpt-4o --provider openai
    """
    with explained(as_json=as_json):
        table = Table()
        entries = _found(table, model, provider)
        checked, version = table.checked, table.version
    if not entries:
        whose = "" if provider is None else f" of {provider}"
        raise Failure(
            f"no price is known for {model!r}{whose}, in genai-prices {version}",
            NO,
            remedy=f'give it: cycles.Prices({{"{model}": {{"input": "0.50", "output": "1.50"}}}}), in dollars per '
            "million tokens; or is there a newer table (pip install -U genai-prices), or another spelling?",
            as_json=as_json,
        )
    if as_json:
        age = None if checked is None else (datetime.now(tz=UTC).date() - checked).days
        known = {"genai_prices": version, "checked": None if checked is None else str(checked), "age_days": age}
        write_json({"table": known, "prices": [_figures(entry) for entry in entries]})
        return
    kinds = [kind for kind in PER_TOKEN if kind in _ALWAYS or any(kind in entry.rates.prices for entry in entries)]
    rows = [
        (entry.provider, entry.model, *(_shown(entry.rates.prices.get(kind)) for kind in kinds), _more(entry))
        for entry in entries
    ]
    headings = [kind.replace("_", " ").upper() for kind in kinds]
    write_table(("PROVIDER", "MODEL", *headings, "NOTES"), rows, right=headings)
    click.echo(f"dollars per million tokens, in genai-prices {version}; prices were last checked on {checked}")


def _found(table: Table, model: str, provider: str | None) -> list[Entry]:
    if provider is not None:
        entry = table.find(provider, model)
        entries = [] if entry is None else [entry]
    else:
        entries = list(table.entries(model))
    return [entry for entry in entries if entry.rates.bills_input]


def _figures(entry: Entry) -> dict[str, Any]:
    """Return an entry as `--json` writes it: prices as text, since they are exact."""
    return {
        "provider": entry.provider,
        "model": entry.model,
        "context_window": entry.context_window,
        "prices": {
            kind: {
                "price": _dollars(price.base),
                "above": [{"input_tokens": start, "price": _dollars(above)} for start, above in price.above],
            }
            for kind, price in entry.rates.prices.items()
        },
    }


def _shown(price: Price | None) -> str | None:
    """Return a price for people: "$2.50", "$0.125"."""
    if price is None:
        return None
    whole, _, fraction = _dollars(price.base).partition(".")
    return f"${whole}.{fraction.rstrip('0').ljust(2, '0')}"


def _dollars(price: Decimal) -> str:
    return f"{price:f}"


def _more(entry: Entry) -> str | None:
    """Return the remarks on an entry: what is priced apart, and from which length on it is dearer."""
    thousands = {"web_search": "searches", "file_search": "file searches", "request": "requests"}
    notes = [
        f"{price} for 1,000 {name}"
        for kind, name in thousands.items()
        if (price := _shown(entry.rates.prices.get(kind))) is not None
    ]
    starts = sorted({start for price in entry.rates.prices.values() for start, _ in price.above})
    notes += [f"dearer above {start:,} input tokens" for start in starts]
    return ", ".join(notes) or None
