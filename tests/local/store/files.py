"""What tests do to ledger files."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from cycles.errors import ConfigError
from cycles.local import LocalAuthority
from tests.support.authorities import SCOPE

if TYPE_CHECKING:
    from pathlib import Path

posix = pytest.mark.skipif(os.name != "posix", reason="of POSIX file systems")


def beside(path: Path) -> list[Path]:
    return [path.with_name(path.name + suffix) for suffix in ("", "-wal", "-shm")]


def spent(path: Path) -> int:
    with LocalAuthority(path) as authority:
        return authority.balance(SCOPE, "TOKENS").spent


def as_another_user(paths: list[str]) -> list[str]:
    """Return what a user without any rights of its own is told about each of *paths*."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        said = []
        try:
            os.setgroups([])
            os.setresgid(54321, 54321, 54321)
            os.setresuid(54321, 54321, 54321)
            for path in paths:
                try:
                    LocalAuthority(path).close()
                    said.append("works")
                except ConfigError as error:
                    said.append(error.message)
            os.write(writing, json.dumps(said).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as answer:
        told = json.loads(answer.read())
    os.waitpid(child, 0)
    return list(told)


def change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
