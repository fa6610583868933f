"""Celery's tasks: in the process, and in a real worker with processes of its own and soft time limits."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

pytest.importorskip("celery")

import cycles
from cycles import usd
from cycles.integrations import ToolCallReplayed
from tests.support.authorities import SCOPE

ROOT = Path(tempfile.mkdtemp(prefix="cycles-celery-"))
os.environ["CYCLES_TEST_ROOT"] = str(ROOT)
for _name in ("queue", "control", "results"):
    (ROOT / _name).mkdir()

from tests.integrations import celery_app as tasks  # noqa: E402 - its directories are there now
from tests.support.waiting import PATIENCE  # noqa: E402

CENT = usd("0.01")
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module", autouse=True)
def _removed():
    yield
    shutil.rmtree(ROOT)


@pytest.fixture
def root():
    """The directory of the broker, of results and of what tasks did: empty."""
    for name in ("queue", "control", "results"):
        shutil.rmtree(ROOT / name, ignore_errors=True)
        (ROOT / name).mkdir()
    (ROOT / "done").unlink(missing_ok=True)
    return ROOT


@pytest.fixture
def here(root):
    """Tasks run in this process, at once."""
    tasks.app.conf.task_always_eager = True
    yield root
    tasks.app.conf.task_always_eager = False


def done(root):
    return (root / "done").read_text("utf-8").split() if (root / "done").exists() else []


def test_a_task_that_ends_well(world, here):
    assert tasks.mail.delay("zoe").get() == "zoe"
    assert tasks.mail("adam") == "adam"
    assert tasks.mail("adam") == "adam"  # called by hand, twice: two calls
    assert done(here) == ["zoe", "adam", "adam"]
    world.exact(CENT, CENT, CENT)


def test_a_task_that_is_delivered_twice_runs_once(world, here):
    assert tasks.mail.apply_async(("zoe",), task_id="t-1").get() == "zoe"
    with pytest.raises(ToolCallReplayed):
        tasks.mail.apply_async(("zoe",), task_id="t-1").get()
    assert done(here) == ["zoe"]
    world.exact(CENT)


def test_a_task_that_retries_itself_runs_again(world, here):
    assert tasks.flaky.delay().get() == "well"
    assert done(here) == ["attempt", "attempt"]
    world.exact(CENT)


def test_a_denial_fails_the_task_and_is_not_retried(world, here):
    with pytest.raises(cycles.BudgetExceeded):
        tasks.runaway.delay().get()
    assert done(here) == ["search"] * 2
    world.settled()
    assert world.ledger == usd("0.04").amount


def test_who_spends(world, here):
    """The subject of the code that sends, and the task's own."""
    with cycles.subject(workspace="u-17", agent="sender"):
        assert tasks.whose.delay("planner").get() == f"{SCOPE}/workspace:u-17/agent:planner"
    assert tasks.whose("planner") == f"{SCOPE}/agent:planner"


@pytest.fixture
def worker(world, root, tmp_path):
    """A worker with two processes; its log is shown when the test fails."""
    environ = {
        **os.environ,
        "CYCLES_TEST_ROOT": str(root),
        "CYCLES_BASE_URL": world.server.url,
        "CYCLES_API_KEY": world.config.api_key,
        "CYCLES_TENANT": "acme",
        "CYCLES_JOURNAL_DIR": str(tmp_path / "journal"),
        "CYCLES_READ_TIMEOUT": str(PATIENCE),
        "CYCLES_SETTLE_WAIT": str(PATIENCE),
        "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'generated'}",
    }
    command = [sys.executable, "-m", "celery", "-A", "tests.integrations.celery_app", "worker", "--pool", "prefork"]
    command += ["--concurrency", "2", "--loglevel", "WARNING", "--without-gossip", "--without-mingle"]
    log = (root / "log").open("wb")
    process = subprocess.Popen(command, env=environ, cwd=REPOSITORY, stdout=log, stderr=subprocess.STDOUT)
    yield process
    process.send_signal(signal.SIGTERM)
    process.wait()
    log.close()
    sys.stdout.write((root / "log").read_text("utf-8"))


def test_a_real_worker(world, root, worker):
    """The subject travels, a redelivery does not run again, and soft limits end guards as exceptions do."""
    world.budget(usd("1"), f"{SCOPE}/workspace:u-17")
    with cycles.subject(workspace="u-17"):
        first = tasks.whose.delay("planner")
    sent = tasks.mail.apply_async(("zoe",), task_id="t-1")
    assert _result(sent) == "zoe"
    again = _stored_again(sent)
    slow = [tasks.slow.delay("release", False), tasks.slow.delay("estimate", False), tasks.slow.delay("release", True)]
    assert _result(first) == f"{SCOPE}/workspace:u-17/agent:planner"
    with pytest.raises(Exception, match="begun before"):
        _result(again)
    assert [_result(each) for each in slow] == ["RELEASED", "COMMITTED", "COMMITTED"]
    assert done(root) == ["zoe"]
    world.exact(CENT, CENT, usd("0.03"), CENT)
    assert worker.poll() is None


def _result(sent):
    return sent.get(timeout=300, interval=0.05)


def _stored_again(sent):
    """Deliver the message of *sent* again, and forget its result, so that the next one is seen."""
    sent.forget()
    return tasks.mail.apply_async(("zoe",), task_id=sent.id)
