"""Where a ledger's rows are kept: SQLite, in a file that the processes of one machine share, or in memory.

Every change is one IMMEDIATE transaction: the writer's lock is taken before the first read, so what was checked still
holds when it is written, whichever thread or process comes next. A file is in WAL mode, synchronous=NORMAL: a killed
process loses nothing that was acknowledged; a power failure may lose the last moments, and never corrupts.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import threading
import weakref
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import fields

from cycles.errors import ConfigError
from cycles.local.values import UNITS, ApiKey, Budget, Hold, Refusal, Replay, Tenant

if TYPE_CHECKING:
    from collections.abc import Iterator

APPLICATION_ID: Final = 0x4359434C  # "CYCL": how a file says that it is one of ours
SCHEMA_VERSION: Final = 1
BUSY_TIMEOUT: Final = 10.0
"""Seconds to wait for another writer before giving up."""

IDLE_CONNECTIONS: Final = 8
"""Connections to a file that are kept open for the next request."""

_SCHEMA: Final = """
CREATE TABLE tenants (tenant_id TEXT PRIMARY KEY, data TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE budgets (
    scope_path TEXT NOT NULL, unit TEXT NOT NULL, tenant TEXT NOT NULL, data TEXT NOT NULL,
    PRIMARY KEY (scope_path, unit)
) WITHOUT ROWID;
CREATE INDEX budgets_by_tenant ON budgets (tenant, scope_path, unit);
CREATE TABLE holds (
    reservation_id TEXT PRIMARY KEY, tenant TEXT NOT NULL, idempotency_key TEXT NOT NULL, scope_path TEXT NOT NULL,
    unit TEXT NOT NULL, estimate INTEGER NOT NULL, status TEXT NOT NULL, created_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER NOT NULL, deadline_ms INTEGER NOT NULL, finalized_at_ms INTEGER, data TEXT NOT NULL
);
CREATE INDEX holds_by_deadline ON holds (deadline_ms) WHERE status = 'ACTIVE';
CREATE INDEX holds_by_creation ON holds (tenant, created_at_ms, reservation_id);
CREATE INDEX holds_by_key ON holds (tenant, idempotency_key);
CREATE TABLE replays (
    scope TEXT NOT NULL, key TEXT NOT NULL, data TEXT NOT NULL, PRIMARY KEY (scope, key)
) WITHOUT ROWID;
CREATE TABLE keys (
    key_hash TEXT PRIMARY KEY, tenant TEXT NOT NULL, name TEXT NOT NULL, created_at_ms INTEGER NOT NULL,
    revoked_at_ms INTEGER
) WITHOUT ROWID;
"""

_BUDGET_FIELDS: Final = tuple(field.name for field in fields(Budget))
_HOLD_FIELDS: Final = tuple(field.name for field in fields(Hold))
_TENANT_FIELDS: Final = tuple(field.name for field in fields(Tenant))

_stores: Final[weakref.WeakSet[Store]] = weakref.WeakSet()
_inherited: Final[list[sqlite3.Connection]] = []
"""Connections of the parent process, in its fork. SQLite forbids to use them there, closing included: they are kept."""


def _after_fork() -> None:
    for store in list(_stores):
        store.forget_parent()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)


class SqliteBooks:
    """A ledger's rows as seen inside one transaction; see `values.Books`."""

    __slots__ = ("connection",)

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection: Final = connection

    def tenant(self, tenant_id: str) -> Tenant | None:
        row = self._one("SELECT data FROM tenants WHERE tenant_id = ?", tenant_id)
        return None if row is None else Tenant(**json.loads(row[0]))

    def put_tenant(self, tenant: Tenant) -> None:
        data = _encoded(tenant, _TENANT_FIELDS)
        self.connection.execute("INSERT OR REPLACE INTO tenants VALUES (?, ?)", (tenant.tenant_id, data))

    def budget(self, scope_path: str, unit: str) -> Budget | None:
        row = self._one("SELECT data FROM budgets WHERE scope_path = ? AND unit = ?", scope_path, unit)
        return None if row is None else self.budget_of(row[0])

    def units_at(self, scope_path: str) -> list[str]:
        rows = self.connection.execute("SELECT unit FROM budgets WHERE scope_path = ?", (scope_path,)).fetchall()
        return sorted((unit for (unit,) in rows), key=UNITS.index)

    def put_budget(self, budget: Budget) -> None:
        self.connection.execute(
            "INSERT OR REPLACE INTO budgets VALUES (?, ?, ?, ?)",
            (budget.scope_path, budget.unit, budget.tenant, _encoded(budget, _BUDGET_FIELDS)),
        )

    def budgets_of(self, tenant_id: str) -> list[Budget]:
        sql = "SELECT data FROM budgets WHERE tenant = ? ORDER BY scope_path, unit"
        return [self.budget_of(data) for (data,) in self.connection.execute(sql, (tenant_id.lower(),)).fetchall()]

    def all_budgets(self) -> list[Budget]:
        """Return every budget, by scope path and unit."""
        rows = self.connection.execute("SELECT data FROM budgets ORDER BY scope_path, unit").fetchall()
        return [self.budget_of(data) for (data,) in rows]

    def hold(self, reservation_id: str) -> Hold | None:
        row = self._one("SELECT data FROM holds WHERE reservation_id = ?", reservation_id)
        return None if row is None else self.hold_of(row[0])

    def put_hold(self, hold: Hold) -> None:
        self.connection.execute(
            "INSERT INTO holds VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (reservation_id) DO UPDATE SET "
            "status = excluded.status, expires_at_ms = excluded.expires_at_ms, deadline_ms = excluded.deadline_ms, "
            "finalized_at_ms = excluded.finalized_at_ms, data = excluded.data",
            (
                hold.reservation_id,
                hold.tenant,
                hold.idempotency_key,
                hold.affected[-1],
                hold.unit,
                hold.estimate,
                hold.status,
                hold.created_at_ms,
                hold.expires_at_ms,
                hold.deadline_ms,
                hold.finalized_at_ms,
                _encoded(hold, _HOLD_FIELDS),
            ),
        )

    def overdue(self, now_ms: int, most: int) -> list[Hold]:
        rows = self.connection.execute(
            "SELECT data FROM holds WHERE status = 'ACTIVE' AND deadline_ms < ? ORDER BY deadline_ms LIMIT ?",
            (now_ms, most),
        ).fetchall()
        return [self.hold_of(data) for (data,) in rows]

    def live_holds_of(self, tenant_id: str) -> list[Hold]:
        sql = "SELECT data FROM holds WHERE tenant = ? AND status = 'ACTIVE'"
        return [self.hold_of(data) for (data,) in self.connection.execute(sql, (tenant_id,)).fetchall()]

    def all_holds(self) -> list[Hold]:
        """Return every reservation, oldest first."""
        rows = self.connection.execute("SELECT data FROM holds ORDER BY created_at_ms, rowid").fetchall()
        return [self.hold_of(data) for (data,) in rows]

    def replay(self, scope: str, key: str) -> Replay | None:
        row = self._one("SELECT data FROM replays WHERE scope = ? AND key = ?", scope, key)
        return None if row is None else Replay(*json.loads(row[0]))

    def put_replay(self, scope: str, key: str, replay: Replay) -> None:
        data = json.dumps([replay.payload_hash, replay.body, replay.reservation_id])
        self.connection.execute("INSERT OR REPLACE INTO replays VALUES (?, ?, ?)", (scope, key, data))

    def key(self, secret: str) -> ApiKey | None:
        """Return the API key that *secret* is."""
        row = self._one("SELECT * FROM keys WHERE key_hash = ?", key_hash(secret))
        return None if row is None else ApiKey(*row)

    def key_and_tenant(self, secret: str) -> tuple[ApiKey | None, Tenant | None]:
        """Return the API key that *secret* is, and its tenant's record; both as of one moment."""
        row = self._one(
            "SELECT keys.*, tenants.data FROM keys LEFT JOIN tenants ON tenants.tenant_id = keys.tenant "
            "WHERE key_hash = ?",
            key_hash(secret),
        )
        if row is None:
            return None, None
        *key, data = row
        return ApiKey(*key), None if data is None else Tenant(**json.loads(data))

    def put_key(self, key: ApiKey) -> None:
        row = (key.key_hash, key.tenant, key.name, key.created_at_ms, key.revoked_at_ms)
        self.connection.execute("INSERT OR REPLACE INTO keys VALUES (?, ?, ?, ?, ?)", row)

    def revoke_keys_of(self, tenant_id: str, now_ms: int) -> None:
        sql = "UPDATE keys SET revoked_at_ms = ? WHERE tenant = ? AND revoked_at_ms IS NULL"
        self.connection.execute(sql, (now_ms, tenant_id))

    @staticmethod
    def budget_of(data: str) -> Budget:
        """Return the budget in a row's *data*."""
        return Budget(**json.loads(data))

    @staticmethod
    def hold_of(data: str) -> Hold:
        """Return the reservation in a row's *data*."""
        values: dict[str, Any] = json.loads(data)
        values["affected"], values["budgeted"] = tuple(values["affected"]), tuple(values["budgeted"])
        return Hold(**values)

    def _one(self, sql: str, *parameters: object) -> tuple[Any, ...] | None:
        row: tuple[Any, ...] | None = self.connection.execute(sql, parameters).fetchone()
        return row


def key_hash(secret: str) -> str:
    """Return what is kept of an API key: it has 192 random bits, so a plain hash can't be guessed back."""
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()


def _encoded(value: object, names: tuple[str, ...]) -> str:
    return json.dumps({name: getattr(value, name) for name in names}, ensure_ascii=False)


class Store:
    """A ledger's rows, safe to share between threads; a file also between processes.

    Args:
        path: The file, made when it is not there; None keeps everything in memory, for this process alone.

    Raises:
        ConfigError: when the file is no ledger, or of a later version; it is left untouched.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.path: Final = None if path is None else Path(path).absolute()
        self._lock = threading.Lock()  # of the pool; for memory, of the one connection
        self._idle: list[sqlite3.Connection] = []
        self._busy: set[sqlite3.Connection] = set()
        self._turn = threading.Lock()  # of this process's writers: cheaper and fairer than SQLite's polling
        self._inherited = False  # a ledger in memory, in a fork of the process that made it
        self._closed = False
        if self.path is not None:
            _refuse_foreign(self.path)
        connection = self._connect()
        try:
            _prepare(connection, self.path)
        except sqlite3.Error as error:
            connection.close()
            raise ConfigError(f"{self.path}: can't be used as a ledger: {error}") from None
        self._idle.append(connection)
        _stores.add(self)

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    @property
    def is_memory(self) -> bool:
        """Whether nothing is written to disk."""
        return self.path is None

    @contextmanager
    def writing(self) -> Iterator[SqliteBooks]:
        """Give the books in one transaction, which any exception undoes."""
        turn = self._turn
        if not turn.acquire(timeout=BUSY_TIMEOUT):
            raise sqlite3.OperationalError("database is locked")
        try:
            with self._connection() as connection:
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield SqliteBooks(connection)
                    connection.execute("COMMIT")
                except BaseException:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    raise
        finally:
            turn.release()

    @contextmanager
    def glancing(self) -> Iterator[SqliteBooks]:
        """Give the books for one query, which needs no transaction around it."""
        with self._connection() as connection:
            yield SqliteBooks(connection)

    @contextmanager
    def reading(self) -> Iterator[SqliteBooks]:
        """Give the books as they are at one moment."""
        with self._connection() as connection:
            connection.execute("BEGIN")
            try:
                yield SqliteBooks(connection)
            finally:
                connection.execute("ROLLBACK")

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        if self.path is None:
            with self._lock:
                self._must_be_open()
                yield self._idle[0]
            return
        connection = self._taken()
        try:
            yield connection
        finally:
            self._give_back(connection)

    def _taken(self) -> sqlite3.Connection:
        with self._lock:
            self._must_be_open()
            connection = self._idle.pop() if self._idle else self._connect()
            self._busy.add(connection)
            return connection

    def _give_back(self, connection: sqlite3.Connection) -> None:
        with self._lock:
            if connection not in self._busy:  # the process forked meanwhile, and this is the fork
                return
            self._busy.remove(connection)
            if not self._closed and len(self._idle) < IDLE_CONNECTIONS:
                self._idle.append(connection)
                return
        connection.close()

    def _must_be_open(self) -> None:
        if self._closed:
            raise Refusal(500, "INTERNAL_ERROR", "this authority is closed")
        if self._inherited:
            raise Refusal(
                500,
                "INTERNAL_ERROR",
                "a ledger in memory belongs to the process that made it, and this one is its fork: "
                "use local:PATH to share one",
            )

    def forget_parent(self) -> None:
        """Begin anew in a fork: no connection and no lock of the parent's is used, nor closed, here."""
        _inherited.extend(self._idle)
        _inherited.extend(self._busy)
        self._lock, self._turn, self._idle, self._busy = threading.Lock(), threading.Lock(), [], set()
        self._inherited = self.path is None

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            ":memory:" if self.path is None else self.path,
            timeout=BUSY_TIMEOUT,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=64,
        )
        if self.path is not None:
            connection.execute("PRAGMA synchronous = NORMAL")
        return connection

    def close(self) -> None:
        """Close the connections; ones in use are closed when they are given back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()


def _refuse_foreign(path: Path) -> None:
    """Raise ConfigError unless *path* is a ledger, or nothing yet. Opened read-only, so that it stays as it is."""
    if path.is_dir():
        raise ConfigError(f"{path}: is a folder; name a file")
    if not path.parent.is_dir():
        raise ConfigError(f"{path}: there is no folder {path.parent}; make it first")
    if not path.exists() or path.stat().st_size == 0:
        return
    try:
        connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=BUSY_TIMEOUT)
    except sqlite3.Error as error:
        raise ConfigError(f"{path}: can't be opened: {error}") from None
    try:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    except sqlite3.DatabaseError as error:
        raise ConfigError(
            f"{path}: is no ledger of cycles ({error}); it was left untouched: name another file"
        ) from None
    finally:
        connection.close()
    if application != APPLICATION_ID:
        raise ConfigError(f"{path}: is a database of something else; it was left untouched: name another file")
    if version > SCHEMA_VERSION:
        raise ConfigError(f"{path}: was written by a later version ({version}, this one knows {SCHEMA_VERSION})")


def _prepare(connection: sqlite3.Connection, path: Path | None) -> None:
    if path is not None:
        connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("BEGIN IMMEDIATE")  # of processes that start at once, one makes the tables
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == 0:
        for statement in _SCHEMA.split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("COMMIT")
