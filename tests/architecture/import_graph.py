"""Which file of a package imports which, and the circles among them.

Every import counts, wherever it stands: at the top of a module, inside a function, and below `if TYPE_CHECKING:`, for a
reader follows those too. What doesn't count is that Python runs a package's `__init__` before each of its submodules:
only an import that names something of the `__init__` is one of it.
"""

from __future__ import annotations

import ast
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path


class Tie(NamedTuple):
    """A name that one file imports from another.

    Attributes:
        name: As it is written; of an imported module its dotted path.
        line: The line of the import.
    """

    name: str
    line: int


class ImportGraph:
    """The imports between the files of one package.

    Args:
        package: The package's directory.

    Attributes:
        files: The file of each module, by dotted name.
        ties: What each file imports from each other file.
    """

    def __init__(self, package: Path) -> None:
        self._root: Final = package.parent
        self.files: Final = {_module_name(path, package.parent): path for path in sorted(package.rglob("*.py"))}
        self.ties: Final[dict[Path, dict[Path, list[Tie]]]] = {path: {} for path in self.files.values()}
        for path in self.files.values():
            for target, tie in self._imports_of(path):
                if target != path:
                    self.ties[path].setdefault(target, []).append(tie)

    def _imports_of(self, path: Path) -> Iterator[tuple[Path, Tie]]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"), str(path))):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.name in self.files:
                        yield self.files[alias.name], Tie(alias.name, node.lineno)
            elif isinstance(node, ast.ImportFrom):
                base = self._base_of(node, path)
                for alias in node.names:
                    module = f"{base}.{alias.name}"
                    target = self.files.get(module) or self.files.get(base)
                    if target is not None:
                        yield target, Tie(module if module in self.files else alias.name, node.lineno)

    def _base_of(self, node: ast.ImportFrom, path: Path) -> str:
        """Return the dotted name that stands after `from`, without leading dots."""
        if not node.level:
            return node.module or ""
        folder = path.relative_to(self._root).parent.parts
        parts = folder[: len(folder) - node.level + 1]
        return ".".join((*parts, node.module) if node.module else parts)

    def knots(self) -> list[set[Path]]:
        """Return the strongly connected components: groups of files in which every file reaches every other."""
        reached = {path: self._reached_from(path) for path in self.ties}
        found: list[set[Path]] = []
        for path in self.ties:
            if not any(path in knot for knot in found):
                knot = {other for other in reached[path] if path in reached[other]}
                if len(knot) > 1:
                    found.append(knot)
        return found

    def _reached_from(self, path: Path) -> set[Path]:
        reached: set[Path] = set()
        ahead = [path]
        while ahead:
            for target in self.ties[ahead.pop()]:
                if target not in reached:
                    reached.add(target)
                    ahead.append(target)
        return reached

    def circle_in(self, knot: Collection[Path]) -> list[Path]:
        """Return the shortest circle in *knot*, each file once."""
        circles = (self._way_back(path, knot) for path in sorted(knot))
        return min(circles, key=len)

    def _way_back(self, start: Path, knot: Collection[Path]) -> list[Path]:
        ways = deque([[start]])
        seen: set[Path] = set()
        while ways:
            way = ways.popleft()
            for target in self.ties[way[-1]]:
                if target == start:
                    return way
                if target in knot and target not in seen:
                    seen.add(target)
                    ways.append([*way, target])
        raise ValueError(f"{start} is in no circle")

    def described(self, knot: Collection[Path]) -> str:
        """Return a knot in words: its shortest circle with the names that tie it, then the rest of its files."""
        circle = self.circle_in(knot)
        lines = []
        for path, target in zip(circle, [*circle[1:], circle[0]], strict=True):
            names = ", ".join(f"{tie.name} (line {tie.line})" for tie in self.ties[path][target])
            lines.append(f"  {self._shown(path)} → {self._shown(target)}: {names}")
        rest = sorted(set(knot) - set(circle))
        if rest:
            lines.append(f"  in a circle with them: {', '.join(self._shown(path) for path in rest)}")
        return "\n".join(lines)

    def _shown(self, path: Path) -> str:
        return path.relative_to(self._root).as_posix()


def _module_name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
