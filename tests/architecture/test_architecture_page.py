"""Each file, function and class that ARCHITECTURE.md names exists, and its diagram is drawn as the imports go."""

from __future__ import annotations

import ast
import itertools
import re
from pathlib import Path

import pytest

from tests.architecture.import_graph import ImportGraph

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


# -- the diagram of the rooms ------------------------------------------------------------------------------------------
def drawn() -> tuple[dict[str, str], dict[str, set[str]]]:
    """Return the room of each path in the diagram, and the rooms that each one points to, by arrows of either kind."""
    diagram = re.search(r"```mermaid\nflowchart TD\n(.*?)```", PAGE, re.DOTALL)
    assert diagram is not None
    rooms: dict[str, str] = {}
    below: dict[str, set[str]] = {}
    for line in diagram[1].splitlines():
        for room, paths in re.findall(r'(\w+)\["([^"]+)"\]', line):
            rooms |= dict.fromkeys(paths.split(", "), room)
        named = re.split(r"-->|-\.\s*\.->", re.sub(r'\["[^"]+"\]|"[^"]+"', "", line))
        for uppers, lowers in itertools.pairwise(re.findall(r"\w+", names) for names in named):
            for upper in uppers:
                below.setdefault(upper, set()).update(lowers)
    nameless = below.keys() - set(rooms.values())
    return {**rooms, **{f"{room}/": room for room in nameless}}, below


def all_below(room: str, below: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    ahead = [room]
    while ahead:
        for lower in below.get(ahead.pop(), set()) - found:
            found.add(lower)
            ahead.append(lower)
    return found


def test_no_file_imports_one_of_a_room_that_is_drawn_above_it():
    rooms, below = drawn()
    assert len(below) > 15

    def room_of(path: Path) -> str | None:
        inside = path.relative_to(ROOT / "cycles").as_posix()
        found = (rooms[part] for part in rooms if inside == part or (part.endswith("/") and inside.startswith(part)))
        return next(found, None)

    wrong = [
        f"{path.relative_to(ROOT)} imports {target.relative_to(ROOT)}, and is drawn below it"
        for path, targets in ImportGraph(ROOT / "cycles").ties.items()
        for target in targets
        if (room := room_of(path)) != (other := room_of(target)) and other and room in all_below(other, below)
    ]
    assert wrong == []
