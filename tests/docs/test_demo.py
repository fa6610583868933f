"""The demo (`nox -s demo`) as a pipe shows it: lines that end, dollars, 60 columns, what was denied and where to go."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.docs.pages import ROOT


@pytest.mark.slow
def test_the_demo_is_read_line_by_line():
    environ = {**os.environ, "COLUMNS": "60", "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "generated")))}
    line = [sys.executable, str(ROOT / "examples" / "runaway.py")]
    done = subprocess.run(line, env=environ, capture_output=True, text=True, encoding="utf-8", timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert max(len(line.rstrip()) for line in lines) <= 60
    assert "\x1b" not in done.stdout, "colours are for terminals"
    assert "$1.00" in lines[0]
    assert not re.search(r"\d{6,}", done.stdout), "dollars, no microcents"
    told = r"  denied (thread|task) \d: asked for \$0\.\d{4}, \$0\.\d{4} left"
    denied = [line for line in lines if re.fullmatch(told, line)]
    assert len(denied) == 4 + 10, "each worker was denied once, and that was told"
    first = lines.index(denied[0])
    assert [line for line in lines[:first] if "calls; authority: spent $" in line], "the way there was told, too"
    paid = [line for line in lines if re.match(r" (thread|task) \d|  ?all ", line)]
    assert len({len(line.rstrip()) for line in paid}) == 1, "columns of one width"
    assert [line for line in lines if line.startswith("  holds  a dollar buys 100 calls, and 100 were let through")]
    assert "README.md" in lines[-3]
