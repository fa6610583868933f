"""The examples run, and do what they say."""

from __future__ import annotations

import runpy

from tests.docs.pages import ROOT


def test_runs_stop_at_their_limit_and_the_tenant_at_its_budget(capsys):
    runpy.run_path(str(ROOT / "examples" / "run_limit.py"))["main"]([])
    lines = capsys.readouterr().out.splitlines()
    runs = [line for line in lines if line.startswith("run ")]
    assert runs == [f"run {number}: $0.48" for number in range(1, 21)]
    assert lines.count("    stopped before step 13: $0.02 left") == 20
    assert lines.count("    $0.40 of $0.50 spent: time to wind down") == 20
    assert lines[-1] == "20 runs, $9.60 of $10.00 spent"
