"""`cycles completion`: the scripts, and what a real bash makes of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from cycles.cli.completion import VARIABLE
from tests.support.waiting import PATIENCE


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_names_the_program_and_its_variable(bare, shell):
    script = bare("completion", shell).stdout
    assert f"{VARIABLE}={shell}_complete" in script
    assert "cycles" in script


def test_an_unknown_shell(bare):
    assert "bash" in bare("completion", "tcsh", code=2).stderr


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_commands_options_and_choices(bare, tmp_path):
    """The script is sourced by bash, and its function asked as a Tab would ask it."""
    command = tmp_path / "bin" / "cycles"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -W error -m cycles.cli "$@"\n')
    command.chmod(0o755)
    script = bare("completion", "bash").stdout
    asked = [("cycles", "loc"), ("cycles", "local", "budget", "f"), ("cycles", "reservations", "list", "--status", "A")]
    for words in asked:
        quoted = " ".join(f'"{word}"' for word in words)
        script += f"\nCOMPREPLY=(); COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _cycles_completion cycles\n"
        script += 'echo "${COMPREPLY[@]}"\n'
    environ = {**os.environ, "PATH": f"{command.parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "--norc"], input=script, capture_output=True, text=True, timeout=PATIENCE, check=True, env=environ
    )
    assert done.stdout.splitlines() == ["local", "freeze fund", "ACTIVE"], done.stderr
