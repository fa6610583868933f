"""`cycles evidence`: whether an authority signed what it is said to have answered."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, Final

import click

from cycles.cli._audit import Audit
from cycles.cli._client import client_of
from cycles.cli._errors import NO, UNREACHABLE, explained
from cycles.cli._options import authority_options
from cycles.cli._output import json_output, write_facts, write_json, write_table
from cycles.cli._parameters import MomentType
from cycles.evidence import Outcome, key_set, verify

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from cycles.cli._options import Where
    from cycles.evidence import Keys, Verification

_KEYLESS: Final = (Outcome.BINDING_ONLY, Outcome.SIGNER_RESOLUTION_FAILED)
_NO_KEYS: Final = (
    "whose signature it is was not checked: give --keys FILE (the server's key set, or its key in hex), "
    "or the server that signs in CYCLES_BASE_URL"
)
_UNSIGNED: Final = (
    "a local: URL signs nothing: there is evidence only of what `cycles serve --sign` answered for this ledger"
)

_ID: Final = re.compile(r"[0-9a-f]{64}")


@click.group()
def evidence() -> None:
    """What an authority has signed: verify one envelope, or audit all of a time."""


def _key_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add --keys and --server-id."""
    command = click.option("--server-id", metavar="NAME", help="The server that it must be of.")(command)
    return click.option(
        "--keys",
        metavar="KEYS",
        help="A key set's file or URL, or a pinned key in hex; default: the authority's.",
    )(command)


def _given(keys: str | None) -> Keys | None:
    """Return what --keys names; a URL is for the client to fetch."""
    return keys if keys is None or keys.startswith(("http://", "https://")) else key_set(keys)


@evidence.command("verify")
@authority_options
@click.argument("what", metavar="FILE|ID")
@_key_options
@json_output
def verify_one(*, where: Where, what: str, keys: str | None, server_id: str | None, as_json: bool) -> None:
    """Verify an envelope: in FILE (- is standard input), or the one of an ID, which is fetched.

    A file with --keys FILE or a pinned key is verified offline. Status 0: authentic; 3: there is no key set;
    1: anything else.

    \b
    Example:
      cycles evidence verify envelope.json --keys keys.json
    """
    is_id = bool(_ID.fullmatch(what))
    is_url = keys is not None and keys.startswith(("http://", "https://"))
    has_authority = bool(where.base_url or os.environ.get("CYCLES_BASE_URL"))
    if is_id or is_url or (keys is None and has_authority):
        asked: str | bytes = what if is_id else _content(what)
        with client_of(where, as_json=as_json) as client:
            found = client.evidence(asked, _given(keys), server_id=server_id)
    else:
        content = _content(what)
        with explained(as_json=as_json):
            found = verify(content, None if keys is None else key_set(keys), server_id=server_id)
    _show(found, as_json=as_json)
    if keys is None and found.outcome in _KEYLESS:
        click.echo(f"note: {_NO_KEYS}", err=True)
    if not found:
        raise click.exceptions.Exit(UNREACHABLE if found.outcome is Outcome.SIGNER_RESOLUTION_FAILED else NO)


def _content(path: str) -> bytes:
    try:
        with click.open_file(path, "rb") as file:
            content: bytes = file.read()
    except OSError as error:
        raise click.UsageError(f"{path}: {error.strerror}; give a file, or an id of 64 hex digits") from None
    return content


def _show(found: Verification, *, as_json: bool) -> None:
    issued_at = None if found.issued_at is None else found.issued_at.isoformat()
    facts: dict[str, Any] = {
        "outcome": str(found.outcome),
        "reason": found.reason,
        "evidence_id": found.evidence_id,
        "artifact_type": found.artifact_type,
        "server_id": found.server_id,
        "signer_did": found.signer_did,
        "issued_at": issued_at,
    }
    if as_json:
        write_json({"authentic": bool(found), **facts, "envelope": found.envelope})
    else:
        write_facts([(name.replace("_", " "), value) for name, value in facts.items()])


@evidence.command()
@authority_options
@click.option("--from", "begin", type=MomentType(), help="Reservations made then or later: a time, or 2h, 1d (ago).")
@click.option("--to", "end", type=MomentType(), help="Reservations made then or before.")
@_key_options
@json_output
def audit(
    *,
    where: Where,
    begin: str | timedelta | None,
    end: str | timedelta | None,
    keys: str | None,
    server_id: str | None,
    as_json: bool,
) -> None:
    """Verify all evidence of the reservations of a time, and compare it with the ledger. Status 1: something differs.

    \b
    Example:
      cycles evidence audit --from 1d --keys keys.json
    """
    with client_of(where, as_json=as_json) as client:
        if client.config.is_local:
            click.echo(f"note: {_UNSIGNED}", err=True)
        created = None if begin is None and end is None else (begin, end)
        found = Audit(client, _given(keys), server_id)
        for row in client.reservations(created=created, include=["evidence"], page_size=200):
            found.look_at(row)
    differences = found.differences
    if as_json:
        write_json(
            {
                "reservations": found.reservations,
                "authentic": found.authentic,
                "differences": [difference._asdict() for difference in differences],
            }
        )
    else:
        if differences:
            rows = [(each.reservation_id, each.artifact, each.what) for each in differences]
            write_table(("RESERVATION", "EVIDENCE OF", "DIFFERENCE"), rows)
        counts = {"reservation": found.reservations, "authentic envelope": found.authentic}
        counted = {**counts, "difference": len(differences)}
        click.echo(", ".join(f"{count} {name}{'s' * (count != 1)}" for name, count in counted.items()))
    if differences:
        raise click.exceptions.Exit(NO)
