"""`cycles mcp`: a small MCP server over which an agent budgets itself."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cycles._outside.extras import install
from cycles.cli._client import configured
from cycles.cli._errors import explained
from cycles.cli._options import authority_options
from cycles.cli._output import json_output, write_json
from cycles.errors import ConfigError

if TYPE_CHECKING:
    from cycles.cli._options import Where
    from cycles.config import Config


@click.command()
@authority_options
@click.option("--config", "shows_config", is_flag=True, help="Show what an MCP client's configuration needs, and end.")
@json_output
def mcp(*, where: Where, shows_config: bool, as_json: bool) -> None:
    """Serve an agent's budget as MCP tools, on standard input and output.

    The tools are balance, decide, reserve, commit, release, extend, event and list. They spend for the subject that the
    CYCLES_ variables name. Reservations are kept while the session lasts; what is still open at its end is released.
    It needs the extra `mcp`.

    \b
    Example:
      cycles mcp --config
    """
    with explained(as_json=as_json) as asked:
        config = configured(where)
        asked.is_local = config.is_local
        if shows_config:
            _show_config(config, as_json=as_json)
            return
        _server_module().budget_server(config).run()


def _show_config(config: Config, *, as_json: bool) -> None:
    environ = {"CYCLES_BASE_URL": _from_anywhere(config.base_url)}
    if config.tenant is not None:
        environ["CYCLES_TENANT"] = config.tenant
    if not config.is_local:
        environ["CYCLES_API_KEY"] = "the key"
    shown = {"mcpServers": {"budget": {"command": "cycles", "args": ["mcp"], "env": environ}}}
    if as_json:
        write_json(shown)
    else:
        click.echo(json.dumps(shown, indent=2))


def _from_anywhere(base_url: str) -> str:
    """Return *base_url* so that it names the same ledger file in another directory, too."""
    path, mark, query = base_url.removeprefix("local:").partition("?")
    if not base_url.startswith("local:") or not path:
        return base_url
    return f"local:{Path(path).absolute()}{mark}{query}"


def _server_module() -> Any:
    try:
        return importlib.import_module("cycles.integrations._budget_server")
    except ImportError as error:
        if (error.name or "").partition(".")[0] == "cycles":
            raise
        raise ConfigError(f"cycles mcp needs the extra mcp (no module {error.name}): {install('mcp')}") from None
