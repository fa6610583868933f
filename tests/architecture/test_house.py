"""At the top of `cycles/` stands only what users import and read; the rest is in rooms that say what lives there."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "cycles"
PUBLIC = {
    "__init__.py",
    "amounts.py",
    "client.py",
    "config.py",
    "errors.py",
    "evidence.py",
    "guard.py",
    "limit.py",
    "metered.py",
    "prices.py",
    "py.typed",
    "reservation.py",
}
ROOMS = sorted(path.parent for path in PACKAGE.rglob("__init__.py") if path.parent != PACKAGE)


def test_at_the_top_stand_public_modules_and_rooms():
    loose = {path.name for path in PACKAGE.iterdir() if path.is_file()} - PUBLIC
    assert loose == set(), "put them into a room, or add them to PUBLIC: users import what is there"


def test_every_directory_is_a_room():
    holding_code = {path.parent for path in PACKAGE.rglob("*.py")}
    assert holding_code - {PACKAGE} == set(ROOMS), "a directory of modules needs an __init__.py"


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.relative_to(PACKAGE).as_posix())
def test_a_room_says_what_lives_in_it(room):
    said = ast.get_docstring(ast.parse((room / "__init__.py").read_text("utf-8")))
    assert said is not None
    assert said.partition("\n")[0].endswith(".")
