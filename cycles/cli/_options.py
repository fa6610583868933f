"""The options that commands share: the authority, amounts, the levels of a subject, and the details of a spend."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from cycles._core.requests import LEVELS
from cycles.cli._parameters import AmountType, ObjectType, PairType
from cycles.local.admin.names import UNIT_NAMES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cycles_api.models.amount import Amount

C = TypeVar("C", bound=Callable[..., Any])
R = TypeVar("R")


# -- the authority -----------------------------------------------------------------------------------------------------
class Where(NamedTuple):
    """What the command line says about the authority.

    Attributes:
        base_url, tenant: As given, or None.
        api_key_file: Where the key is read from: a path, "-" for standard input, or None for the environment.
    """

    base_url: str | None
    tenant: str | None
    api_key_file: str | None


def authority_options(command: Callable[..., R]) -> Callable[..., R]:
    """Add the options that name an authority; the command gets them as `where`."""

    @functools.wraps(command)
    def with_where(*, base_url: str | None, tenant: str | None, api_key_file: str | None, **values: Any) -> R:
        return command(where=Where(base_url, tenant, api_key_file), **values)

    options = (
        click.option("--base-url", metavar="URL", help="Where the authority is.  [env: CYCLES_BASE_URL]"),
        click.option("--tenant", help="Whose budgets.  [env: CYCLES_TENANT]"),
        click.option(
            "--api-key-file",
            metavar="FILE",
            help="Read the API key from its first line; - is standard input.  [env: CYCLES_API_KEY holds the key]",
        ),
    )
    decorated: Callable[..., R] = with_where
    for option in reversed(options):
        decorated = option(decorated)
    return decorated


# -- amounts and levels ------------------------------------------------------------------------------------------------
def amount_options(meaning: str) -> Callable[[C], C]:
    """Add --usd, --tokens, --credits and --risk-points to a command."""
    helps = {
        "usd": f"{meaning}, in US dollars, such as 0.05 or 2k; exact to 8 decimals.",
        "tokens": "In tokens, such as 1500, 10k or 2.5M.",
        "credits": "In credits.",
        "risk_points": "In risk points.",
    }

    def added(command: C) -> C:
        for unit in reversed(UNIT_NAMES):
            name = f"--{unit.replace('_', '-')}"
            command = click.option(name, unit, type=AmountType(unit), help=helps[unit])(command)
        return command

    return added


def taken_amounts(values: dict[str, Any]) -> list[Amount]:
    """Take the amounts of `amount_options` out of a command's *values*."""
    found = [values.pop(unit) for unit in UNIT_NAMES]
    return [amount for amount in found if amount is not None]


def taken_amount(values: dict[str, Any]) -> Amount:
    """Take the one amount of `amount_options` out of a command's *values*."""
    found = taken_amounts(values)
    if len(found) != 1:
        raise click.UsageError("give one amount: --usd, --tokens, --credits or --risk-points")
    return found[0]


def level_options(meaning: str, *, but: tuple[str, ...] = ("tenant",)) -> Callable[[C], C]:
    """Add an option for each level of a subject, *but* for these."""

    def added(command: C) -> C:
        for level in reversed([level for level in LEVELS if level not in but]):
            command = click.option(f"--{level}", help=f"{meaning} {level}.")(command)
        return command

    return added


def given_levels(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the levels that the command line names."""
    return {level: values[level] for level in LEVELS if values.get(level) is not None}


# -- a spend -----------------------------------------------------------------------------------------------------------
def spend_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the details of a spend beside its amount, as decide and record take them."""
    options = (
        click.option(
            "--action",
            nargs=2,
            metavar="KIND NAME",
            default=("manual", "cycles"),
            show_default="manual cycles",
            help="What is done, such as llm.completion gpt-4o.",
        ),
        level_options("The subject's"),
        click.option("--dimension", "dimensions", multiple=True, type=PairType(), help="A further label; repeatable."),
        click.option("--tag", "tags", multiple=True, help="A label of the action; repeatable."),
        click.option("--metadata", type=ObjectType(), help="An object to keep with it."),
        click.option("--idempotency-key", metavar="KEY", help="The same key is the same request; default: a new one."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def taken_spend(values: dict[str, Any]) -> dict[str, Any]:
    """Return the client's arguments for a spend from a command's *values*, without its amount."""
    rest = {name: values[name] for name in ("action", "metadata", "idempotency_key")}
    rest |= {"tags": list(values["tags"]) or None, "dimensions": dict(values["dimensions"]) or None}
    return rest | given_levels(values)
