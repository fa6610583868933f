"""`cycles journal`: what happened and is not settled yet, and what to do about it (protocol.md §9)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from cycles import telemetry
from cycles._drivers import blocking
from cycles.amounts import describe
from cycles.client import Client
from cycles.config import Config
from cycles.errors import ConfigError, CyclesError
from cycles.journal import Journal, default_directory, journal_of
from cycles.recovery import drain as draining
from cycles_api.errors import DecodeError
from cycles_api.models.amount import Amount

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cycles.journal import Entry

directory: Final = click.option(
    "--dir",
    "root",
    envvar="CYCLES_JOURNAL_DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the journal is.  [env: CYCLES_JOURNAL_DIR; default: the user's state directory]",
)
json_output: Final = click.option("--json", "as_json", is_flag=True, help="Write JSON.")
file_name: Final = click.argument("name", metavar="FILE")


def _journals(root: Path | None) -> Iterator[Journal]:
    root = default_directory() if root is None else root
    for path in sorted(root.glob("*/partition.json")):
        yield Journal(path.parent)


def _about(found: Journal) -> dict[str, Any]:
    try:
        about = json.loads((found.directory / "partition.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return about if isinstance(about, dict) else {}


def _facts(found: Journal, entry: Entry) -> dict[str, Any]:
    about = _about(found)
    return {
        "file": entry.name,
        "where": entry.where,
        "authority": about.get("authority"),
        "tenant": about.get("tenant"),
        "written_at": entry.written_at.isoformat(timespec="seconds"),
        "reason": entry.reason or None,
        "record": entry.record,
    }


def _line(found: Journal, entry: Entry) -> str:
    record = entry.record or {}
    try:
        amount = describe(Amount.from_dict(record["actual"]))
    except (DecodeError, KeyError, TypeError):
        amount = "no amount"
    held = record.get("reservation_id") or "without reservation"
    notes = [note for note in (record.get("provisional") and "of a running section", entry.reason) if note]
    about = _about(found)
    return (
        f"{entry.where:<10}  {entry.written_at:%Y-%m-%d %H:%M:%S}Z  {amount}  {held}  "
        f"tenant {about.get('tenant') or '-'} at {about.get('authority') or '-'}  {entry.name}"
        f"{''.join(f' [{note}]' for note in notes)}"
    )


def _show(root: Path | None, *where: str, as_json: bool) -> None:
    found = [(journal, entry) for journal in _journals(root) for entry in journal.entries() if entry.where in where]
    if as_json:
        click.echo(json.dumps([_facts(journal, entry) for journal, entry in found]))
        return
    for journal, entry in found:
        click.echo(_line(journal, entry))
    if not found:
        click.echo("nothing there")


def _with(root: Path | None, name: str, *where: str) -> tuple[Journal, Entry]:
    """Return the one file whose name begins with *name*."""
    matching = [
        (found, entry)
        for found in _journals(root)
        for entry in found.entries()
        if entry.where in where and entry.name.startswith(name)
    ]
    if len(matching) != 1:
        how_many = "no such file" if not matching else f"{len(matching)} files begin like this"
        raise click.ClickException(f"{name}: {how_many}; `cycles journal list` shows what there is")
    return matching[0]


@click.group()
def journal() -> None:
    """Spend that happened and that the authority has not acknowledged yet."""


@journal.command("list")
@directory
@json_output
def list_records(root: Path | None, *, as_json: bool) -> None:
    """Show what is pending, rejected, or in quarantine; nothing is sent.

    \b
    Example:
      cycles journal list
    """
    _show(root, "pending", "rejected", "quarantine", as_json=as_json)


@journal.command()
@directory
@file_name
def show(root: Path | None, name: str) -> None:
    """Show one file, as JSON.

    \b
    Example:
      cycles journal show v2-9f86d081
    """
    found, entry = _with(root, name, "pending", "rejected", "quarantine")
    click.echo(json.dumps(_facts(found, entry), indent=2, ensure_ascii=False))


@journal.command()
@click.option("--timeout", default=30.0, show_default=True, type=click.FloatRange(0, 86_400), help="Seconds.")
@json_output
def drain(timeout: float, *, as_json: bool) -> None:
    """Settle what is pending, with the authority, tenant and key of the environment (CYCLES_BASE_URL, …).

    Also what programs that still run have left pending; the keys make sure that nothing is charged twice. Ends with
    status 1 when something is still pending.

    \b
    Example:
      cycles journal drain --timeout 60
    """
    try:
        config = Config.from_env()
        found = journal_of(config, telemetry.notify)
        if found is None:
            raise ConfigError("there is no journal: it is turned off, or the authority ends with the program")
        # Without a journal of its own the client begins no recovery in the background.
        with Client(config.replace(journal_enabled=False, unavailable="deny")) as client:
            world = client.world(journal=found)
            patience = config.connect_timeout + config.read_timeout
            drained = blocking.run(draining(found, config.retry, timeout, patience, everyone=True), world)
    except CyclesError as error:
        raise click.ClickException(error.message) from None
    left = len(found.names())
    if as_json:
        click.echo(json.dumps({"settled": drained.settled, "rejected": drained.rejected, "pending": left}))
    else:
        click.echo(f"{drained.settled} settled, {drained.rejected} rejected, {left} pending")
    if left:
        raise click.exceptions.Exit(1)


@journal.group()
def quarantine() -> None:
    """Files that are no records of this version."""


@quarantine.command("list")
@directory
@json_output
def list_quarantine(root: Path | None, *, as_json: bool) -> None:
    """Show what was set aside, and why.

    \b
    Example:
      cycles journal quarantine list
    """
    _show(root, "quarantine", as_json=as_json)


@quarantine.command()
@directory
@file_name
def restore(root: Path | None, name: str) -> None:
    """Put a file back, after it was mended: the next recovery reads it again.

    \b
    Example:
      cycles journal quarantine restore v2-9f86d081
    """
    found, entry = _with(root, name, "quarantine")
    try:
        found.restore(entry.name)
    except OSError as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"{entry.name} is pending again")


@quarantine.command()
@directory
@file_name
@click.option("--yes", is_flag=True, help="Do not ask.")
def remove(root: Path | None, name: str, *, yes: bool) -> None:
    """Delete a file for good: if it was spend, it is never charged.

    \b
    Example:
      cycles journal quarantine remove v2-9f86d081
    """
    found, entry = _with(root, name, "quarantine")
    if not yes:
        click.confirm(f"Delete {entry.name}? What it held is never charged", abort=True)
    found.remove(entry.name)
    click.echo(f"{entry.name} is gone")
