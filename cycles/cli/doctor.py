"""`cycles doctor`: why doesn't it work? It checks all from the settings to the journal, and changes nothing."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING, Any, Final

import click

from cycles.cli import _checks, _connection
from cycles.cli._checks import OK, WRONG, Check
from cycles.cli._client import configured
from cycles.cli._errors import NO
from cycles.cli._options import authority_options, given_levels, level_options
from cycles.cli._output import json_output, printable, write_json, write_table
from cycles.client import Client
from cycles.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cycles.cli._options import Where
    from cycles.config import Config

_COLOURS: Final = {"ok": "green", "note": "yellow", "wrong": "red"}
_OPTIONS: Final = {"base_url": "--base-url", "tenant": "--tenant", "api_key": "--api-key-file"}


@click.command()
@authority_options
@level_options("The subject's")
@click.option("--all", "show_all", is_flag=True, help="Also show the settings that have their defaults.")
@json_output
def doctor(*, where: Where, show_all: bool, as_json: bool, **levels: Any) -> None:
    """Find out what is wrong, and what to do about it.

    Nothing is changed. Ends with status 1 when something is wrong. Looks at the settings and where each came from, the
    way to the authority, the key, the tenant, the clock, the budgets of the configured subject, and the journal.

    \b
    Example:
      cycles doctor
    """
    config, error = None, None
    try:
        config = configured(where).replace(**given_levels(levels))
    except ConfigError as wrong:
        error = wrong
    given = {"base_url": where.base_url, "tenant": where.tenant, **levels}
    settings = _checks.settings_of(config, _OPTIONS | {level: f"--{level}" for level in levels}, given)
    found = list(_examined(config, error))
    is_well = all(check.state != WRONG for check in found)
    if as_json:
        write_json({"ok": is_well, "settings": settings, "checks": [check._asdict() for check in found]})
    else:
        _show(settings, found, show_all=show_all)
    if not is_well:
        raise click.exceptions.Exit(NO)


def _examined(config: Config | None, error: ConfigError | None) -> Iterator[Check]:
    yield from _checks.unknown_variables()
    if config is None:
        remedy = "set it, or give it as an option (--base-url, --tenant, --api-key-file)"
        yield Check("settings", WRONG, "" if error is None else error.message, remedy)
        return
    yield Check("settings", OK, "complete")
    yield from _checks.local_ledger(config) if config.is_local else _remote(config)
    yield from _checks.journal(config)


def _remote(config: Config) -> Iterator[Check]:
    for check in itertools.chain((_connection.engine(config),), _connection.network(config)):
        yield check
        if check.state == WRONG:
            return
    # Without a journal: a check must settle nothing.
    with Client(config.replace(journal_enabled=False, unavailable="deny")) as client:
        answer = _connection.ask(client, config.tenant)
        other = _connection.who_answers(config, answer)
        if other is not None:
            yield other
            return
        yield answer.check
        if answer.status is None:
            return
        yield from _checks.key_and_tenant(config, answer.status, answer.told, answer.key_tenant)
        yield _checks.clock(answer.date, answer.at)
        tenant = config.tenant or answer.key_tenant
        if answer.status not in (401, 403) and tenant is not None:
            yield from _checks.budgets_at(client, config, tenant)


def _show(settings: list[dict[str, Any]], found: list[Check], *, show_all: bool) -> None:
    rows = [(row["name"], row["value"], row["source"]) for row in settings if show_all or row["source"] != "default"]
    if rows:
        write_table(("SETTING", "VALUE", "FROM"), rows)
    if len(rows) < len(settings):
        click.echo(f"{len(settings) - len(rows)} settings have their defaults (--all shows them)")
    click.echo()
    width = max(len(check.name) for check in found)
    for check in found:
        state = f"{check.state:<5}"
        if not os.environ.get("NO_COLOR"):
            state = click.style(state, fg=_COLOURS[check.state])
        click.echo(f"{state}  {check.name:<{width}}  {printable(check.found)}")
        if check.remedy is not None and check.state != OK:
            click.echo(f"{'':<5}  {'':<{width}}  → {printable(check.remedy)}")
