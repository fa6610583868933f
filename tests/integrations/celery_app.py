"""The tasks of test_celery.py, for a worker of its own process: its broker and its results are directories."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import celery
from celery.exceptions import SoftTimeLimitExceeded

import cycles
from cycles import usd
from cycles.integrations.celery import BudgetTask

ROOT = Path(os.environ.get("CYCLES_TEST_ROOT", "."))
CENT = usd("0.01")

app = celery.Celery("tests")
app.conf.update(
    broker_url="filesystem://",
    broker_transport_options={
        "data_folder_in": str(ROOT / "queue"),
        "data_folder_out": str(ROOT / "queue"),
        "control_folder": str(ROOT / "control"),
    },
    result_backend=f"file://{ROOT / 'results'}",
    task_track_started=False,
    worker_hijack_root_logger=False,
)


def did(what: str) -> None:
    with (ROOT / "done").open("a", encoding="utf-8") as file:
        file.write(f"{what}\n")


@app.task(base=BudgetTask, cycles_estimate=CENT, acks_late=True)
def mail(to: str) -> str:
    did(to)
    return to


@app.task(base=BudgetTask, cycles_limit=usd("0.05"), autoretry_for=(Exception,), default_retry_delay=0, max_retries=3)
def runaway() -> None:
    while True:
        with cycles.Guard(usd("0.02"), action=("tool.call", "search")):
            did("search")


@app.task(base=BudgetTask, cycles_subject=lambda who: {"agent": who})
def whose(who: str) -> str | None:
    with cycles.Guard(CENT, action=("tool.call", "search")) as reservation:
        return reservation.scope_path


@app.task(base=BudgetTask, bind=True, cycles_estimate=CENT, max_retries=2)
def flaky(self: Any) -> str:
    did("attempt")
    if self.request.retries == 0:
        raise self.retry(countdown=0)
    return "well"


@app.task(base=BudgetTask, soft_time_limit=1)
def slow(on_error: str, report: bool) -> str:
    try:
        with cycles.Guard(usd("0.03"), action=("llm.completion", "slow"), on_error=on_error) as reservation:
            if report:
                reservation.report(actual=CENT)
            while True:
                time.sleep(0.01)  # until the limit comes
    except SoftTimeLimitExceeded:
        return str(reservation.state)
