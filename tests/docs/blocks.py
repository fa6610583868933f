"""The Python of README and docs/, as programs: what a reader pastes.

Each block of README stands alone. The blocks of another page go on from those above them, and its first one needs
nothing. `python -m tests.docs.blocks FOLDER` writes them there, for type checkers (`nox -s types`).

So does the example in the docstring of each public name that docs/reference.md shows, of its methods and of each
error.

A block with a title, the name of a file, calls the SDK of a model provider: tests/metering/sdk/test_readme.py runs it
in `nox -s metering`, for which `python -m tests.docs.blocks FOLDER sdks` writes these. Or it is a test:
tests/testing/test_documented.py.

Each block of docs/frameworks.md stands alone, too, and needs frameworks: `nox -s integrations` runs them, and
`python -m tests.docs.blocks FOLDER frameworks` writes them.
"""

from __future__ import annotations

import inspect
import pydoc
import re
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cycles import errors
from tests.docs.pages import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

_ALIAS = re.compile(r'^(\w+): TypeAlias = [^\n]+\n"""(.*?)"""', flags=re.MULTILINE | re.DOTALL)
_BLOCK = re.compile(r"^```python\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)

OPTIONS = ROOT / "cycles" / "_client" / "options.py"

_TITLED = re.compile(r'^```python title="([^"]+)"\n(.*?)^```$', flags=re.MULTILINE | re.DOTALL)

INNER = frozenset({"forked", "meets", "next", "remove", "spoil", "world"})
"""Methods that other rooms call; docs/reference.md leaves them out (zensical.toml)."""

FRAMEWORKS = ROOT / "docs" / "frameworks.md"

_CELERY: Final = '# mypy: disable-error-code="import-untyped, untyped-decorator"\n'
"""Celery has no types; what a program does beside it is checked."""


def blocks_of(page: Path) -> list[str]:
    """Return the Python blocks of *page*."""
    return _BLOCK.findall(page.read_text("utf-8"))


def sdk_programs() -> dict[str, str]:
    """Return the programs that call a real SDK, by page and file."""
    return {name: text for name, text in titled().items() if ":test_" not in name}


def titled() -> dict[str, str]:
    """Return the blocks that have a file's name as their title, by page and file."""
    pages = sorted((ROOT / "docs").glob("*.md"))
    return {f"{page.stem}:{file}": text for page in pages for file, text in _TITLED.findall(page.read_text("utf-8"))}


def programs() -> dict[str, str]:
    """Return the programs by a name that can be a module's."""
    made = {f"readme_{number}": block for number, block in enumerate(blocks_of(ROOT / "README.md"), 1)}
    for page in sorted((ROOT / "docs").glob("*.md")):
        blocks = blocks_of(page)
        if blocks and page != FRAMEWORKS:
            made[f"docs_{page.stem}"] = "\n\n".join(blocks)
    return made | {f"docstring_{name.replace('.', '_')}": block for name, block in examples().items()}


def reference() -> list[str]:
    """Return the public names that docs/reference.md shows."""
    return re.findall(r"^::: ([\w.]+)$", (ROOT / "docs" / "reference.md").read_text("utf-8"), flags=re.MULTILINE)


def examples() -> dict[str, str]:
    """Return the examples in the docstrings of public names, their methods, errors and named types, by name."""
    found = {name: blocks_in(docstring) for name, docstring in docstrings().items()}
    return {name: "\n\n".join(blocks) for name, blocks in found.items() if blocks}


def docstrings() -> dict[str, str]:
    """Return what documents each name that must have an example; an error's or a class's methods follow it.

    An inherited method counts once, for the first class that has it. What the bindings generate has no examples.
    """
    raised = [f"cycles.{name}" for name in errors.__all__ if name not in {"DenialDetail", "LimitNumbers"}]
    named = {f"cycles.{name}": text for name, text in _ALIAS.findall(OPTIONS.read_text("utf-8"))}
    found: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    for name in dict.fromkeys([*reference(), *raised]):
        if name in named:
            found[name] = named[name]
            continue
        known: Any = pydoc.locate(name)
        found[name] = inspect.getdoc(known) or ""
        if inspect.isclass(known):
            for method, made in methods_of(known):
                if (made.__module__, made.__qualname__) not in seen:
                    seen.add((made.__module__, made.__qualname__))
                    found[f"{name}.{method}"] = inspect.getdoc(made) or ""
    return found


def methods_of(kind: type) -> Iterator[tuple[str, Any]]:
    """Yield the public methods of a class, inherited ones too, but not those of the bindings or of Python."""
    for method, made in inspect.getmembers(kind, callable):
        if (
            method not in INNER
            and not method.startswith("_")
            and (getattr(made, "__module__", None) or "").startswith("cycles.")
        ):
            yield method, made


def blocks_in(docstring: str) -> list[str]:
    """Return the Python of the `Example:` of a *docstring*."""
    example = docstring.partition("\nExample:\n")[2]
    return _BLOCK.findall(textwrap.dedent(example))


def framework_programs() -> dict[str, str]:
    """Return the programs of docs/frameworks.md."""
    return {f"frameworks_{number}": block for number, block in enumerate(blocks_of(FRAMEWORKS), 1)}


def typed_sdk_programs() -> dict[str, str]:
    """Return the programs that call a real SDK, README's too, by a name that can be a module's."""
    found = {re.sub(r"\W", "_", name.removesuffix(".py")): text for name, text in sdk_programs().items()}
    return found | {name: text for name, text in programs().items() if name.startswith("readme_")}


def typed_framework_programs() -> dict[str, str]:
    """Return the programs of docs/frameworks.md as type checkers read them."""
    return {
        name: f"{_CELERY}{program}" if program.startswith("import celery\n") else program
        for name, program in framework_programs().items()
    }


KINDS: Final = {"frameworks": typed_framework_programs, "sdks": typed_sdk_programs}


def write(folder: Path, made: dict[str, str]) -> None:
    """Write the programs *made* into *folder*, each as a file of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.py"):
        old.unlink()
    for name, program in made.items():
        (folder / f"{name}.py").write_text(program, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]), KINDS[sys.argv[2]]() if sys.argv[2:] else programs())
