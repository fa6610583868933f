"""The pages' images: each is there, each is shown, each says in words what it shows; `nox -s recordings` makes them."""

from __future__ import annotations

import html
import re

import pytest

from tests.docs.pages import PAGES, RAW, ROOT

_IMAGE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)\)")

SHOWN = [(page, *found) for page in PAGES for found in _IMAGE.findall(page.read_text("utf-8"))]
"""(page, words, target) of each image."""

DRAWINGS = sorted(file for file in (ROOT / "docs").rglob("*") if file.suffix in {".gif", ".jpg", ".png", ".svg"})


def file_of(page, target):
    """Return the file that *target* names."""
    return ROOT / target.removeprefix(RAW) if target.startswith(RAW) else (page.parent / target).resolve()


def test_each_image_that_is_there_is_shown_and_each_that_is_shown_is_there():
    assert sorted({file_of(page, target) for page, _, target in SHOWN}) == DRAWINGS


@pytest.mark.parametrize(("page", "words", "target"), SHOWN, ids=lambda it: getattr(it, "stem", None))
def test_an_image_says_in_words_what_it_shows(page, words, target):
    assert len(words.split()) >= 5, target


@pytest.mark.parametrize("file", [file for file in DRAWINGS if file.suffix == ".svg"], ids=lambda file: file.stem)
def test_a_drawing_asks_nobody(file):
    drawn = file.read_text("utf-8")
    assert not re.search(r"url\(['\"]?[^#'\"]|<script|<image|href=", drawn)


def test_the_recorded_agent_says_what_the_tutorial_says():
    drawn = (ROOT / "docs" / "images" / "agent.svg").read_text("utf-8")
    seen = "".join(
        html.unescape(part).rstrip("\n") for part in re.findall(r"<text[^>]*>(.*?)</text>", drawn, re.DOTALL)
    )
    tutorial = (ROOT / "docs" / "tutorial.md").read_text("utf-8")
    (said,) = re.findall(r"^stopped after .*?request_id", tutorial, re.MULTILINE | re.DOTALL)
    assert "".join(said.split()) in "".join(seen.split())
