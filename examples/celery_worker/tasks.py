"""Background jobs with a budget: a worker, and a broker that is a directory (any other will do).

pip install '.[celery]'
export CYCLES_BASE_URL='local:ledger.db?usd=1.00'
celery --workdir examples/celery_worker -A tasks worker &
python examples/celery_worker/send.py
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import celery
from celery.exceptions import SoftTimeLimitExceeded

import cycles
from cycles import usd
from cycles.integrations.celery import BudgetTask

ROOT = Path(os.environ.get("JOBS", "jobs")).resolve()
for name in ("queue", "control", "results"):
    (ROOT / name).mkdir(parents=True, exist_ok=True)

QUEUE = {"data_folder_in": str(ROOT / "queue"), "data_folder_out": str(ROOT / "queue")}
app = celery.Celery("tasks", broker="filesystem://", backend=(ROOT / "results").as_uri())
app.conf.broker_transport_options = {**QUEUE, "control_folder": str(ROOT / "control")}
app.conf.task_acks_late = True  # a job of a killed worker is delivered again


@app.task(base=BudgetTask, cycles_estimate=usd("0.01"))
def send_mail(to: str) -> str:
    """Cost a cent; a message that is delivered twice is sent once."""
    return f"sent to {to}"


@app.task(base=BudgetTask, cycles_limit=usd("0.10"), soft_time_limit=2)
def research(question: str) -> str:
    """Think for two seconds, for ten cents at most."""
    steps = 0
    try:
        while True:
            with cycles.Guard(usd("0.03"), action=("llm.completion", "gpt-4o"), on_error="estimate"):
                time.sleep(0.5)  # your model call
            steps += 1
    except cycles.Denied:
        return f"{question}: {steps} steps, then the budget was used up"
    except SoftTimeLimitExceeded:
        return f"{question}: {steps} steps, then time was up"
