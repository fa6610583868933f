"""Programs in processes of their own, which share only the disk and the server with the test."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.waiting import PATIENCE

ROOT = Path(__file__).parents[2]


class Worker:
    """A running program of tests/support/worker.py."""

    def __init__(self, task: str, *args: str, environ: dict[str, str]) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CYCLES_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.worker", task, *args],
            env={**environment, **environ},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def result(self, timeout: float = PATIENCE) -> dict[str, Any]:
        out, self.log = self.process.communicate(timeout=timeout)
        assert self.process.returncode == 0, self.log
        return json.loads(out.splitlines()[-1])

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate(timeout=PATIENCE)
