"""What docs/testing.md and examples/testing show, run as a user's pytest would run it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

from tests.docs.blocks import examples

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run(pytester, monkeypatch):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    again = "ignore:Module already imported so cannot be rewritten"  # until 9.1 pytest warns of that
    options = ("-p", "no:cacheprovider", "-p", "_cycles_pytest", "-W", "error", "-W", again, "--strict-markers")
    return lambda: pytester.runpytest_inprocess(*options)


@pytest.mark.slow
def test_the_blocks_of_the_page_pass_as_tests(run, pytester):
    document = Sybil(parsers=[PythonCodeBlockParser()]).parse(ROOT / "docs" / "testing.md")
    blocks = [str(block.parsed) for block in document.examples()]
    pytester.makepyfile("\n\n".join(blocks))
    run().assert_outcomes(passed=8)


def test_the_example_passes(run, pytester):
    for file in (ROOT / "examples" / "testing").glob("*.py"):
        shutil.copy(file, pytester.path)
    run().assert_outcomes(passed=7)


def test_the_tests_in_docstrings_pass(run, pytester):
    shown = [text for text in examples().values() if "def test_" in text]
    pytester.makepyfile(**{f"test_{number}": text for number, text in enumerate(shown)})
    run().assert_outcomes(passed=3)
