"""No file of `cycles` imports itself by way of others, type-checking imports included."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.architecture.import_graph import ImportGraph

if TYPE_CHECKING:
    from collections.abc import Callable

PACKAGE = Path(__file__).parents[2] / "cycles"


def test_nothing_imports_in_a_circle():
    graph = ImportGraph(PACKAGE)
    assert len(graph.files) > 50
    circles = circles_in(graph)
    assert not circles, "\n\n".join(["move what both sides need into a file below them:", *circles])


# -- the check itself, on packages made up -----------------------------------------------------------------------------
@pytest.fixture
def graph_of(tmp_path) -> Callable[..., ImportGraph]:
    """Make the package `made` of files by name, and return its graph."""

    def made(**files: str) -> ImportGraph:
        for name, text in {"made": "", **files}.items():
            is_package = any(other.startswith(f"{name}__") for other in files) or name == "made"
            path = tmp_path / "made" / Path(*([] if name == "made" else name.split("__")))
            path = path / "__init__.py" if is_package else path.with_suffix(".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return ImportGraph(tmp_path / "made")

    return made


def circles_in(graph: ImportGraph) -> list[str]:
    return [graph.described(knot) for knot in graph.knots()]


def test_files_that_import_one_way_are_no_circle(graph_of):
    graph = graph_of(
        made="from made.top import Top",
        top="import os\nfrom made.room.middle import Middle\nfrom made.room import low",
        room="",
        room__middle="from made.room.low import Low\nimport made.room.low",
        room__low="from json import dumps",
    )
    assert circles_in(graph) == []
    assert len(graph.files) == 5


def test_a_circle_of_types(graph_of):
    graph = graph_of(
        effects="from made.outcomes import Answer, judge",
        outcomes="from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from made.effects import Operation",
    )
    (circle,) = circles_in(graph)
    assert circle == (
        "  made/effects.py → made/outcomes.py: Answer (line 1), judge (line 1)\n"
        "  made/outcomes.py → made/effects.py: Operation (line 3)"
    )


def test_a_circle_by_an_import_inside_a_function(graph_of):
    graph = graph_of(
        a="def late():\n    from made.b import B\n    return B",
        b="import made.c as below",
        c="from made import a",
    )
    (circle,) = circles_in(graph)
    assert circle == (
        "  made/a.py → made/b.py: B (line 2)\n"
        "  made/b.py → made/c.py: made.c (line 1)\n"
        "  made/c.py → made/a.py: made.a (line 1)"
    )


def test_a_name_of_the_package_itself_is_an_import_of_its_init(graph_of):
    graph = graph_of(made="from made.client import Client", client="class Client: ...", user="from made import Client")
    assert circles_in(graph) == []
    graph = graph_of(made="from made.client import Client", client="def own():\n    from made import Client")
    (circle,) = circles_in(graph)
    assert circle == (
        "  made/__init__.py → made/client.py: Client (line 1)\n  made/client.py → made/__init__.py: Client (line 2)"
    )


@pytest.mark.parametrize(
    "line", ["from .b import B", "from . import b", "from ..room import b", "from ..room.b import B"]
)
def test_relative_imports_count(graph_of, line):
    graph = graph_of(room="", room__a=line, room__b="from made.room.a import A")
    (circle,) = circles_in(graph)
    assert "made/room/a.py → made/room/b.py" in circle


def test_a_larger_knot_shows_its_shortest_circle_and_names_the_rest(graph_of):
    graph = graph_of(
        a="import made.b", b="import made.c", c="import made.a, made.d", d="import made.c", e="import made.a"
    )
    (circle,) = circles_in(graph)
    assert circle == (
        "  made/c.py → made/d.py: made.d (line 1)\n"
        "  made/d.py → made/c.py: made.c (line 1)\n"
        "  in a circle with them: made/a.py, made/b.py"
    )


def test_two_circles_are_two(graph_of):
    graph = graph_of(a="import made.b", b="import made.a", c="import made.d, made.a", d="import made.c")
    assert len(circles_in(graph)) == 2
