"""README's first program, as pasted: a real SDK, on an endpoint that bills what OpenAI does."""

from __future__ import annotations

import os
import runpy

import pytest

import cycles
from cycles.local.registry import forget_shared
from tests.docs.blocks import programs
from tests.docs.pages import README
from tests.metering.bill import TARIFFS, Tariff
from tests.metering.provider import Turn

URL = "local:?usd=1.00"


@pytest.fixture
def _as_a_reader(monkeypatch, provider):
    for name in [name for name in os.environ if name.startswith("CYCLES_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("CYCLES_BASE_URL", URL)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setenv("OPENAI_BASE_URL", f"{provider.url}/v1")
    cycles.configure(None)
    yield
    cycles.configure(None)
    forget_shared()


@pytest.mark.usefixtures("_as_a_reader")
def test_the_first_program_of_readme_stops_at_its_dollar(monkeypatch, provider, tmp_path, capsys):
    monkeypatch.setitem(TARIFFS, "gpt-4o", Tariff("2.50", "1.25", "2.50", "10"))
    provider.usual = Turn(output=3000)
    program = tmp_path / "agent.py"
    program.write_text(programs()["readme_1"], encoding="utf-8")
    runpy.run_path(str(program))["client"].close()  # which the end of the program does by itself
    said = capsys.readouterr().out.splitlines()
    shown = " ".join(README.read_text("utf-8").split())
    assert said[-2] in shown
    assert said[-1].partition(", request_id")[0] in shown
    assert len(said) == len(provider.bills) + 1
    (row,) = [row for row in cycles.Client().balances() if str(row.remaining.unit) == "USD_MICROCENTS"]
    assert row.spent.amount == provider.microcents < 100_000_000
