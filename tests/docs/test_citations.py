"""What code, tests and pages cite is in this repository: whoever reads a docstring can look it up.

A page is cited by its path from the root (`docs/guard.md`) or from the file that cites it; a section by its heading,
after a comma.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import AT_SOURCE, ROOT, headings_of

ROOMS = (*sorted(path.name for path in (ROOT / "cycles").iterdir() if path.is_dir() and path.name != "__pycache__"),)
PLACES = {
    **{f"cycles/{room}": [f"cycles/{room}/**/*"] for room in ROOMS},
    "cycles": ["cycles/*", "_cycles_pytest.py"],
    "tests": ["tests/**/*"],
    "docs": ["docs/**/*", "*.md"],
    "examples, benchmarks": ["examples/**/*", "benchmarks/**/*"],
    "openapi, templates, generated": ["openapi/**/*", "templates/**/*", "generated/**/*"],
    "tools": ["*.py", "*.toml", ".ci/**/*", ".github/**/*"],
}
"""Where to look, by the name of the test: patterns from the root."""

TEXTS = {".py", ".md", ".yaml", ".yml", ".toml", ".jinja", ".html", ""}
SAMPLES = {"tests/docs/test_citations.py", "tests/docs/test_links.py"}
"""Tests that hold citations and links that lead nowhere."""

PASTED = {"tests/docs/cli_intro.md": "docs", "zensical.toml": "docs"}
"""Files that become part of a page in another folder, or name pages there."""

_NUMBERED = re.compile(r"(?:[\w./-]+\.md)?[\s#]*§+\s*\d[\d.]*")
_PAGE = re.compile(r"""(?<![\w*{}./<-])(?:(?:[\w.-]+|\.\.)(?:/|["'] / ["']))*[\w-]+\.md\b""")
_STANDARD = re.compile(r"(?:RFC \d+|W3C [\w ]+),?$")
_SECTION = re.compile(r"\b(docs/[\w-]+\.md),[\s#]+([A-Z][^.;:()]*)")


def cited_wrongly(text: str, place: str) -> list[str]:
    """Return what *text* cites that is not in the repository; *place* is the file it stands in, from the root."""
    text = re.sub(r"https?://\S+", lambda url: " " * len(url[0]), text.replace(AT_SOURCE, ""))
    folders = ROOT, ROOT / PASTED.get(place, Path(place).parent)
    found = {}
    for hit in _NUMBERED.finditer(text):
        if not _STANDARD.search(text[: hit.start()]):  # those have numbered sections; our pages have none
            found[hit.start()] = hit[0]
    for hit in _PAGE.finditer(_NUMBERED.sub(lambda hit: " " * len(hit[0]), text)):
        page = re.sub(r"[\"'] / [\"']", "/", hit[0])
        if not any((folder / page).exists() for folder in folders):
            found[hit.start()] = page
    for hit in _SECTION.finditer(text):
        page, rest = ROOT / hit[1], re.sub(r"[\s#]+", " ", hit[2])
        if page.exists() and not any(re.match(rf"{re.escape(known)}\b", rest) for known in headings_of(page)):
            found[hit.start()] = f"{hit[1]}, {rest}"
    return [f"{place}:{text.count(chr(10), 0, at) + 1}: {' '.join(found[at].split())}" for at in sorted(found)]


_DOTTED = re.compile(r"`(?:cycles\.)?((?:_[a-z]+|local|cli|testing|integrations)(?:\.(?!NAME\b)\w+)+)`")


def is_there(dotted: str) -> bool:
    """Whether a module of the package is called so, or a name that one defines, or a room exports."""
    inside = ROOT / "cycles" / Path(*dotted.split("."))
    if inside.with_suffix(".py").is_file() or inside.is_dir():
        return True
    defined, exported = rf"^(?:async def |def |class )?{inside.name}\b", rf"\bimport .*\b{inside.name}\b"
    places = {inside.parent.with_suffix(".py"): defined, inside.parent / "__init__.py": exported}
    return any(
        file.is_file() and re.search(name, file.read_text("utf-8"), re.MULTILINE) for file, name in places.items()
    )


def test_every_module_that_is_cited_is_in_the_package():
    cited = [
        (f"{file.relative_to(ROOT)}: {hit[0]}", hit[1])
        for file in sorted((ROOT / "cycles").rglob("*.py"))
        for hit in _DOTTED.finditer(file.read_text("utf-8"))
    ]
    assert len(cited) > 15
    wrong = [where for where, dotted in cited if not is_there(dotted)]
    assert not wrong, "\n".join(["not in the package:", *wrong])


@pytest.mark.parametrize("place", PLACES)
def test_everything_that_is_cited_is_in_the_repository(place):
    files = {
        file for pattern in PLACES[place] for file in ROOT.glob(pattern) if file.suffix in TEXTS and file.is_file()
    }
    texts = {file.relative_to(ROOT).as_posix(): file.read_text("utf-8") for file in sorted(files)}
    assert texts
    wrong = [cited for name, text in texts.items() if name not in SAMPLES for cited in cited_wrongly(text, name)]
    assert not wrong, "\n".join(["not in the repository:", *wrong])


@pytest.mark.parametrize(
    ("text", "place", "found"),
    [
        ("see docs/guard.md and README.md", "cycles/guard.py", 0),
        ("[settlement](settlement.md)", "docs/guard.md", 0),
        ('ROOT / "docs" / "configuration.md"', "tests/client/test_config.py", 0),
        ("which is in docs/protocol.md, Heartbeat, and runs", "cycles/guard.py", 0),
        ("as docs/protocol.md,\n    # Units and amounts has it", "cycles/guard.py", 0),
        ("as RFC 9110 §10.2.3 has it", "cycles/guard.py", 0),
        ("as W3C Trace Context §3.2 has it", "cycles/guard.py", 0),
        (f"{AT_SOURCE}docs/cli.md", "README.md", 0),
        ("https://elsewhere.example/page.md", "README.md", 0),
        ("*.md files and a_{name}.md", "README.md", 0),
        ("the plan (design.md)", "cycles/guard.py", 1),
        ("protocol.md, ttl", "cycles/guard.py", 1),
        ("the rules (authority.md §1.3)", "docs/guard.md", 1),
        ("the rules (authority.md §1.3)", "cycles/guard.py", 1),
        ("else a new one (§4.4)", "cycles/guard.py", 1),
        ("the rules (authority.md §4.8, §4.9)", "cycles/guard.py", 2),
        ("protocol §8 says", "cycles/guard.py", 1),
        ("docs/codegen.md", "cycles/guard.py", 1),
        ("docs/protocol.md, Heartbeats", "cycles/guard.py", 1),
        ("docs/protocol.md, Leases", "cycles/guard.py", 1),
        ("docs/protocol.md,\n    Pulse", "cycles/guard.py", 1),
    ],
)
def test_a_citation_of_something_else_is_seen(text, place, found):
    assert len(cited_wrongly(text, place)) == found
