"""The project's pages, their headings and their links: what the tests of links and of citations look at."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[2]
README: Final = ROOT / "README.md"
URLS: Final[dict[str, str]] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["urls"]
AT_SOURCE: Final = f"{URLS['Source']}/blob/main/"
"""How a page that is read outside of the repository names a file in it."""

RAW: Final[str] = f"{AT_SOURCE.replace('//github.com', '//raw.githubusercontent.com').replace('/blob/', '/')}"
"""How it names an image there."""

PAGES: Final = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
"""What people read in the repository."""

_FENCED = re.compile(r"^```.*?^```", flags=re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)$", flags=re.MULTILINE)
_REFERENCE = re.compile(r"\[[^\]]+\]\[([^\]]+)\]")
_HEADING = re.compile(r"^#+ +(.+?)\s*$", flags=re.MULTILINE)


def prose_of(page: Path) -> str:
    """Return the text of *page* without its fenced code."""
    return _FENCED.sub("", page.read_text("utf-8"))


def links_of(text: str) -> list[str]:
    """Return the targets of all links and images in a page's *text*, and of the names that it defines for links."""
    return [inline or defined for inline, defined in _LINK.findall(text)]


def undefined_in(text: str) -> list[str]:
    """Return the names that links in *text* go by (`[words][name]`), and that it does not define."""
    return [name for name in _REFERENCE.findall(text) if f"\n[{name}]: " not in text]


def headings_of(page: Path) -> list[str]:
    """Return the headings of *page*, as they are read."""
    return [heading.replace("`", "") for heading in _HEADING.findall(prose_of(page))]


def anchors_of(page: Path) -> set[str]:
    """Return the anchors that GitHub gives the headings of *page*."""
    anchors: set[str] = set()
    for heading in headings_of(page):
        anchor = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        named, count = anchor, 0
        while named in anchors:
            count += 1
            named = f"{anchor}-{count}"
        anchors.add(named)
    return anchors


def broken(target: str, page: Path) -> str | None:
    """Return what is wrong with a link to *target* from *page*, or None; other sites are not visited."""
    name, _, anchor = target.partition("#")
    if name.startswith((AT_SOURCE, RAW)):
        file = ROOT / name.removeprefix(AT_SOURCE).removeprefix(RAW)
    elif re.match(r"[a-z]+:", name):
        return f"{target}: not written as {AT_SOURCE}…" if name.startswith(f"{URLS['Source']}/blob") else None
    else:
        file = page.parent / name if name else page
    if not file.exists():
        return f"{target}: no such file"
    if not file.resolve().is_relative_to(ROOT):
        return f"{target}: outside of the repository"
    if anchor and anchor not in anchors_of(file):
        return f"{target}: no such heading"
    return None


def all_broken(page: Path, text: str) -> Iterator[str]:
    """Yield what is wrong with the links in *text*, which stands in *page*."""
    yield from (f"[{name}]: not defined" for name in undefined_in(text))
    yield from (found for found in (broken(target, page) for target in links_of(text)) if found is not None)
