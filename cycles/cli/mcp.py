"""`cycles mcp`: a small MCP server over which an agent budgets itself."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

import click

from cycles.cli._client import configured
from cycles.cli._errors import explained
from cycles.cli._options import authority_options
from cycles.errors import ConfigError

if TYPE_CHECKING:
    from cycles.cli._options import Where


@click.command()
@authority_options
def mcp(*, where: Where) -> None:
    """Serve an agent's budget as MCP tools, on standard input and output.

    The tools are balance, decide, reserve, commit, release, extend, event and list. They spend for the subject that the
    CYCLES_ variables name. Reservations are kept while the session lasts; what is still open at its end is released.

    It needs the extra `mcp` (pip install 'cycles-guard[cli,mcp]').

    \b
    Example, for a client's configuration:
      {"mcpServers": {"budget": {"command": "cycles", "args": ["mcp"],
        "env": {"CYCLES_BASE_URL": "local:ledger.db?usd=5.00"}}}}
    """
    with explained() as asked:
        config = configured(where)
        asked.is_local = config.is_local
        try:
            server = importlib.import_module("cycles.integrations._budget_server")
        except ImportError as error:
            if (error.name or "").partition(".")[0] == "cycles":
                raise
            raise ConfigError(
                f"cycles mcp needs the extra mcp (no module {error.name}): pip install 'cycles-guard[mcp]'"
            ) from None
        server.budget_server(config).run()
