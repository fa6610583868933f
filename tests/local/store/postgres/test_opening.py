"""Opening a ledger in PostgreSQL: its tables, their versions, and what is refused."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from cycles import tokens
from cycles._outside.extras import install
from cycles.errors import ConfigError
from cycles.local import LocalAuthority
from tests.support.authorities import SCOPE, Clock
from tests.support.postgres import shared
from tests.support.wire import Wire

from .databases import name_of

pytest.importorskip("psycopg", reason="`nox -s postgres` has it")
schema = importlib.import_module("cycles.local.store.postgres.schema")


def test_what_is_kept_is_there_when_it_is_opened_again(url):
    with LocalAuthority(url) as authority:
        authority.budget(SCOPE, tokens(10))
    with LocalAuthority(url) as authority:
        assert authority.balance(SCOPE, "TOKENS").remaining == 10


def test_programs_that_start_at_once_make_one_ledger():
    """Of a database in which there is nothing yet: the tables are made once."""
    url = shared().database()
    start = threading.Barrier(6)

    def opened(_: int) -> int:
        start.wait()
        with LocalAuthority(url) as authority:
            return authority.ensure_budget(SCOPE, tokens(10)).allocated

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(opened, range(6))) == [10] * 6
    assert shared().query(name_of(url), "SELECT version FROM cycles_ledger") == [(schema.VERSION,)]


def test_a_later_version_is_refused_and_left_alone(url):
    LocalAuthority(url).close()
    shared().query(name_of(url), "UPDATE cycles_ledger SET version = 99")
    try:
        with pytest.raises(ConfigError, match=r"later version of cycles .its format is 99.*upgrade"):
            LocalAuthority(url)
        assert shared().query(name_of(url), "SELECT version FROM cycles_ledger") == [(99,)]
    finally:
        shared().query(name_of(url), f"UPDATE cycles_ledger SET version = {schema.VERSION}")


def test_an_upgrade_is_one_transaction(url, monkeypatch):
    """A migration that fails leaves the version that was there; a good one is made once."""
    LocalAuthority(url).close()
    known = schema.VERSION
    monkeypatch.setattr(schema, "VERSION", known + 1)
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, "CREATE TABLE cycles_more (n int); SELECT 1/0"))
    with pytest.raises(ConfigError, match="division by zero"):
        LocalAuthority(url)
    assert shared().query(name_of(url), "SELECT version, to_regclass('cycles_more') FROM cycles_ledger") == [
        (known, None)
    ]
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS[:known], "CREATE TABLE cycles_more (n int)"))
    for _ in range(2):
        LocalAuthority(url).close()
    shared().query(name_of(url), "DROP TABLE cycles_more")
    back = f"UPDATE cycles_ledger SET version = {known} RETURNING version"
    assert shared().query(name_of(url), back) == [(known,)]


def test_version_1_goes_on(url):
    """What was held before the upgrade is settled in the period in which it was held."""
    clock = Clock()
    with LocalAuthority(url, clock=clock) as authority:
        authority.budget(SCOPE, tokens(100))
        wire = Wire(authority, clock)
        held = wire.reserve(40, ttl_ms=3_600_000)
    down = "DROP TABLE cycles_past_budgets, cycles_events; ALTER TABLE cycles_holds DROP COLUMN renewals; "
    shared().query(name_of(url), down + "UPDATE cycles_ledger SET version = 1")
    with LocalAuthority(url, clock=clock) as authority:
        authority.budget(SCOPE, tokens(100), period="hour")
        clock.now = authority.balance(SCOPE, "TOKENS").period.ends_ms
        wire = Wire(authority, clock)
        wire.made = 100
        fresh = wire.reserve(100)
        assert authority.check() == []
        assert wire.commit(held, 50).json()["charged"]["amount"] == 50
        wire.release(fresh)
        assert (authority.balance(SCOPE, "TOKENS").remaining, authority.check()) == (100, [])
        with authority.store.reading() as books:
            assert [(row.spent, row.reserved) for row in books.all_past()] == [(50, 0)]
    assert shared().query(name_of(url), "SELECT version FROM cycles_ledger") == [(schema.VERSION,)]


def test_events_of_version_2_are_charged_once_and_listed_from_now_on(url):
    clock = Clock()
    with LocalAuthority(url, clock=clock) as authority:
        authority.budget(SCOPE, tokens(100))
        assert Wire(authority, clock).event(30, key="before").status_code == 201
    shared().query(name_of(url), "DROP TABLE cycles_events; UPDATE cycles_ledger SET version = 2")
    with LocalAuthority(url, clock=clock) as authority:
        wire = Wire(authority, clock)
        for key, amount in (("before", 30), ("after", 7), ("after", 7)):
            assert wire.event(amount, key=key).status_code == 201
        assert [(event.idempotency_key, event.charged) for event in authority.charged_events()] == [("after", 7)]
        assert (authority.balance(SCOPE, "TOKENS").spent, authority.check()) == (37, [])


def test_another_encoding_is_refused():
    name = f"latin_{os.getpid()}"
    shared().query("postgres", f"CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    with pytest.raises(ConfigError, match="its encoding is LATIN1"):
        LocalAuthority(shared().url(name))


def test_without_the_extra_the_remedy_is_named():
    code = "import sys; sys.modules['psycopg'] = None; from cycles.local import LocalAuthority; LocalAuthority('postgresql://h/d')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert install("postgres") in done.stderr
