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
