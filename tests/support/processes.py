"""A server that a test can spoil, and workers in processes of their own that share only the disk."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from cycles.local import LocalAuthority
from tests.client.conftest import Clock
from tests.settlement.net import serving

ROOT = Path(__file__).parents[2]


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def server(clock):
    with serving(LocalAuthority(clock=clock)) as server:
        yield server


@pytest.fixture
def journal_dir(tmp_path):
    return tmp_path / "journal"


@pytest.fixture
def environ(server, journal_dir):
    return {
        "CYCLES_BASE_URL": server.url,
        "CYCLES_API_KEY": server.authority.key(tenant="acme"),
        "CYCLES_TENANT": "acme",
        "CYCLES_JOURNAL_DIR": str(journal_dir),
        "CYCLES_READ_TIMEOUT": "0.5",
        "CYCLES_RETRY_MAX_ATTEMPTS": "3",
        "CYCLES_RETRY_INITIAL_DELAY": "0.02",
        "CYCLES_RETRY_FLUSH_TIMEOUT": "0",
    }


class Worker:
    """A running program."""

    def __init__(self, task: str, *args: str, environ: dict[str, str]) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CYCLES_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.settlement.worker", task, *args],
            env={**environment, **environ},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def result(self, timeout: float = 30) -> dict[str, Any]:
        out, self.log = self.process.communicate(timeout=timeout)
        assert self.process.returncode == 0, self.log
        return json.loads(out.splitlines()[-1])

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate(timeout=10)


@pytest.fixture
def start(environ):
    """Start a program of `worker`; keyword arguments are variables without their prefix."""
    workers = []

    def started(task: str, *args: str, **changed: str) -> Worker:
        given = {f"CYCLES_{name.upper()}": value for name, value in changed.items()}
        workers.append(Worker(task, *args, environ={**environ, **given}))
        return workers[-1]

    yield started
    for worker in workers:
        if worker.process.poll() is None:
            worker.kill()


@pytest.fixture
def kept(journal_dir):
    """What the journal holds: the JSON of each file in a directory of its one partition."""

    def found(where: str = "") -> list[dict[str, Any]]:
        directories = [path.parent for path in journal_dir.glob("*/partition.json")]
        assert len(directories) <= 1, directories
        records = []
        for path in journal_dir.glob(f"*/{where or '.'}/v*.json"):
            with suppress(FileNotFoundError):  # settled between two looks
                records.append(json.loads(path.read_text()))
        return records

    return found
