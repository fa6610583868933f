"""docs/cli.md is what the command says today: every help, and every example with its output."""

from __future__ import annotations

import difflib
import sys

import pytest

from tests.docs import cli_page


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the page shows a POSIX shell")
def test_the_page_is_what_the_command_says():
    there = cli_page.PAGE.read_text("utf-8").splitlines()
    now = cli_page.render().splitlines()
    differences = list(difflib.unified_diff(there, now, "docs/cli.md", "the command", lineterm="", n=1))
    assert not differences, "\n".join(["run `nox -s cli_docs`, and look at what changed:", *differences[:60]])


def test_every_command_is_run_in_an_example():
    run = " \n".join(cli_page.SCRIPT)
    missing = [" ".join(path) for path, _ in cli_page.commands() if f"cycles {' '.join(path)} " not in run + " "]
    assert missing == []


def test_the_page_holds_no_key():
    page = cli_page.PAGE.read_text("utf-8")
    assert set(cli_page.re.findall(r"cyc_live_[\w-]{6,}", page)) == {"cyc_live_" + "Example0" * 4}
