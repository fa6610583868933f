"""docs/performance.md shows the last run of `nox -s bench`, and a run is judged as the page says."""

from __future__ import annotations

import importlib
import json
import sys

import pytest

from tests.docs.pages import ROOT

BENCHMARKS = ROOT / "benchmarks"
PAGE = ROOT / "docs" / "performance.md"


@pytest.fixture
def tools(monkeypatch):
    """The modules of benchmarks/ by name, loaded for one test."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    names = ("_measure", "_run", "_page", "_plot")
    yield {name: importlib.import_module(name) for name in names}
    for name in names:
        sys.modules.pop(name, None)


def test_the_table_and_the_plot_are_those_of_the_last_run(tools):
    last = tools["_run"].history()[-1]
    text = PAGE.read_text("utf-8")
    assert tools["_page"].page(text, last) == text, "run `python benchmarks/_page.py`"
    drawn = (ROOT / "docs" / "throughput.svg").read_text("utf-8")
    assert tools["_plot"].svg(last["curves"]) == drawn, "run `python benchmarks/_page.py`"


def test_a_run_says_when_where_and_of_which_commit(tools):
    line = tools["_run"].line_of([], {}, 3)
    assert {"date", "commit", "machine", "runs", "figures", "curves"} == set(line)
    assert {"cores", "cpu", "python", "load"} == set(line["machine"])


@pytest.mark.parametrize(
    ("value", "least", "missed"), [(1.05, False, False), (1.06, False, True), (0.96, True, False), (0.95, True, True)]
)
def test_a_goal_is_missed_by_more_than_the_margin(tools, value, least, missed):
    assert tools["_measure"].Figure("a", value, 1.0, least=least).is_missed is missed


def test_what_has_no_goal_misses_none(tools):
    assert not tools["_measure"].Figure("a", 1e9).is_missed


def test_the_best_run_of_each_counts_and_runs_take_turns(tools, monkeypatch):
    order, values = [], {"calls": iter([1.2, 1.0, 1.1]), "rates": iter([10, 30, 20])}

    def ran(name, *, quick):
        order.append(name)
        value = next(values[name])
        return {
            "figures": [[name, value, 1.0, "", "", name == "rates"]],
            "points": [["httpx, bare", 5, value]] if name == "rates" else [],
        }

    monkeypatch.setattr(tools["_run"], "ran", ran)
    figures, curves = tools["_run"].best_of(["calls", "rates"], quick=False)
    assert order == ["calls", "rates"] * 3
    assert [figure.value for figure in figures] == [1.0, 30]
    assert curves == {"httpx, bare": {5: 30}}


def test_what_is_missed_is_red_and_printed_with_its_history(tools, monkeypatch, tmp_path, capsys):
    kept = tmp_path / "results.jsonl"
    before = {"date": "2026-11-25 10:00", "commit": "abc1234", "machine": {"load": 0.5}, "curves": {}}
    kept.write_text(json.dumps({**before, "figures": {"slow": {"value": 1.25}}}) + "\n", "utf-8")
    monkeypatch.setattr(tools["_run"], "RESULTS", kept)
    found = {"figures": [["slow", 2.0, 1.0, "", "", False], ["quick", 1.0, 1.0, "", "", False]], "points": []}
    monkeypatch.setattr(tools["_run"], "ran", lambda name, *, quick: found)
    monkeypatch.setattr(sys, "argv", ["_run.py", "calls"])
    assert tools["_run"].main() == 1
    said = capsys.readouterr().out
    assert "2026-11-25 10:00 abc1234: 1.25, load 0.5" in said
    assert said.count("MISSED") == 1
    assert "1 of 2 goals were missed" in said
    monkeypatch.setattr(sys, "argv", ["_run.py", "calls", "--quick"])
    assert tools["_run"].main() == 0, "a short look judges no time"
    assert len(kept.read_text("utf-8").splitlines()) == 1, "part of a run is not kept"


def test_ci_judges_no_time():
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    assert [line.strip() for line in script.splitlines() if "bench" in line] == ['echo "bench -- --quick"']
