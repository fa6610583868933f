"""`cycles local keygen`: the keys that an authority signs evidence with."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import click

from cycles.cli._errors import explained
from cycles.cli._output import json_output, moment, write_facts, write_json
from cycles.cli._parameters import MomentType
from cycles.local.wire import signing_keys
from cycles.local.wire.clock import wall_clock


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--server-id", metavar="NAME", help="What evidence calls the server; default: a name made up once.")
@click.option("--rotate", is_flag=True, help="Add a key to FILE, and let the one before end.")
@click.option(
    "--after",
    type=MomentType(),
    default="10s",
    show_default=True,
    help="With --rotate: when the new key begins. Servers read FILE again by themselves, before that.",
)
@json_output
def keygen(file: Path, *, server_id: str | None, rotate: bool, after: str | timedelta, as_json: bool) -> None:
    """Make a file of signing keys for `cycles serve --sign FILE`, and show the public part; only you can read FILE.

    With --rotate it gets one more key. What the key before has signed stays good: its public part remains. Private
    parts of keys that ended earlier are removed.

    \b
    Example:
      cycles local keygen signing-keys.json
    """
    if rotate and server_id is not None:
        raise click.UsageError("--server-id can't change with --rotate: it is a part of what keys are called")
    if not isinstance(after, timedelta):
        raise click.UsageError(f"--after {after}: give a duration, such as 10s or 1h")
    with explained(as_json=as_json):
        signing_keys.need_extra()
        now_ms = wall_clock()
        if rotate:
            made = signing_keys.rotate(file, begins_ms=now_ms + after // timedelta(milliseconds=1), now_ms=now_ms)
        else:
            made = signing_keys.generate(file, server_id=server_id, now_ms=now_ms)
    if as_json:
        write_json(made)
        return
    write_facts(
        [
            ("server", made["server_id"]),
            ("key", made["kid"]),
            ("public", signing_keys.hex_of(made)),
            ("from", moment(made["cycles_nbf_ms"])),
        ]
    )
