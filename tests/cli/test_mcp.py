"""`cycles mcp`: what a client's configuration needs, and what is missing. tests/integrations has the server itself."""

from __future__ import annotations

import json
import sys

from cycles._outside.extras import install

from .runner import Cli


def test_the_configuration_of_a_client(cli, path):
    """It works from any directory, and holds no key."""
    shown = json.loads(cli("mcp", "--config").stdout)
    assert json.loads(cli("mcp", "--config", "--json").stdout) == shown
    server = shown["mcpServers"]["budget"]
    assert (server["command"], server["args"]) == ("cycles", ["mcp"])
    assert server["env"]["CYCLES_TENANT"] == "acme"
    if cli.environ["CYCLES_BASE_URL"].startswith("local:"):
        assert server["env"]["CYCLES_BASE_URL"] == f"local:{path}"
        assert "CYCLES_API_KEY" not in server["env"]
    else:
        assert server["env"]["CYCLES_API_KEY"] == "the key"


def test_a_relative_path_becomes_absolute(cli, path, monkeypatch):
    monkeypatch.chdir(path.parent)
    here = Cli({**cli.environ, "CYCLES_BASE_URL": "local:ledger.db?usd=1"})
    server = json.loads(here("mcp", "--config").stdout)["mcpServers"]["budget"]
    assert server["env"]["CYCLES_BASE_URL"] == f"local:{path}?usd=1"


def test_without_the_extra(cli, monkeypatch):
    monkeypatch.setitem(sys.modules, "mcp", None)
    monkeypatch.delitem(sys.modules, "cycles.integrations._budget_server", raising=False)
    assert install("mcp") in cli("mcp", code=2).output
