"""Ledger files of earlier versions: upgraded as a whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing

import httpx
import pytest
from attrs import evolve

from cycles import tokens
from cycles.errors import ConfigError
from cycles.local import LocalAuthority
from cycles.local.ledger.keys import DEFAULT_PERMISSIONS
from cycles.local.store import schema
from cycles.local.store.files import APPLICATION_ID
from tests.support.authorities import SCOPE, Clock
from tests.support.waiting import PATIENCE
from tests.support.wire import Wire

SECRET = "cyc_live_0123456789abcdef0123456789abcdef"
START = 1_800_000_000_000

VERSION_1 = """
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
CREATE INDEX holds_by_end ON holds (deadline_ms) WHERE status != 'ACTIVE';
CREATE INDEX holds_by_creation ON holds (tenant, created_at_ms, reservation_id);
CREATE INDEX holds_by_key ON holds (tenant, idempotency_key);
CREATE TABLE replays (
    scope TEXT NOT NULL, key TEXT NOT NULL, keep_until_ms INTEGER NOT NULL, data TEXT NOT NULL,
    PRIMARY KEY (scope, key)
) WITHOUT ROWID;
CREATE INDEX replays_by_end ON replays (keep_until_ms);
CREATE TABLE keys (
    key_hash TEXT PRIMARY KEY, tenant TEXT NOT NULL, name TEXT NOT NULL, created_at_ms INTEGER NOT NULL,
    revoked_at_ms INTEGER
) WITHOUT ROWID;
"""
"""What version 1 made, word for word."""

HOLD = {
    "reservation_id": "7d3f0c4e-0000-4000-8000-000000000001",
    "tenant": "acme",
    "subject": {"tenant": "acme"},
    "action": {"kind": "k", "name": "n"},
    "unit": "TOKENS",
    "estimate": 400,
    "affected": [SCOPE],
    "budgeted": [SCOPE],
    "idempotency_key": "K",
    "overage_policy": "ALLOW_IF_AVAILABLE",
    "created_at_ms": START,
    "expires_at_ms": START + 60_000,
    "grace_ms": 5_000,
    "max_extensions": 10,
    "metadata": None,
    "status": "ACTIVE",
    "extensions": 0,
    "charged": None,
    "committed_metadata": None,
    "finalized_at_ms": None,
    "final_key": None,
    "final_hash": None,
    "final_body": None,
}
BUDGET = {
    "scope_path": SCOPE,
    "unit": "TOKENS",
    "allocated": 1000,
    "tenant": "acme",
    "remaining": 500,
    "reserved": 400,
    "spent": 100,
    "debt": 0,
    "overdraft_limit": 0,
    "is_over_limit": False,
    "status": "ACTIVE",
    "caps": None,
    "created_at_ms": START,
    "updated_at_ms": START,
}
TENANT = {
    "tenant_id": "acme",
    "name": "",
    "status": "ACTIVE",
    "default_ttl_ms": 30_000,
    "max_ttl_ms": 3_600_000,
    "max_extensions": 10,
    "overage_policy": "ALLOW_IF_AVAILABLE",
    "created_at_ms": START,
}


def hashed(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


@pytest.fixture
def old(tmp_path):
    """A file as version 1 left it: a tenant, a budget, a live reservation, a good key and a revoked one."""
    path = tmp_path / "ledger.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(VERSION_1)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 1")
        connection.execute("INSERT INTO tenants VALUES ('acme', ?)", (json.dumps(TENANT),))
        connection.execute("INSERT INTO budgets VALUES (?, 'TOKENS', 'acme', ?)", (SCOPE, json.dumps(BUDGET)))
        row = (HOLD["reservation_id"], SCOPE, START, START + 60_000, START + 65_000, json.dumps(HOLD))
        connection.execute(
            "INSERT INTO holds VALUES (?, 'acme', 'K', ?, 'TOKENS', 400, 'ACTIVE', ?, ?, ?, NULL, ?)", row
        )
        connection.execute("INSERT INTO keys VALUES (?, 'acme', 'mine', ?, NULL)", (hashed(SECRET), START))
        connection.execute("INSERT INTO keys VALUES (?, 'acme', 'old', ?, ?)", (hashed("gone"), START, START + 5))
    return path


def contents(path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [*connection.iterdump(), str(connection.execute("PRAGMA user_version").fetchone())]


def test_version_1_goes_on_as_version_2(old):
    clock = Clock()
    clock.now = START + 1_000
    with LocalAuthority(old, clock=clock) as authority:
        assert authority.balance(SCOPE, "TOKENS").remaining == 500
        assert [(tenant.tenant_id, tenant.default_ttl_ms) for tenant in authority.tenants()] == [("acme", 30_000)]
        mine, gone = sorted(authority.keys("acme"), key=lambda key: key.name)
        assert (mine.name, mine.permissions, mine.expires_at_ms, mine.revoked_at_ms) == (
            "mine",
            DEFAULT_PERMISSIONS,
            None,
            None,
        )
        assert (gone.name, gone.revoked_at_ms) == ("old", START + 5)
        assert mine.key_id != gone.key_id
        with httpx.Client(transport=authority.transport(), base_url="http://test") as http:
            step = f"/v1/reservations/{HOLD['reservation_id']}/commit"
            body = {"idempotency_key": "c", "actual": {"unit": "TOKENS", "amount": 150}}
            assert http.post(step, json=body, headers={"X-Cycles-API-Key": "gone"}).status_code == 401
            done = http.post(step, json=body, headers={"X-Cycles-API-Key": SECRET})
            assert done.json()["charged"]["amount"] == 150
            authority.revoke_key(mine.key_id)
            refused = http.post(step, json=body, headers={"X-Cycles-API-Key": SECRET})
            assert refused.json()["message"].startswith("KEY_REVOKED")
    with LocalAuthority(old) as again:
        assert again.balance(SCOPE, "TOKENS").spent == 250
        assert [key.key_id for key in again.keys(None)] == sorted([mine.key_id, gone.key_id])


@pytest.fixture
def version_3(tmp_path):
    """A file as version 3 left it, with a live reservation: budgets that begin anew came after it."""
    path = tmp_path / "three.db"
    LocalAuthority(path).close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DROP TABLE past_budgets")
        connection.execute("DROP TABLE events")
        connection.execute("PRAGMA user_version = 3")
        connection.execute("INSERT INTO budgets VALUES (?, 'TOKENS', 'acme', ?)", (SCOPE, json.dumps(BUDGET)))
        row = (HOLD["reservation_id"], SCOPE, START, START + 60_000, START + 65_000, json.dumps(HOLD))
        connection.execute(
            "INSERT INTO holds VALUES (?, 'acme', 'K', ?, 'TOKENS', 400, 'ACTIVE', ?, ?, ?, NULL, ?)", row
        )
    return path


def test_budgets_of_version_3_may_begin_anew(version_3):
    """What was held before the upgrade is settled in the period in which it was held."""
    clock = Clock()
    clock.now = START + 1_000
    with LocalAuthority(version_3, clock=clock) as authority:
        assert authority.balance(SCOPE, "TOKENS").period is None
        authority.budget(SCOPE, tokens(1000), period="hour")
        clock.now = authority.balance(SCOPE, "TOKENS").period.ends_ms
        with authority.store.writing() as books:
            books.put_hold(evolve(books.hold(HOLD["reservation_id"]), expires_at_ms=clock.now + 60_000))
        key = authority.key(tenant="acme")
        with httpx.Client(transport=authority.transport(), base_url="http://test") as http:
            http.headers["X-Cycles-API-Key"] = key
            body = {"idempotency_key": "e", "actual": {"unit": "TOKENS", "amount": 7}}
            event = {**body, "subject": {"tenant": "acme"}, "action": {"kind": "k", "name": "n"}}
            assert http.post("/v1/events", json=event).status_code == 201
            assert authority.check() == []
            assert http.post(f"/v1/reservations/{HOLD['reservation_id']}/commit", json=body).status_code == 200
        assert authority.balance(SCOPE, "TOKENS").spent == 7
        with authority.store.reading() as books:
            assert [(row.spent, row.reserved) for row in books.all_past()] == [(107, 0)]
        assert authority.check() == []
        clock.now += 2 * 86_400_000
        authority.sweep()
        with authority.store.reading() as books:
            assert books.all_past() == []


@pytest.fixture
def version_4(tmp_path):
    """A file as version 4 left it, in which an event was charged: lists of events came after it."""
    path = tmp_path / "four.db"
    with LocalAuthority(path, clock=Clock()) as authority:
        authority.budget(SCOPE, tokens(1000))
        assert Wire(authority, Clock()).event(30, key="before").status_code == 201
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DROP TABLE events")
        connection.execute("PRAGMA user_version = 4")
    return path


def test_events_of_version_4_are_charged_once_and_listed_from_now_on(version_4):
    """What the ledger has not kept, no list can have; what was charged stays charged, and its key stays taken."""
    clock = Clock()
    with LocalAuthority(version_4, clock=clock) as authority:
        wire = Wire(authority, clock)
        assert list(authority.charged_events()) == []
        assert wire.event(30, key="before").status_code == 201
        assert authority.balance(SCOPE, "TOKENS").spent == 30
        assert wire.event(7, key="after").status_code == 201
        assert [(event.idempotency_key, event.charged) for event in authority.charged_events()] == [("after", 7)]
        assert (authority.balance(SCOPE, "TOKENS").spent, authority.check()) == (37, [])


def test_an_upgraded_file_is_what_a_new_one_is(old, version_3, version_4, tmp_path):
    """Table for table and index for index, so that later versions have one thing to start from."""

    def shape(path) -> list[tuple[str, ...]]:
        with closing(sqlite3.connect(path)) as connection:
            sql = "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY name"
            return connection.execute(sql).fetchall()

    for path in (old, version_3, version_4, tmp_path / "new.db"):
        LocalAuthority(path).close()
    assert shape(old) == shape(version_3) == shape(version_4) == shape(tmp_path / "new.db")


DYING = """
import json, os, signal, sqlite3, sys
from cycles.local import LocalAuthority
from cycles.local.store import connections as store
path, last = sys.argv[1], 0
class Connection(store.Connection):
    began, over, done = False, False, 0
    def execute(self, sql, *rest):
        self.began = self.began or sql.startswith("BEGIN IMMEDIATE")
        if self.began and not self.over:
            if self.done == last:
                os.kill(os.getpid(), signal.SIGKILL)
            self.done += 1
        self.over = self.over or sql == "COMMIT"
        return super().execute(sql, *rest)
connect = sqlite3.connect
def dying(*arguments, **options):
    options |= {} if options.get("uri") else {"factory": Connection}
    return connect(*arguments, **options)
store.sqlite3.connect = dying
while True:
    child = os.fork()
    if child == 0:
        LocalAuthority(path).close()
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    reader = connect(path)
    print(json.dumps([status, [*reader.iterdump(), str(reader.execute("PRAGMA user_version").fetchone())]]), flush=True)
    reader.close()
    if status != -signal.SIGKILL:
        break
    last += 1
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills itself in forks")
def test_a_crash_in_an_upgrade_leaves_version_1(old):
    """Killed before each statement of the upgrade, COMMIT included; each time the file is what it was."""
    before = contents(old)
    command = [sys.executable, "-W", "error", "-c", DYING, str(old)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    *killed, last = map(json.loads, done.stdout.splitlines())
    assert len(killed) >= 8, "an upgrade has that many statements"
    for status, left in killed:
        assert (status, left) == (-9, before)
    assert last[0] == 0
    assert last[1][-1] == f"({schema.VERSION},)"
    with LocalAuthority(old) as authority:
        assert len(authority.keys()) == 2


@pytest.mark.parametrize("version", [schema.VERSION + 1, 1_000_000])
def test_a_later_version_is_refused_and_untouched(tmp_path, version):
    path = tmp_path / "ledger.db"
    LocalAuthority(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=rf"later version.*{version}.*untouched"):
        LocalAuthority(path)
    assert path.read_bytes() == before


@pytest.mark.slow
def test_processes_that_open_an_old_file_at_once_upgrade_it_once(old):
    code = "import sys; from cycles.local import LocalAuthority\n"
    code += "sys.stdin.readline()\nwith LocalAuthority(sys.argv[1]) as a: print(sorted(k.key_id for k in a.keys()))"
    pipe = subprocess.PIPE
    workers = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", code, str(old)], stdin=pipe, stdout=pipe, stderr=pipe, text=True
        )
        for _ in range(3)
    ]
    done = [worker.communicate("go\n", timeout=PATIENCE) for worker in workers]
    assert [error for _, error in done if error] == []
    assert len({out for out, _ in done}) == 1
