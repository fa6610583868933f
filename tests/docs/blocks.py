"""The Python of README and docs/, as programs: what a reader pastes.

Each block of README stands alone. The blocks of another page go on from those above them, and its first one needs
nothing. `python -m tests.docs.blocks FOLDER` writes them there, for type checkers (`nox -s types`).

Each block of docs/frameworks.md stands alone, too, and needs frameworks: `nox -s integrations` runs them, and
`python -m tests.docs.blocks FOLDER frameworks` writes them.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from tests.docs.pages import ROOT

_BLOCK = re.compile(r"^```python\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)

FRAMEWORKS = ROOT / "docs" / "frameworks.md"


def blocks_of(page: Path) -> list[str]:
    """Return the Python blocks of *page*."""
    return _BLOCK.findall(page.read_text("utf-8"))


def programs() -> dict[str, str]:
    """Return the programs by a name that can be a module's."""
    made = {f"readme_{number}": block for number, block in enumerate(blocks_of(ROOT / "README.md"), 1)}
    for page in sorted((ROOT / "docs").glob("*.md")):
        blocks = blocks_of(page)
        if blocks and page != FRAMEWORKS:
            made[f"docs_{page.stem}"] = "\n\n".join(blocks)
    return made


def framework_programs() -> dict[str, str]:
    """Return the programs of docs/frameworks.md."""
    return {f"frameworks_{number}": block for number, block in enumerate(blocks_of(FRAMEWORKS), 1)}


def write(folder: Path, made: dict[str, str]) -> None:
    """Write the programs *made* into *folder*, each as a file of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.py"):
        old.unlink()
    for name, program in made.items():
        (folder / f"{name}.py").write_text(program, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]), framework_programs() if sys.argv[2:] == ["frameworks"] else programs())
