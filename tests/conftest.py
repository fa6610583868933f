"""Fixtures of all rooms: a journal of the test's own, authorities, both kinds of client, other processes."""

from __future__ import annotations

import itertools
import json
import logging
import signal
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import settings

import cycles
from cycles import usd
from cycles.local import LocalAuthority
from cycles.local.registry import forget_shared
from tests.support.authorities import ACTION, SCOPE, UNIT, Clock
from tests.support.net import serving
from tests.support.postgres import end_shared
from tests.support.processes import Worker
from tests.support.sides import driving
from tests.support.waiting import PATIENCE

# The same examples in every run: no test passes or fails by chance, and none watches the clock.
# `pytest --hypothesis-profile=explore` draws new ones.
settings.register_profile("steady", derandomize=True, deadline=None, database=None)
settings.register_profile("explore", deadline=None)
settings.load_profile("steady")

_tests = itertools.count()


# A shell ignores SIGINT in what it runs in the background, and programs inherit that: those that tests start would not
# hear of Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_sessionfinish():
    """Whatever ends a worker of pytest-xdist afterwards, it leaves no PostgreSQL behind."""
    end_shared()


@pytest.fixture(autouse=True)
def _logging_as_it_was():
    """What a test sets up in the package's loggers and uvicorn's, the command among them, ends with it."""
    names = ("cycles", "cycles.guard", "cycles.local", "uvicorn", "uvicorn.error", "uvicorn.access")
    loggers = [logging.getLogger(name) for name in names]
    before = [(logger, logger.level, list(logger.handlers), logger.propagate) for logger in loggers]
    yield
    for logger, level, handlers, propagate in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers
        logger.propagate = propagate


@pytest.fixture(autouse=True)
def _journal_of_the_test(tmp_path_factory, monkeypatch):
    """Every test has a journal and a default ledger of its own, never the user's; most never make the folders."""
    own = tmp_path_factory.getbasetemp() / f"own-{next(_tests)}"
    monkeypatch.setenv("XDG_STATE_HOME", str(own / "state"))
    monkeypatch.setenv("XDG_DATA_HOME", str(own / "data"))


@pytest.fixture(autouse=True)
def _ledgers_of_the_test():
    """What `local:` names begins empty in every test: without this, one would find what another had spent."""
    yield
    forget_shared()


@pytest.fixture
def clock() -> Clock:
    return Clock()


# -- an authority in this process --------------------------------------------------------------------------------------


@pytest.fixture
def authority(clock):
    """One with a dollar for tenant acme; the rooms `local` and `cli` replace it with authorities of another kind."""
    with LocalAuthority(clock=clock) as authority:
        authority.budget(SCOPE, usd("1.00"))
        yield authority


@pytest.fixture(params=["sync", "async"])
def side(request, authority):
    """Both kinds of client, one test each."""
    with driving(request.param, authority) as driver:
        yield driver
        driver.close()


@pytest.fixture
def guard(side):
    """A Guard of this side's client; keyword arguments over the usual ones."""

    def made(estimate: Any = None, **fields: Any) -> cycles.Guard:
        fields = {"action": ACTION, "client": side.client, **fields}
        return cycles.Guard(usd("0.10") if estimate is None else estimate, **fields)

    return made


@pytest.fixture
def figures(authority):
    """The budget's row as (spent, reserved, remaining) in dollar cents."""

    def shown() -> tuple[float, float, float]:
        row = authority.balance(SCOPE, UNIT)
        return row.spent / 1e6, row.reserved / 1e6, row.remaining / 1e6

    return shown


# -- an authority over HTTP, and what only the disk keeps --------------------------------------------------------------


@pytest.fixture
def server(clock):
    """A server that the test can spoil."""
    with serving(LocalAuthority(clock=clock)) as server:
        yield server


@pytest.fixture
def journal_dir(tmp_path):
    return tmp_path / "journal"


@pytest.fixture
def environ(server, journal_dir):
    """The settings of a client of `server`, as variables.

    It waits for an answer as long as it takes, however busy the machine is. A test whose answer never comes says how
    long its own client waits.
    """
    return {
        "CYCLES_BASE_URL": server.url,
        "CYCLES_API_KEY": server.authority.key(tenant="acme"),
        "CYCLES_TENANT": "acme",
        "CYCLES_JOURNAL_DIR": str(journal_dir),
        "CYCLES_CONNECT_TIMEOUT": str(PATIENCE),
        "CYCLES_READ_TIMEOUT": str(PATIENCE),
        "CYCLES_SETTLE_WAIT": str(PATIENCE),
        "CYCLES_RETRY_MAX_ATTEMPTS": "3",
        "CYCLES_RETRY_INITIAL_DELAY": "0.02",
        "CYCLES_RETRY_FLUSH_TIMEOUT": "0",
    }


@pytest.fixture
def config(environ):
    """The same settings as a value."""
    return cycles.Config.from_env(environ)


@pytest.fixture
def client(config):
    """A blocking client of `server`."""
    with cycles.Client(config) as client:
        yield client


@pytest.fixture
def start(environ):
    """Start a program of tests/support/worker.py; keyword arguments are variables without their prefix."""
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
