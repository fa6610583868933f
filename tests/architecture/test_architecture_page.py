"""Each file, function and class that ARCHITECTURE.md names exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
NAMED = sorted(set(re.findall(r"`((?:[a-z_]+/)*[a-z_]+\.py)(?::([\w.]+))?`", PAGE)))
ROOMS = sorted(set(re.findall(r"`((?:[a-z_]+/)+)`", PAGE)) - {"templates/"})


def names_of(path: Path) -> set[str]:
    """Return the functions and classes of a file, methods as `Class.method`."""
    found = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {
                f"{node.name}.{inner.name}"
                for inner in node.body
                if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef)
            }
    return found


@pytest.mark.parametrize(("file", "name"), NAMED, ids=lambda part: part or "the file")
def test_what_the_page_names_is_there(file, name):
    path = ROOT / "cycles" / file
    assert path.is_file(), f"ARCHITECTURE.md names {file}, which is not there"
    if name:
        assert name in names_of(path), f"ARCHITECTURE.md names {name} in {file}, which has none"


@pytest.mark.parametrize("room", ROOMS)
def test_the_rooms_are_there(room):
    assert (ROOT / "cycles" / room).is_dir() or (ROOT / room).is_dir()


def test_the_page_names_enough_to_be_checked():
    assert len(NAMED) > 30
    assert len(ROOMS) > 6
