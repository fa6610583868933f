"""Statements that travel together: prepared once on a connection, sent in one go, answered in one go.

psycopg's own pipeline does the same. Beneath it stands `psycopg.pq`, libpq itself, where a statement needs no cursor
and no adaption of types, and all of them need one wait: a reserve and a commit took half of the CPU.
"""

from __future__ import annotations

import select
from itertools import count
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg.errors import error_from_result
from psycopg.pq import ConnStatus, ExecStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg.pq.abc import PGconn, PGresult

_OK: Final = (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK)


class Statement:
    """A statement, with %s where a value belongs, and the name under which connections prepare it."""

    __slots__ = ("name", "sql")

    _numbers = count(1)

    def __init__(self, sql: str) -> None:
        first, *rest = sql.split("%s")
        self.sql: Final = "".join((first, *(f"${number}{part}" for number, part in enumerate(rest, 1)))).encode()
        self.name: Final = b"cycles_%d" % next(self._numbers)


class PreparingConnection(psycopg.Connection[Any]):
    """A connection that knows which statements it has prepared."""

    prepared: set[bytes]


Row = tuple[bytes | None, ...]


class Batch:
    """Statements for one connection.

    Args:
        connection: Nobody else uses it meanwhile.
    """

    def __init__(self, connection: PreparingConnection) -> None:
        if not hasattr(connection, "prepared"):
            connection.prepared = set()
        self._prepared: Final = connection.prepared
        self._pg: Final[PGconn] = connection.pgconn
        self._new: Final[list[bytes]] = []
        self._sent: Final[list[bytes | None]] = []  # of each command, the name that it prepares; None: it runs
        self._pg.enter_pipeline_mode()

    def add(self, statement: Statement, *bound: Any) -> None:
        """Send *statement* with these values."""
        if statement.name not in self._prepared and statement.name not in self._new:
            self._pg.send_prepare(statement.name, statement.sql)
            self._new.append(statement.name)
            self._sent.append(statement.name)
        self._pg.send_query_prepared(statement.name, [_text(value) for value in bound])
        self._sent.append(None)

    def run(self) -> list[list[Row]]:
        """Return the rows of each statement, after one round trip.

        Raises:
            psycopg.Error: of the first statement that failed; none after it did anything.
        """
        self._pg.pipeline_sync()
        wait = select.poll() if hasattr(select, "poll") else None
        if wait is not None:
            wait.register(self._pg.socket, select.POLLIN)
        while self._pg.flush():
            select.select([self._pg.socket], [self._pg.socket], [])
            self._pg.consume_input()
        found: list[list[Row]] = []
        failure: psycopg.Error | None = None
        for name in self._sent:
            result = self._result(wait)
            if result.status in _OK:
                if name is None:
                    found.append(_rows(result))
                else:
                    self._prepared.add(name)  # whatever becomes of the transaction
            elif result.status != ExecStatus.PIPELINE_ABORTED and failure is None:
                failure = error_from_result(result)
            while self._next(wait) is not None:  # each command ends with nothing
                pass
        self._result(wait)  # the synchronization
        self._pg.exit_pipeline_mode()
        if failure is not None:
            raise failure
        return found

    def _result(self, wait: Any) -> PGresult:
        result = self._next(wait)
        if result is None or self._pg.status != ConnStatus.OK:
            raise psycopg.OperationalError("the connection to the database was lost")
        return result

    def _next(self, wait: Any) -> PGresult | None:
        while self._pg.is_busy():
            if wait is None:
                select.select([self._pg.socket], [], [])
            else:
                wait.poll()
            self._pg.consume_input()
        return self._pg.get_result()


def _rows(result: PGresult) -> list[Row]:
    columns = range(result.nfields)
    return [tuple(result.get_value(row, column) for column in columns) for row in range(result.ntuples)]


def _text(value: Any) -> bytes | None:
    """Return a value as PostgreSQL reads it; its type is that of the column or the function."""
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bool):
        return b"t" if value else b"f"
    if isinstance(value, int):
        return b"%d" % value
    if value is None:
        return None
    if isinstance(value, bytes):
        return b"\\x" + value.hex().encode()
    return _array(value)


def _array(values: Sequence[str | int]) -> bytes:
    quoted = (str(value).replace("\\", "\\\\").replace('"', '\\"') for value in values)
    return ("{" + ",".join(f'"{value}"' for value in quoted) + "}").encode()
