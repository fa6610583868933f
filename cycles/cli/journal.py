"""`cycles journal`: spend that is not settled, and what to do about it (docs/protocol.md, Settlement and recovery)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from cycles._drivers import blocking
from cycles._journal.journal import Journal
from cycles._journal.partitions import default_directory
from cycles._journal.recovery import drain as draining
from cycles._journal.registry import journal_of
from cycles._journal.trust import Foreign, must_be_ours, read_own
from cycles._telemetry import log
from cycles.amounts import describe
from cycles.cli._client import configured
from cycles.cli._errors import NO, USAGE, Failure, explained
from cycles.cli._options import authority_options
from cycles.cli._output import json_output, write_json, write_table
from cycles.client import Client
from cycles.errors import ConfigError
from cycles_api.errors import DecodeError
from cycles_api.models.amount import Amount

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cycles._journal.entries import Entry
    from cycles._journal.recovery import Drained
    from cycles.cli._options import Where

directory: Final = click.option(
    "--dir",
    "root",
    envvar="CYCLES_JOURNAL_DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the journal is.  [env: CYCLES_JOURNAL_DIR; default: the user's state directory]",
)
file_name: Final = click.argument("name", metavar="FILE")


def _journals(root: Path | None) -> Iterator[Journal]:
    """Return the journal of each partition.

    Raises:
        JournalError: the directory can't be trusted.
    """
    root = default_directory() if root is None else Path(os.path.expanduser(root))  # noqa: PTH111 - never raises
    must_be_ours(root)
    for path in sorted(root.glob("*/partition.json")):
        yield Journal(path.parent)


def _about(found: Journal) -> dict[str, Any]:
    try:
        about = json.loads(read_own(str(found.directory / "partition.json")))
    except (OSError, ValueError, RecursionError, Foreign):
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
        "parked_until": None if (until := entry.parked_until()) is None else until.isoformat(timespec="seconds"),
        "record": entry.record,
    }


def _row(found: Journal, entry: Entry) -> tuple[str | None, ...]:
    record = entry.record or {}
    try:
        amount = describe(Amount.from_dict(record["actual"]))
    except (DecodeError, KeyError, TypeError):
        amount = None
    answer = record.get("answer")
    refusal = f"{answer.get('status')} {answer.get('code')}" if isinstance(answer, dict) else None
    until = entry.parked_until()
    parked = None if until is None else f"parked until {until:%Y-%m-%d %H:%M:%S}Z: the authority asked to wait (429)"
    running = record.get("provisional") and "of a running section, or of one that was killed"
    notes = [note for note in (running, parked, refusal, entry.reason) if note]
    about = _about(found)
    return (
        entry.where,
        f"{entry.written_at:%Y-%m-%d %H:%M:%S}Z",
        amount,
        record.get("reservation_id"),
        about.get("tenant"),
        about.get("authority"),
        entry.name,
        "; ".join(notes),
    )


def _show(root: Path | None, *where: str, as_json: bool) -> None:
    with explained(as_json=as_json):
        found = [(journal, entry) for journal in _journals(root) for entry in journal.entries() if entry.where in where]
    if as_json:
        write_json([_facts(journal, entry) for journal, entry in found])
    elif found:
        columns = ("WHERE", "WRITTEN", "AMOUNT", "RESERVATION", "TENANT", "AUTHORITY", "FILE", "NOTES")
        write_table(columns, [_row(journal, entry) for journal, entry in found], right=["AMOUNT"])
    else:
        click.echo("nothing there")


def _with(root: Path | None, name: str, *where: str, as_json: bool) -> tuple[Journal, Entry]:
    """Return the one file whose name begins with *name*."""
    with explained(as_json=as_json):
        matching = [
            (found, entry)
            for found in _journals(root)
            for entry in found.entries()
            if entry.where in where and entry.name.startswith(name)
        ]
    if len(matching) != 1:
        how_many = "no such file" if not matching else f"{len(matching)} files begin like this"
        message = f"{name}: {how_many} in {' or '.join(where)}"
        raise Failure(message, USAGE, remedy="`cycles journal list` shows what there is", as_json=as_json)
    return matching[0]


@click.group()
def journal() -> None:
    """Spend that is not acknowledged yet: list, show, drain."""


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
@json_output
def show(root: Path | None, name: str, *, as_json: bool) -> None:
    """Show one file, as JSON: on several lines, or with --json on one.

    \b
    Example:
      cycles journal show v2-9f86d081
    """
    found, entry = _with(root, name, "pending", "rejected", "quarantine", as_json=as_json)
    facts = _facts(found, entry)
    if as_json:
        write_json(facts)
    else:
        click.echo(json.dumps(facts, indent=2))


@journal.command()
@authority_options
@directory
@click.option("--timeout", default=30.0, show_default=True, type=click.FloatRange(0, 86_400), help="Seconds.")
@click.option("--now", is_flag=True, help="Also try, once, what the authority asked to wait with (Retry-After).")
@json_output
def drain(*, where: Where, root: Path | None, timeout: float, now: bool, as_json: bool) -> None:
    """Settle what is pending of one authority, tenant and key.

    Also what programs that still run have left pending; the keys make sure that nothing is charged twice. Ends with
    status 1 when something is still pending: a section runs, or the authority asked to wait. Ends with 3 when the
    authority could not be reached, and with 4 when it refused the key.

    \b
    Example:
      cycles journal drain --timeout 60
      cycles journal drain --now
    """
    with explained(as_json=as_json):
        config = configured(where)
        if root is not None:
            config = config.replace(journal_dir=str(root))
        found = journal_of(config, log.notify)
        if found is None:
            raise ConfigError("there is no journal: it is turned off, or the authority ends with the program")
        # Without a journal of its own the client begins no recovery in the background.
        with Client(config.replace(journal_enabled=False, unavailable="deny")) as client:
            world = client.world(journal=found)
            patience = config.connect_timeout + config.read_timeout
            drained = blocking.run(draining(found, config.retry, timeout, patience, everyone=True, now=now), world)
        left, waits = _tell_drained(drained, found, as_json=as_json)
        if left and drained.error is not None and not waits:
            raise drained.error  # why it is pending still
    if left:
        raise click.exceptions.Exit(NO)


def _tell_drained(drained: Drained, found: Journal, *, as_json: bool) -> tuple[int, int]:
    """Say what a drain achieved; return how many charges are still pending, and how many of them are parked."""
    left = len(found.names())
    waits = [wait for entry in found.entries() if (wait := entry.parked_until()) is not None]
    if as_json:
        write_json({"settled": drained.settled, "rejected": drained.rejected, "pending": left, "parked": len(waits)})
        return left, len(waits)
    click.echo(f"{drained.settled} settled, {drained.rejected} rejected, {left} pending")
    running = sum(entry.is_running for entry in found.entries())
    if running:
        click.echo(f"{running} of running sections, which settle them at their end")
    if waits:
        until = f"{max(waits):%Y-%m-%d %H:%M:%S}Z"
        click.echo(f"{len(waits)} parked until {until} at the latest: the authority asked to wait (429); see --now")
    return left, len(waits)


@journal.group()
def rejected() -> None:
    """Spend that the authority understood and refused: never tried again, kept for a person to look at."""


@journal.group()
def quarantine() -> None:
    """Files that are no records of this version."""


def _list_command(group: click.Group, where: str, meaning: str) -> None:
    @group.command("list", help=f"{meaning}\n\n\b\nExample:\n  cycles journal {where} list")
    @directory
    @json_output
    def command(root: Path | None, *, as_json: bool) -> None:
        _show(root, where, as_json=as_json)


def _remove_command(group: click.Group, where: str, meaning: str) -> None:
    @group.command("remove", help=f"{meaning}\n\n\b\nExample:\n  cycles journal {where} remove v2-9f86d081")
    @directory
    @file_name
    @click.option("--yes", is_flag=True, help="Do not ask.")
    @json_output
    def command(root: Path | None, name: str, *, yes: bool, as_json: bool) -> None:
        found, entry = _with(root, name, where, as_json=as_json)
        if not yes:
            click.confirm(f"Delete {entry.name}? What it held is never charged", abort=True, err=True)
        try:
            found.remove(entry.name, where)
        except OSError as error:
            raise Failure(str(error), USAGE, as_json=as_json) from None
        if as_json:
            write_json({"file": entry.name, "removed_from": where})
        else:
            click.echo(f"{entry.name} is gone")


_list_command(rejected, "rejected", "Show what was refused, and what the authority said.")
_remove_command(rejected, "rejected", "Delete a file for good, once it is clear what became of the spend.")
_list_command(quarantine, "quarantine", "Show what was set aside, and why.")
_remove_command(quarantine, "quarantine", "Delete a file for good: if it was spend, it is never charged.")


@quarantine.command()
@directory
@file_name
@json_output
def restore(root: Path | None, name: str, *, as_json: bool) -> None:
    """Put a file back, after it was mended: the next recovery reads it again.

    \b
    Example:
      cycles journal quarantine restore v2-9f86d081
    """
    found, entry = _with(root, name, "quarantine", as_json=as_json)
    try:
        found.restore(entry.name)
    except OSError as error:
        raise Failure(str(error), USAGE, as_json=as_json) from None
    if as_json:
        write_json({"file": entry.name, "where": "pending"})
    else:
        click.echo(f"{entry.name} is pending again")
