"""Runs the tests of one recovery scenario, for an outside runner (docs/protocol.md, Settlement and recovery).

    python -m cycles.testing.recovery_adapter CR-DURABLE-001 < scenario.json
    python -m cycles.testing.recovery_adapter --all report.json

It reads the scenario (id, level, name, precondition, faults) from stdin, which may be empty; exactly one JSON object
goes to stdout, everything else to stderr. A test is bound to a scenario by its name: `test_cr_durable_001_…` in
tests/journal/test_scenarios.py, so this needs a checkout.
"""

from __future__ import annotations

import contextlib
import json
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from cycles import __version__

PROFILE: Final = "0.3"
"""The recovery profile whose scenarios these are."""

SCENARIOS: Final = (
    *(f"CR-CORE-{number:03}" for number in range(1, 5)),
    *(f"CR-DURABLE-{number:03}" for number in range(1, 8)),
    "CR-BOUNDARY-001",
)
"""Every scenario of the profile, levels core and durable."""

_ROOT: Final = Path(__file__).parents[2]
_FILE: Final = "tests/journal/test_scenarios.py"


class UnknownScenario(ValueError):
    """There is no such scenario, or stdin describes another one."""


class _Seen:
    """A pytest plugin that notes what ran and how it ended."""

    def __init__(self) -> None:
        self.outcomes: dict[str, bool] = {}

    def pytest_runtest_logreport(self, report: Any) -> None:
        ended_well = report.outcome == "passed"
        if report.when == "call" or not ended_well:
            self.outcomes[report.nodeid] = ended_well and self.outcomes.get(report.nodeid, True)


def run(scenario_id: str) -> dict[str, Any]:
    """Run the tests of *scenario_id* and return the report: it passed if there are any, and all of them did."""
    import pytest  # noqa: PLC0415 - a development tool, not a dependency

    wanted = f"test_{scenario_id.lower().replace('-', '_')}_"
    names = re.findall(rf"^def ({wanted}\w+)", (_ROOT / _FILE).read_text("utf-8"), flags=re.MULTILINE)
    seen = _Seen()
    code = 5
    if names:
        nodes = [f"{_ROOT / _FILE}::{name}" for name in names]
        arguments = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", f"--rootdir={_ROOT}", *nodes]
        with contextlib.redirect_stdout(sys.stderr):
            code = int(pytest.main(arguments, plugins=[seen]))
    passed = code == 0 and bool(seen.outcomes) and all(seen.outcomes.values())
    return {"scenario_id": scenario_id, "passed": passed, "native_tests": sorted(seen.outcomes)}


def checked(scenario_id: str, described: str) -> str:
    """Return *scenario_id* when it is one, and stdin *described* no other.

    Raises:
        UnknownScenario: naming what is wrong.
    """
    if scenario_id not in SCENARIOS:
        raise UnknownScenario(f"{scenario_id!r}: no such scenario; there are {', '.join(SCENARIOS)}")
    if not (_ROOT / _FILE).exists():
        raise UnknownScenario(f"{_FILE} is not below {_ROOT}: run this in a checkout")
    if described.strip():
        try:
            scenario = json.loads(described)
        except ValueError as error:
            raise UnknownScenario(f"stdin holds no JSON: {error}") from None
        if not isinstance(scenario, dict) or scenario.get("id", scenario_id) != scenario_id:
            raise UnknownScenario(f"stdin describes another scenario than {scenario_id}")
    return scenario_id


def run_all(target: Path) -> bool:
    """Run every scenario in a process of its own, as an outside runner does, and write the reports to *target*."""
    reports = []
    for scenario_id in SCENARIOS:
        command = [sys.executable, "-m", "cycles.testing.recovery_adapter", scenario_id]
        ran = subprocess.run(  # noqa: S603 - our own command
            command, input=json.dumps({"id": scenario_id}), stdout=subprocess.PIPE, text=True, check=False
        )
        reports.append(json.loads(ran.stdout))
        sys.stdout.write(f"{scenario_id}  {'passed' if reports[-1]['passed'] else 'FAILED'}\n")
    target.write_text(json.dumps(summarised(reports), indent=1) + "\n", encoding="utf-8")
    return all(report["passed"] for report in reports)


def summarised(reports: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the whole report in the shape of the outside runner: what is claimed, by what, and how it went."""
    passed = sum(report["passed"] for report in reports)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "schema_version": "1.0",
        "claim": {"profile": PROFILE, "levels": ["core", "durable"], "holds": passed == len(reports) > 0},
        "implementation": {
            "name": "cycles-guard",
            "version": __version__,
            "language": "Python",
            "runtime": f"{platform.python_implementation()} {platform.python_version()}",
        },
        "summary": {"total": len(reports), "passed": passed, "failed": len(reports) - passed},
        "scenarios": [
            {"id": report["scenario_id"], "passed": report["passed"], "native_tests": report["native_tests"]}
            for report in reports
        ],
    }


def main(arguments: list[str]) -> int:
    """Run one scenario, print its report, and return 0 when it passed, 1 when not, 2 for bad input."""
    if len(arguments) == 2 and arguments[0] == "--all":
        return 0 if run_all(Path(arguments[1])) else 1
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m cycles.testing.recovery_adapter SCENARIO_ID < scenario.json\n")
        return 2
    try:
        scenario_id = checked(arguments[0], "" if sys.stdin.isatty() else sys.stdin.read())
    except UnknownScenario as error:
        sys.stderr.write(f"{error}\n")
        return 2
    report = run(scenario_id)
    sys.stdout.write(json.dumps(report) + "\n")
    return 0 if report["passed"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
