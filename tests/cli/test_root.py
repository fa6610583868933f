"""What holds for every command of `cycles`, and for the program itself."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner

from cycles._outside.extras import install
from cycles.cli.root import cycles as command
from tests.support.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator


def _commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, made in group.commands.items():
        if isinstance(made, click.Group):
            yield from _commands(made, (*path, name))
        else:
            yield (*path, name), made


@pytest.mark.parametrize(("path", "made"), list(_commands(command)))
def test_every_command_has_an_example(path, made):
    shown = CliRunner().invoke(command, [*path, "--help"]).output
    _, _, example = shown.partition("Example:\n  ")
    assert f"cycles {' '.join(path)}" in example.splitlines()[0]


@pytest.mark.parametrize(("path", "made"), list(_commands(command)))
def test_every_command_writes_json(path, made):
    if path != ("completion",):
        assert any("--json" in param.opts for param in made.params)


@pytest.mark.slow
def test_version_and_module():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "cycles.cli", "--version"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert done.stdout.startswith("cycles, version ")


def test_without_the_extra():
    code = "import sys; sys.modules['click'] = None; from cycles.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stderr) == (1, f"the cycles command needs an extra: {install('cli')}\n")
