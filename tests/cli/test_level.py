"""`cycles level`: the value that `cycles.level` gives in Python."""

from __future__ import annotations

import cycles
from tests.cli.runner import Cli

CLI = Cli({})


def test_a_text_becomes_a_value():
    assert CLI("level", "Zoë <z@x>").output == f"{cycles.level('Zoë <z@x>')}\n"
    assert CLI.json("level", "zoe") == {"level": "zoe"}
    assert "level" in CLI("level", " ", code=2).stderr
