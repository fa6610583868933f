"""No override is idle: each test of the two override files fails on what the generator makes without our templates."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that holds the stock package."""
    folder = tmp_path_factory.mktemp("stock")
    subprocess.run([sys.executable, ROOT / "openapi" / "regen.py", "--stock", folder], check=True, timeout=PATIENCE)
    return folder


@pytest.mark.parametrize("name", ["test_overrides.py", "test_client_overrides.py"])
def test_every_override_test_fails_on_stock_output(stock: Path, tmp_path: Path, name: str) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    environment |= {"PYTHONPATH": str(stock), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    report = tmp_path / "report.xml"
    line = [sys.executable, "-m", "pytest", "-q", "--noconftest", "-p", "no:cacheprovider", f"--junitxml={report}"]
    done = subprocess.run(
        [*line, HERE / name], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 1, done.stdout  # ran to the end, with failures: no error while collecting
    cases = list(ET.parse(report).iter("testcase"))
    assert len(cases) > 15
    assert [case.get("name") for case in cases if case.find("failure") is None] == []
