"""README's program and those of docs/ that call a real SDK, as pasted, on an endpoint that bills as providers do."""

from __future__ import annotations

import os
import runpy
from importlib.metadata import version

import pytest

import cycles
from cycles import usd
from cycles.local.registry import forget_shared
from tests.docs.blocks import programs, sdk_programs
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
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-test")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", provider.url)
    monkeypatch.setenv("GOOGLE_API_KEY", "test")
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


@pytest.mark.usefixtures("_as_a_reader")
@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("tutorial:agent.py", "1.00"),
        ("metering:writer.py", "0.50"),
        ("index:agent.py", None),
        ("metering:clients.py", None),
    ],
)
def test_a_program_of_the_pages_spends_what_it_is_billed(monkeypatch, provider, tmp_path, capsys, name, limit):
    monkeypatch.setitem(TARIFFS, "gpt-4o", Tariff("2.50", "1.25", "2.50", "10"))
    provider.usual = Turn(output=3000)
    program = tmp_path / "program.py"
    program.write_text(sdk_programs()[name], encoding="utf-8")
    made = runpy.run_path(str(program), run_name="__main__")
    if "client" in made:
        made["client"].close()
    said = capsys.readouterr().out
    (row,) = [row for row in cycles.Client().balances() if str(row.remaining.unit) == "USD_MICROCENTS"]
    assert row.spent.amount == provider.microcents
    assert ("stopped" in said) == (limit is not None)
    assert row.spent.amount <= (usd(limit).amount if limit else 0)


@pytest.mark.usefixtures("_as_a_reader")
@pytest.mark.skipif(version("openai").partition(".")[0] == "1", reason="openai 1 takes clients of httpx only")
def test_a_function_stands_for_the_provider(provider, tmp_path, capsys):
    program = tmp_path / "program.py"
    program.write_text(sdk_programs()["testing:fake_model.py"], encoding="utf-8")
    runpy.run_path(str(program))["client"].close()
    assert capsys.readouterr().out == "And then?\n"
    assert provider.seen == []
    (row,) = [row for row in cycles.Client().balances() if str(row.remaining.unit) == "USD_MICROCENTS"]
    assert row.spent == usd("0.00305")  # 20 tokens at $2.50, and 300 at $10 a million


def test_each_program_that_calls_an_sdk_is_run_here():
    run = {"tutorial:agent.py", "metering:writer.py", "index:agent.py", "metering:clients.py", "testing:fake_model.py"}
    assert set(sdk_programs()) == run
