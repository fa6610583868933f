"""The command through click's runner, or in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from click.testing import CliRunner, Result

from cycles.cli.root import cycles as command
from tests.support.waiting import PATIENCE

KEY = "cyc_live_a-key-of-the-tests-for-acme-only"


class Cli:
    """Runs the command; `environ` is all of CYCLES_* that it sees."""

    def __init__(self, environ: dict[str, str]) -> None:
        self.environ = environ

    def __call__(self, *arguments: str, code: int = 0, stdin: str | None = None, **changed: str | None) -> Result:
        environ = self.environ | {f"CYCLES_{name.upper()}": value for name, value in changed.items()}
        hidden = {name: None for name in os.environ if name.startswith("CYCLES_")}
        result = CliRunner().invoke(command, arguments, env={**hidden, **environ}, input=stdin)
        assert result.exit_code == code, (result.exit_code, result.output, result.exception)
        assert "Traceback" not in result.output
        assert KEY not in result.output, "a key in the output"
        return result

    def json(self, *arguments: str, code: int = 0, **changed: str | None) -> Any:
        return json.loads(self(*arguments, "--json", code=code, **changed).stdout)


def own_process(cli, *arguments: str, **changed: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-W", "error", "-m", "cycles.cli", *arguments]
    environ = {**os.environ, **cli.environ, **changed}
    return subprocess.run(line, env=environ, capture_output=True, text=True, timeout=PATIENCE, check=False)
