"""Each line of the threat model names the test that holds it, and the test is there."""

from __future__ import annotations

import re

import pytest

from tests.docs.pages import ROOT

LINES = re.findall(r"^\| (?!attack).+", (ROOT / "SECURITY.md").read_text("utf-8"), flags=re.MULTILINE)


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.split("|")[1].strip())
def test_what_holds_is_held_by_a_test(line):
    path, _, name = line.rstrip(" |").rpartition("| `")[2].rstrip("`").partition(":")
    assert f"def {name}(" in (ROOT / path).read_text("utf-8")


def test_no_line_is_overlooked():
    assert len(LINES) > 15


def sessions(workflow):
    """Return the nox sessions that a workflow runs."""
    text = (ROOT / ".github" / "workflows" / workflow).read_text("utf-8")
    return {name for line in re.findall(r"nox -s ([\w ]+)", text) for name in line.split()}


def test_workflows_run_what_a_release_must_pass():
    known = set(re.findall(r"^def (\w+)\(session", (ROOT / "noxfile.py").read_text("utf-8"), flags=re.MULTILINE))
    assert sessions("ci.yml") | sessions("release.yml") <= known
    assert {"tests", "tests_slow", "lowest", "docs", "wheel"} <= sessions("ci.yml")
    assert {"tests", "wheel", "audit", "sbom"} <= sessions("release.yml")


def test_workflows_use_exactly_what_was_read():
    """A tag of an action can be moved to other code; a digest can't."""
    used = [line for path in (ROOT / ".github" / "workflows").glob("*.yml") for line in path.read_text().splitlines()]
    actions = [line.partition("uses:")[2].strip() for line in used if "uses:" in line]
    assert len(actions) > 5
    assert [action for action in actions if not re.match(r"[\w./-]+@[0-9a-f]{40} +# v\d", action)] == []
