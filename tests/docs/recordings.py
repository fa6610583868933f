"""Makes the recordings in docs/images/: what a terminal shows of the demo, and of the command on a fresh ledger.

`nox -s recordings` writes them. A pseudo-terminal runs the lines, a terminal emulator (pyte) keeps what they leave on
its screen, and rich draws that. Ids are replaced by fixed ones, so each run draws the same; of the demo, whose workers
race, a recording that differs only in who was quicker is left as it is.
"""

from __future__ import annotations

import hashlib
import os
import pty
import re
import select
import shlex
import shutil
import subprocess
import sys
import tempfile
from fcntl import ioctl
from itertools import groupby
from pathlib import Path
from struct import pack
from termios import TIOCSWINSZ
from typing import TYPE_CHECKING, Final, NamedTuple

import pyte
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.style import Style
from rich.text import Text

from tests.docs.blocks import blocks_of
from tests.docs.pages import ROOT

if TYPE_CHECKING:
    from pyte.screens import Char

IMAGES: Final = ROOT / "docs" / "images"
ROWS: Final = 200
LONGEST: Final = 300.0
"""Seconds in which a recording says something, or has hung."""

PLAIN: Final = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL).replace(
    "Fira Code, monospace", "ui-monospace, Menlo, Consolas, monospace"
)
"""rich's SVG, without fonts of another host."""

COLOURS: Final = {"default": None, "brown": "yellow"}


class Recording(NamedTuple):
    """Lines of a shell, and how wide their terminal is."""

    title: str
    lines: tuple[str, ...]
    columns: int = 88
    races: bool = False


RECORDINGS: Final = {
    "demo": Recording("nox -s demo", ("python examples/runaway.py",), columns=60, races=True),
    "agent": Recording("an agent with a dollar", ("CYCLES_BASE_URL='local:?usd=1.00' python agent.py",)),
    "budget": Recording(
        "a dollar that lasts",
        (
            'eval "$(cycles local init --usd 1)"',
            "python agent.py",
            "cycles balances",
            "cycles decide --usd 0.05 --action llm.completion gpt-4o",
            "cycles local budget fund tenant:default --usd 1",
            "cycles decide --usd 0.05 --action llm.completion gpt-4o",
            "cycles level zoe@example.com",
        ),
    ),
}


def record(recording: Recording) -> list[Text]:
    """Run the lines in an empty home, and return what stands on the screen afterwards."""
    folder = Path(tempfile.mkdtemp()).resolve()
    try:
        (folder / "agent.py").write_text(blocks_of(ROOT / "docs" / "tutorial.md")[0], encoding="utf-8")
        (folder / "examples").symlink_to(ROOT / "examples")
        shell = "\n".join(f"printf '\\033[1;32m$\\033[0m %s\\n' {shlex.quote(it)}\n{it}" for it in recording.lines)
        said = _said(["sh", "-c", shell], folder, recording.columns)
    finally:
        shutil.rmtree(folder)
    screen = pyte.Screen(recording.columns, ROWS)
    pyte.Stream(screen).feed(_fixed(said))
    shown = [_line([screen.buffer[row][column] for column in range(recording.columns)]) for row in range(ROWS)]
    while shown and not shown[-1].plain:
        shown.pop()
    return shown


def _said(command: list[str], folder: Path, columns: int) -> str:
    """Run *command* in a terminal of its own; return what it wrote."""
    ours, theirs = pty.openpty()
    ioctl(theirs, TIOCSWINSZ, pack("HHHH", ROWS, columns, 0, 0))
    paths = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    python = os.pathsep.join((str(ROOT), str(ROOT / "generated")))
    environ = {"HOME": str(folder), "PATH": paths, "PYTHONPATH": python, "TERM": "xterm-256color", "LANG": "C.UTF-8"}
    process = subprocess.Popen(command, cwd=folder, env=environ, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    said = bytearray()
    try:
        while select.select([ours], [], [], LONGEST)[0]:
            try:
                chunk = os.read(ours, 65536)
            except OSError:  # Linux's way to say that nobody writes any more
                break
            if not chunk:
                break
            said += chunk
        else:
            raise TimeoutError(f"{command} says nothing: {said.decode()!r}")
        if (status := process.wait(LONGEST)) != 0:
            raise RuntimeError(f"{command} ended with {status}: {said.decode()}")
    finally:
        process.kill()
        os.close(ours)
    return said.decode("utf-8")


def _fixed(said: str) -> str:
    """Replace what is another one each time by something of the same length."""
    return re.sub(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "2f0c9b1e-7d34-4a58-9c60-5e3a8d1b7f42", said)


def _line(cells: list[Char]) -> Text:
    made = Text()
    for style, run in groupby(cells, _style):  # a part for each style, and not for each character
        made.append("".join(cell.data for cell in run), style)
    made.rstrip()
    return made


def _style(cell: Char) -> Style:
    colour = COLOURS.get(cell.fg, cell.fg.replace("bright", "bright_"))
    return Style(color=colour, bold=cell.bold, italic=cell.italics, underline=cell.underscore)


def draw(name: str, recording: Recording, shown: list[Text]) -> str:
    """Return the SVG of what is *shown*; its last line tells recordings apart that differ in more than chance."""
    with Path(os.devnull).open("w") as nowhere:
        console = Console(record=True, width=recording.columns, file=nowhere, force_terminal=True, legacy_windows=False)
        for line in shown:
            console.print(line, soft_wrap=True)
        drawn = console.export_svg(title=recording.title, code_format=PLAIN, unique_id=f"terminal-{name}")
    return f"{drawn.rstrip()}\n<!-- {_kind(shown, races=recording.races)} -->\n"


def _kind(shown: list[Text], *, races: bool) -> str:
    """Return what a recording is the same by: its text, and where workers race, but for figures and order."""
    lines = [line.plain for line in shown]
    if races:
        lines = sorted(re.sub(r" +", " ", re.sub(r"\d+", "0", line)) for line in lines)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def main() -> None:
    """Write each recording that has changed."""
    IMAGES.mkdir(exist_ok=True)
    for name, recording in RECORDINGS.items():
        file, drawn = IMAGES / f"{name}.svg", draw(name, recording, record(recording))
        before = file.read_text("utf-8") if file.exists() else ""
        if recording.races and before.splitlines()[-1:] == drawn.splitlines()[-1:]:
            drawn = before
        file.write_text(drawn, encoding="utf-8")
        sys.stdout.write(f"{file}: {'as before' if drawn == before else 'written'}\n")


if __name__ == "__main__":
    main()
