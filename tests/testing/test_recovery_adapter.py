"""The adapter that an outside runner drives."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import cycles
from cycles.testing import recovery_adapter
from cycles.testing.recovery_adapter import SCENARIOS
from tests.support.processes import ROOT

FILE = (ROOT / "tests/journal/test_scenarios.py").read_text("utf-8")


def adapter(*arguments, stdin=""):
    command = [sys.executable, "-m", "cycles.testing.recovery_adapter", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, cwd=ROOT)


def test_every_scenario_has_a_test_of_its_own():
    assert len(SCENARIOS) == 12
    for scenario_id in SCENARIOS:
        assert FILE.count(f"def test_{scenario_id.lower().replace('-', '_')}_") == 1


@pytest.mark.slow
def test_it_prints_one_object_and_diagnostics_elsewhere():
    described = {"id": "CR-DURABLE-007", "level": "durable", "name": "n", "precondition": "p", "faults": []}
    ran = adapter("CR-DURABLE-007", stdin=json.dumps(described))
    assert ran.returncode == 0
    assert json.loads(ran.stdout) == {
        "scenario_id": "CR-DURABLE-007",
        "passed": True,
        "native_tests": ["tests/journal/test_scenarios.py::test_cr_durable_007_file_names_never_collide"],
    }
    assert "passed" in ran.stderr


@pytest.mark.slow
def test_a_test_that_fails_is_no_pass(monkeypatch, tmp_path):
    failing = tmp_path / "test_scenarios.py"
    failing.write_text("def test_cr_core_001_a():\n    pass\n\ndef test_cr_core_001_b():\n    raise AssertionError\n")
    monkeypatch.setattr(recovery_adapter, "_ROOT", tmp_path)
    monkeypatch.setattr(recovery_adapter, "_FILE", "test_scenarios.py")
    report = recovery_adapter.run("CR-CORE-001")
    assert report["passed"] is False
    assert len(report["native_tests"]) == 2
    assert recovery_adapter.run("CR-CORE-002") == {
        "scenario_id": "CR-CORE-002",
        "passed": False,
        "native_tests": [],
    }


@pytest.mark.parametrize(
    ("arguments", "stdin", "says"),
    [
        ((), "", "usage"),
        (("CR-CORE-009",), "", "no such scenario"),
        (("CR-CORE-001",), "{", "no JSON"),
        (("CR-CORE-001",), '{"id": "CR-CORE-002"}', "another scenario"),
    ],
)
def test_bad_input_says_so(arguments, stdin, says):
    ran = adapter(*arguments, stdin=stdin)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert says in ran.stderr


def test_the_whole_report_says_what_is_claimed_by_what_and_how_it_went():
    reports = [
        {"scenario_id": "CR-CORE-001", "passed": True, "native_tests": ["a"]},
        {"scenario_id": "CR-CORE-002", "passed": False, "native_tests": []},
    ]
    report = recovery_adapter.summarised(reports)
    assert {"$schema", "schema_version", "claim", "implementation", "summary", "scenarios"} == report.keys()
    assert report["claim"] == {"profile": "0.3", "levels": ["core", "durable"], "holds": False}
    assert report["implementation"]["version"] == cycles.__version__
    assert report["summary"] == {"total": 2, "passed": 1, "failed": 1}
    assert [(scenario["id"], scenario["passed"]) for scenario in report["scenarios"]] == [
        ("CR-CORE-001", True),
        ("CR-CORE-002", False),
    ]
    assert recovery_adapter.summarised(reports[:1])["claim"]["holds"] is True
    assert recovery_adapter.summarised([])["claim"]["holds"] is False
