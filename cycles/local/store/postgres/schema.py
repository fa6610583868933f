"""The tables of a ledger in PostgreSQL, and how those of an earlier version become those of this one.

The table `cycles_ledger` says which version there is. Each migration is one step; all that are missing run in one
transaction together with the new number, under an advisory lock, so of servers that start at once one makes the tables.
A ledger of a later version is refused and left untouched.

Text is compared byte by byte (COLLATE "C"), as SQLite does, so that lists have one order everywhere. Idempotency keys
may have characters that no text of PostgreSQL holds, so they are bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cycles.errors import ConfigError

if TYPE_CHECKING:
    from psycopg import Connection

LOCK: Final = 0x4359434C
"""The first half of the ledger's advisory locks ("CYCL"); the second says which."""

MIGRATION, GATE, SWEEPER = 1, 2, 3
"""Making the tables; writing at all, shared or alone; expiring and deleting."""

_FIRST: Final = """
CREATE TABLE cycles_tenants (
    tenant_id text COLLATE "C" PRIMARY KEY, status text NOT NULL, data text NOT NULL
);
CREATE TABLE cycles_budgets (
    scope_path text COLLATE "C" NOT NULL, unit text COLLATE "C" NOT NULL, tenant text COLLATE "C" NOT NULL,
    status text NOT NULL, allocated bigint NOT NULL CHECK (allocated >= 0), remaining bigint NOT NULL,
    reserved bigint NOT NULL CHECK (reserved >= 0), spent bigint NOT NULL CHECK (spent >= 0),
    debt bigint NOT NULL CHECK (debt >= 0), overdraft_limit bigint NOT NULL CHECK (overdraft_limit >= 0),
    is_over_limit boolean NOT NULL, created_at_ms bigint NOT NULL, updated_at_ms bigint NOT NULL, rest text NOT NULL,
    PRIMARY KEY (scope_path, unit),
    CONSTRAINT adds_up CHECK (remaining::numeric = allocated::numeric - reserved - spent - debt)
) WITH (fillfactor = 50);
CREATE INDEX cycles_budgets_by_tenant ON cycles_budgets (tenant, scope_path, unit);
CREATE TABLE cycles_holds (
    reservation_id text COLLATE "C" PRIMARY KEY, tenant text COLLATE "C" NOT NULL, idempotency_key bytea NOT NULL,
    scope_path text COLLATE "C" NOT NULL, unit text COLLATE "C" NOT NULL, budgeted text[] COLLATE "C" NOT NULL,
    estimate bigint NOT NULL CHECK (estimate >= 0), status text COLLATE "C" NOT NULL, created_at_ms bigint NOT NULL,
    expires_at_ms bigint NOT NULL, deadline_ms bigint NOT NULL, finalized_at_ms bigint, charged bigint,
    number bigint GENERATED ALWAYS AS IDENTITY, data text NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX cycles_holds_by_deadline ON cycles_holds (deadline_ms) WHERE status = 'ACTIVE';
CREATE INDEX cycles_holds_by_end ON cycles_holds (deadline_ms) WHERE status <> 'ACTIVE';
CREATE INDEX cycles_holds_by_creation ON cycles_holds (tenant, created_at_ms, reservation_id);
CREATE INDEX cycles_holds_by_key ON cycles_holds (tenant, idempotency_key);
CREATE TABLE cycles_replays (
    scope text COLLATE "C" NOT NULL, key bytea NOT NULL, keep_until_ms bigint NOT NULL, data text NOT NULL,
    PRIMARY KEY (scope, key)
);
CREATE INDEX cycles_replays_by_end ON cycles_replays (keep_until_ms);
CREATE TABLE cycles_keys (
    key_hash text COLLATE "C" PRIMARY KEY, key_id text COLLATE "C" NOT NULL UNIQUE, tenant text COLLATE "C" NOT NULL,
    created_at_ms bigint NOT NULL, expires_at_ms bigint, revoked_at_ms bigint, data text NOT NULL
);
CREATE INDEX cycles_keys_by_tenant ON cycles_keys (tenant, created_at_ms, key_id);
CREATE TABLE cycles_terms (
    scope_path text COLLATE "C" NOT NULL, unit text COLLATE "C" NOT NULL, data text NOT NULL,
    PRIMARY KEY (scope_path, unit)
);
CREATE TABLE cycles_evidence (
    evidence_id text COLLATE "C" PRIMARY KEY, source bytea NOT NULL, digest text NOT NULL,
    reservation_id text COLLATE "C", artifact text NOT NULL, keep_until_ms bigint NOT NULL, data text NOT NULL
);
CREATE INDEX cycles_evidence_by_source ON cycles_evidence (source);
CREATE INDEX cycles_evidence_by_reservation ON cycles_evidence (reservation_id) WHERE reservation_id IS NOT NULL;
CREATE INDEX cycles_evidence_by_end ON cycles_evidence (keep_until_ms);
"""

_SECOND: Final = """
CREATE TABLE cycles_past_budgets (
    scope_path text COLLATE "C" NOT NULL, unit text COLLATE "C" NOT NULL, renewals bigint NOT NULL,
    reserved bigint NOT NULL, ended_ms bigint NOT NULL, data text NOT NULL, PRIMARY KEY (scope_path, unit, renewals)
);
CREATE INDEX cycles_past_budgets_by_end ON cycles_past_budgets (ended_ms) WHERE reserved = 0;
ALTER TABLE cycles_holds ADD COLUMN renewals bigint[];
"""
"""Budgets may begin anew."""

_THIRD: Final = """
CREATE TABLE cycles_events (
    event_id text COLLATE "C" PRIMARY KEY, tenant text COLLATE "C" NOT NULL, idempotency_key bytea NOT NULL,
    scope_path text COLLATE "C" NOT NULL, unit text COLLATE "C" NOT NULL, charged bigint NOT NULL CHECK (charged >= 0),
    created_at_ms bigint NOT NULL, data text NOT NULL
);
CREATE INDEX cycles_events_by_tenant ON cycles_events (tenant, created_at_ms, event_id);
CREATE INDEX cycles_events_by_creation ON cycles_events (created_at_ms, event_id);
"""
"""Events can be listed."""

MIGRATIONS: Final = (_FIRST, _SECOND, _THIRD)
"""Each makes one version of the one before it; the first one makes version 1 of nothing."""

VERSION: Final = len(MIGRATIONS)


def bring_up_to_date(connection: Connection[Any], name: str) -> None:
    """Make the tables, or what they lack.

    Args:
        connection: In autocommit mode.
        name: The database, as messages call it.

    Raises:
        ConfigError: when this version can't use what is there; nothing was changed.
    """
    (encoding,) = _row(connection, "SHOW server_encoding")
    if encoding != "UTF8":
        raise ConfigError(
            f"{name}: its encoding is {encoding}; make a database with ENCODING 'UTF8' TEMPLATE template0"
        )
    if _version(connection) == VERSION:
        return
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s, %s)", (LOCK, MIGRATION))
        connection.execute(
            "CREATE TABLE IF NOT EXISTS cycles_ledger (version integer NOT NULL, one boolean PRIMARY KEY CHECK (one))"
        )
        version = _version(connection) or 0
        if version > VERSION:
            raise ConfigError(
                f"{name}: was written by a later version of cycles (its format is {version}, this one knows up to "
                f"{VERSION}); it was left untouched: upgrade cycles-guard, or name another database"
            )
        for step in MIGRATIONS[version:]:
            connection.execute(step.encode())  # of this module; bytes, for a query is else a literal
        connection.execute(
            "INSERT INTO cycles_ledger VALUES (%s, true) ON CONFLICT (one) DO UPDATE SET version = excluded.version",
            (VERSION,),
        )


def _version(connection: Connection[Any]) -> int | None:
    """Return the version of the tables; None when there are none."""
    (is_there,) = _row(connection, "SELECT to_regclass('cycles_ledger') IS NOT NULL")
    if not is_there:
        return None
    found = connection.execute("SELECT version FROM cycles_ledger").fetchone()
    return None if found is None else int(found[0])


def _row(connection: Connection[Any], statement: Any) -> tuple[Any, ...]:
    row: tuple[Any, ...] | None = connection.execute(statement).fetchone()
    assert row is not None  # noqa: S101 - types: these always give one
    return row
