"""The root of the command tree: the group `cycles`. Each command stands in a module named after it."""

from __future__ import annotations

import click

from cycles.cli.balances import balances
from cycles.cli.completion import completion
from cycles.cli.decide import decide
from cycles.cli.doctor import doctor
from cycles.cli.evidence import evidence
from cycles.cli.journal import journal
from cycles.cli.level import level
from cycles.cli.local import local
from cycles.cli.mcp import mcp
from cycles.cli.prices import prices
from cycles.cli.record import record
from cycles.cli.reservations import reservations
from cycles.cli.serve import serve


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="cycles-guard", prog_name="cycles")
def cycles() -> None:
    """Runtime budget authority for AI agents.

    Most commands ask the authority that CYCLES_BASE_URL, CYCLES_API_KEY and CYCLES_TENANT name; `cycles local` and
    `cycles serve` work on a ledger file of this machine. Exit codes: 0 yes, 1 no, 2 usage, 3 authority unreachable,
    4 authority refuses, 5 output not written.
    """


COMMANDS = (
    balances,
    reservations,
    decide,
    record,
    prices,
    level,
    evidence,
    doctor,
    journal,
    local,
    serve,
    mcp,
    completion,
)

for command in COMMANDS:
    cycles.add_command(command)
