"""`cycles level`: the value that names any text at a level of the subject."""

from __future__ import annotations

import click

import cycles
from cycles.cli._errors import explained
from cycles.cli._output import json_output, write_json


@click.command()
@click.argument("text")
@json_output
def level(*, text: str, as_json: bool) -> None:
    """Show the value that names TEXT at a level of the subject: an e-mail address, a title. It asks nobody.

    The same text gives the same value everywhere, and `cycles.level` in Python gives it too.

    \b
    Example:
      cycles local budget create "tenant:acme/workspace:$(cycles level zoe@example.com)" --usd 1
    """
    with explained(as_json=as_json):
        value = cycles.level(text)
    if as_json:
        write_json({"level": value})
    else:
        click.echo(value)
