"""What a ledger in PostgreSQL does that one in a file need not: open, refuse, retry, lock, and keep its password."""

from __future__ import annotations

import importlib
import logging
import os
import re
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest

import cycles
from cycles import tokens
from cycles._outside.extras import install
from cycles.errors import ConfigError, InvalidRequest
from cycles.local import LocalAuthority
from tests.support.authorities import SCOPE, Clock
from tests.support.postgres import PASSWORD, dumped, proxied, running, shared
from tests.support.wire import Wire, failed

from .servers import CUT

psycopg = pytest.importorskip("psycopg", reason="`nox -s postgres` has it")
planned, schema, engine = (
    importlib.import_module(f"cycles.local.store.postgres.{name}") for name in ("planned", "schema", "store")
)


@pytest.fixture
def authority(url):
    with LocalAuthority(url, history=1000) as made:
        made.budget(SCOPE, tokens(1000))
        yield made


@pytest.fixture
def wire(authority):
    made = Wire(authority, Clock())
    with made.http:
        yield made


def reserved(wire: Wire):
    wire.last = wire.reserve(2)
    return wire.last


REQUESTS = (
    reserved,
    lambda wire: wire.extend(wire.last, 1),
    lambda wire: wire.commit(wire.last, 1),
    lambda wire: wire.event(1),
    lambda wire: wire.decide(1),
    reserved,
    lambda wire: wire.release(wire.last),
)
HEALTH = "/actuator/health"
WAITING = (
    "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' "
    "AND backend_type = 'client backend'"
)


def name_of(url: str) -> str:
    return url.partition("?")[0].rpartition("/")[2]


def used_long_ago(wire: Wire, url: str, key: str) -> None:
    """Apply an event under *key*, which the authority need not remember any more."""
    assert wire.event(1, key=key).status_code == 201
    shared().query(name_of(url), "UPDATE cycles_replays SET keep_until_ms = 1 RETURNING 1")


def begun(url: str) -> psycopg.Connection:
    """A connection beside the authority, in a transaction."""
    return psycopg.connect(url)


# -- opening -----------------------------------------------------------------------------------------------------------
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
    down = "DROP TABLE cycles_past_budgets; ALTER TABLE cycles_holds DROP COLUMN renewals; "
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


def test_another_encoding_is_refused():
    name = f"latin_{os.getpid()}"
    shared().query("postgres", f"CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    with pytest.raises(ConfigError, match="its encoding is LATIN1"):
        LocalAuthority(shared().url(name))


# -- the password ------------------------------------------------------------------------------------------------------
@contextmanager
def listening(caplog):
    caplog.set_level(logging.DEBUG)
    yield
    assert PASSWORD not in caplog.text


def chained(error: BaseException | None) -> str:
    """What an error and all that it came from say and hold."""
    found = ""
    while error is not None:
        found += f"{error} {error!r} {vars(error)} {error.args}"
        error = error.__cause__ or error.__context__
    return found


@pytest.mark.parametrize("wrong", ["password", "host", "escape"])
def test_the_password_is_in_no_error(url, caplog, wrong):
    secret = "s3cr3t%zz" if wrong == "escape" else "s3cr3t"
    where = "/nowhere" if wrong == "host" else str(shared().directory)
    with listening(caplog), pytest.raises(ConfigError, match="postgresql://cycles@") as caught:
        LocalAuthority(f"postgresql://cycles:{secret}@/{name_of(url)}?host={where}")
    assert "s3cr3t" not in chained(caught.value)
    assert "s3cr3t" not in caplog.text


def test_the_password_is_shown_nowhere(url, caplog, tmp_path):
    config = cycles.Config(f"local:{url}&tokens=100", journal_dir=str(tmp_path))
    with listening(caplog), cycles.Client(config) as client:
        client.reserve(tokens(5), action=("k", "n")).commit(tokens(3))
        shown = [repr(client), repr(config), repr(client.config)]
    with listening(caplog), LocalAuthority(url) as authority:
        shown += [repr(authority), repr(authority.store), repr(authority.app), repr(authority.transport())]
        with authority.client(tenant="default") as client:
            shown += [repr(client), repr(client.config), client.config.base_url]
        with pytest.raises(ConfigError) as caught:
            authority.backup("copy.db")
        shown.append(chained(caught.value))
    for file in tmp_path.rglob("*.json"):
        shown.append(file.read_text())
    for text in shown:
        assert "a%20pass" not in text
        assert PASSWORD not in text


def test_a_local_url_names_the_database_and_its_budgets(url):
    with cycles.Client(cycles.Config(f"local:{url}&usd=1.00", journal_enabled=False)) as client:
        assert [row.scope_path for row in client.balances(tenant="default")] == ["tenant:default"]
    with LocalAuthority(url) as authority:
        assert authority.balance("tenant:default", "USD_MICROCENTS").allocated == 100_000_000


# -- transactions ------------------------------------------------------------------------------------------------------
def test_a_reserve_takes_three_round_trips(url):
    """One for the key, one to lock and read, one to write; also of a commit, an extend, an event and a decide."""
    with proxied(shared()) as proxy, LocalAuthority(proxy.url(url)) as authority:
        authority.budget(SCOPE, tokens(1000))
        wire = Wire(authority, Clock())
        wire.last = wire.reserve(9)
        for work in REQUESTS:
            work(wire)  # now all is prepared
        for work in REQUESTS:
            before = proxy.turns
            answer = work(wire)
            assert answer.is_success
            assert proxy.turns - before == 3


def test_many_threads_spend_no_more_than_there_is(url):
    """On two authorities, as of two servers, and on scopes that overlap: no deadlock, and the budget is the limit."""
    with LocalAuthority(url) as one, LocalAuthority(url) as other:
        one.budget(SCOPE, tokens(100))
        for agent in "abc":
            one.budget(f"{SCOPE}/agent:{agent}", tokens(60))
        secret = one.key(tenant="acme")

        def spend(number: int) -> int:
            headers = {"X-Cycles-API-Key": secret}
            granted = 0
            with (one, other)[number % 2].http_client(headers=headers) as http:
                for turn in range(20):
                    ask = {
                        "idempotency_key": f"{number}-{turn}",
                        "subject": {"tenant": "acme", "agent": "abc"[(number + turn) % 3]},
                        "action": {"kind": "k", "name": "n"},
                        "estimate": {"unit": "TOKENS", "amount": 1},
                    }
                    answer = http.post("/v1/reservations", json=ask)
                    assert answer.status_code in (200, 409), answer.text
                    granted += answer.status_code == 200
            return granted

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(spend, range(8))) == 100
        row = one.balance(SCOPE, "TOKENS")
        assert (row.remaining, row.reserved) == (0, 100)
        assert one.check() == []
    assert shared().query(
        name_of(url), "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    ) == [(0,)]


def test_one_key_at_once_is_one_reservation(wire, authority):
    start = threading.Barrier(6)

    def reserved(_: int) -> str:
        start.wait()
        return wire.reserve(7, key="the same").json()["reservation_id"]

    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(reserved, range(6)))) == 1
    assert authority.balance(SCOPE, "TOKENS").reserved == 7


def test_a_transaction_that_the_database_undid_begins_again(wire, authority, monkeypatch):
    """An answer that is lost at the commit is found again under its key: charged once."""
    flush, times = planned.PlannedBooks.flush, []

    def lost(books):
        times.append(1)
        flush(books)
        if len(times) == 1:
            raise psycopg.OperationalError("the answer to the commit was lost")

    monkeypatch.setattr(planned.PlannedBooks, "flush", lost)
    assert wire.event(30).status_code == 201
    assert len(times) == 2
    assert authority.balance(SCOPE, "TOKENS").spent == 30


def test_two_with_a_key_whose_time_is_over_are_one(wire, authority, url, monkeypatch):
    """The second waits for the first's budget, and has read before that whose key it was."""
    used_long_ago(wire, url, "e")
    flush, second = planned.PlannedBooks.flush, []

    def after_another_came(books):
        if not second:
            second.append(pool.submit(wire.event, 1, key="e"))
            while not shared().query(name_of(url), WAITING):
                assert not second[0].done()
        flush(books)

    monkeypatch.setattr(planned.PlannedBooks, "flush", after_another_came)
    with ThreadPoolExecutor(1) as pool:
        first = wire.event(1, key="e")
        assert second[0].result().json()["event_id"] == first.json()["event_id"]
    assert authority.balance(SCOPE, "TOKENS").spent == 2


def test_a_key_is_kept_whose_former_use_is_purged_meanwhile(wire, authority, url, monkeypatch):
    used_long_ago(wire, url, "e")
    flush, purged = planned.PlannedBooks.flush, []

    def after_a_purge(books):
        if not purged:
            purged.append(True)
            shared().query(name_of(url), "DELETE FROM cycles_replays RETURNING 1")
        flush(books)

    monkeypatch.setattr(planned.PlannedBooks, "flush", after_a_purge)
    first, again = wire.event(1, key="e"), wire.event(1, key="e")
    assert first.json()["event_id"] == again.json()["event_id"]
    assert authority.balance(SCOPE, "TOKENS").spent == 2


def test_what_has_no_key_is_not_done_again_when_the_answer_to_its_commit_was_lost(url, monkeypatch):
    """An operator's credit: nobody knows whether it was done, so nobody but the operator may do it again."""
    execute, alone, lost = engine.PreparingConnection.execute, [], []

    def losing(connection, query, *rest, **options):
        result = execute(connection, query, *rest, **options)
        if "pg_advisory_xact_lock" in str(query):  # it writes, alone
            alone.append(connection)
        elif query == "COMMIT" and connection in alone and armed and not lost:
            lost.append(True)
            connection.close()
            raise psycopg.OperationalError("the answer to the commit was lost")
        return result

    armed: list[bool] = []
    monkeypatch.setattr(engine.PreparingConnection, "execute", losing)
    with LocalAuthority(url, admin_key="the-administrator") as authority:
        authority.budget(SCOPE, tokens(1000))
        armed.append(True)
        with httpx.Client(transport=authority.transport(), base_url="http://test") as http:
            answer = http.post(
                f"/v1/admin/budgets/fund?tenant_id=acme&scope={SCOPE}&unit=TOKENS",
                json={"operation": "CREDIT", "amount": {"unit": "TOKENS", "amount": 10}},
                headers={"X-Admin-API-Key": "the-administrator"},
            )
        assert (answer.status_code, lost) == (500, [True]), answer.text
        assert "may have been done" in answer.json()["message"]
        assert authority.balance(SCOPE, "TOKENS").allocated == 1010


def test_what_touches_more_than_it_said_runs_alone(wire, authority, monkeypatch):
    monkeypatch.setattr("cycles.local.ledger.touched.scopes_of", lambda subject: ())
    assert wire.reserve(5).status_code == 200
    assert authority.balance(SCOPE, "TOKENS").reserved == 5


def test_a_lock_that_is_not_to_be_had_is_a_503(wire, authority, url, monkeypatch):
    monkeypatch.setattr(engine, "TRY_WITHIN", 0.0)
    with begun(url) as beside:
        beside.execute("SELECT 1 FROM cycles_budgets FOR UPDATE")
        shared_ = authority.store._connections()
        with shared_.connection() as one:
            one.execute("SET lock_timeout = 50")
        assert failed(wire.reserve(5), 503, "INTERNAL_ERROR")
    assert wire.reserve(5).status_code == 200


def test_connections_that_were_cut_are_replaced(wire, authority, url):
    assert wire.reserve(5).status_code == 200
    shared().query(name_of(url), CUT)
    assert wire.reserve(5).status_code == 200
    assert authority.balance(SCOPE, "TOKENS").reserved == 10


def test_no_database_is_a_clean_503_and_its_return_is_noticed(monkeypatch):
    monkeypatch.setattr(engine, "CONNECT_WITHIN", 0.2)
    monkeypatch.setattr(engine, "TRY_WITHIN", 0.1)
    with running() as server, LocalAuthority(server.database()) as authority:
        authority.budget(SCOPE, tokens(1000))
        wire = Wire(authority, Clock())
        assert wire.reserve(1).status_code == wire.http.get(HEALTH).status_code == 200
        server.stop(signal.SIGQUIT)
        assert wire.http.get(HEALTH).status_code == 503
        assert failed(wire.reserve(1), 503, "INTERNAL_ERROR")
        assert "ask again" in wire.reserve(1).json()["message"]
        with pytest.raises(ConfigError, match="does not answer"):
            authority.balances()
        server.start()
        answer = wire.reserve(1)
        while answer.status_code == 503:  # the pool looks for the database at growing intervals
            answer = wire.reserve(1)
        assert answer.status_code == 200
        assert authority.balance(SCOPE, "TOKENS").reserved == 2


# -- the sweep ---------------------------------------------------------------------------------------------------------
def test_one_server_sweeps_at_a_time(authority, url):
    clock = Clock()
    with LocalAuthority(url, clock=clock) as other:
        wire = Wire(other, clock)
        assert wire.reserve(5).status_code == 200
        clock.now += 3_600_000
        with begun(url) as beside:
            beside.execute("SELECT pg_advisory_xact_lock(%s, %s)", (schema.LOCK, schema.SWEEPER))
            assert other.sweep() == 0
        assert other.sweep() == 1
        assert other.balance(SCOPE, "TOKENS").reserved == 0


def test_a_purge_leaves_what_can_still_be_asked_for(url):
    clock = Clock()
    with LocalAuthority(url, clock=clock) as authority:
        authority.budget(SCOPE, tokens(1000))
        wire = Wire(authority, clock)
        held = wire.reserve(5, key="r")
        wire.commit(held, 5)
        wire.event(1, key="e")
        clock.now += 2 * 86_400_000
        authority.sweep()
        assert len(authority.reservations()) == 1
        assert [row.partition(",")[0] for row in dumped(authority) if row.startswith("cycles_replays")] == [
            "cycles_replays (event:acme"
        ]
        clock.now += 31 * 86_400_000
        authority.sweep()
        assert authority.reservations() == []


def test_time_is_the_databases(authority, url, wire, monkeypatch):
    """A machine whose clock is wrong by an hour reserves, and expires, by the clock that all have."""
    monkeypatch.setattr("time.time_ns", lambda: 0)
    monkeypatch.setattr("cycles.local.wire.clock.wall_clock", lambda: 0)
    made = wire.reserve(5).json()
    ((now,),) = shared().query(name_of(url), "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint")
    assert 0 <= now - (made["expires_at_ms"] - 60_000) < 60_000


# -- checks ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE cycles_budgets SET remaining = remaining + 1", "figures of tenant:acme in TOKENS do not add up"),
        ("UPDATE cycles_budgets SET reserved = 7, remaining = remaining - 2", "has 7 tokens reserved.*hold 5"),
        ("UPDATE cycles_holds SET status = 'LOST'", "has a state that there is not"),
        ("UPDATE cycles_holds SET tenant = 'other'", "two values of tenant: 'acme' and 'other'"),
        ("UPDATE cycles_holds SET data = '{}'", "a row of a reservation can't be read"),
    ],
)
def test_a_check_finds_what_somebody_changed(wire, authority, url, change, said):
    wire.reserve(5)
    assert authority.check() == []
    with psycopg.connect(url) as beside:
        beside.execute("ALTER TABLE cycles_budgets DROP CONSTRAINT adds_up")
        beside.execute(change)
        beside.commit()
    try:
        assert any(re.search(said, problem) for problem in authority.check()), authority.check()
    finally:
        shared().query(name_of(url), "TRUNCATE cycles_budgets, cycles_holds")
        shared().query(
            name_of(url),
            "ALTER TABLE cycles_budgets ADD CONSTRAINT adds_up "
            "CHECK (remaining::numeric = allocated::numeric - reserved - spent - debt)",
        )


def test_the_database_refuses_a_budget_that_does_not_add_up(authority, url):
    with pytest.raises(psycopg.errors.CheckViolation, match="adds_up"):
        shared().query(name_of(url), "UPDATE cycles_budgets SET remaining = remaining + 1")


# -- processes ---------------------------------------------------------------------------------------------------------
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_has_connections_of_its_own(wire, authority):
    assert wire.reserve(1).status_code == 200
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if wire.reserve(1, key="of the child").status_code == 200 else 2
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert wire.reserve(1).status_code == 200
    assert authority.balance(SCOPE, "TOKENS").reserved == 3


def test_a_closed_authority_says_so(wire, authority):
    authority.close()
    assert failed(wire.reserve(1), 500, "INTERNAL_ERROR")
    with pytest.raises(InvalidRequest, match="closed"):
        authority.balances()


def test_a_finalizer_in_the_middle_of_a_transaction_is_refused(wire, authority):
    with authority.store.writing():
        assert failed(wire.reserve(1), 500, "INTERNAL_ERROR")
    assert wire.reserve(1).status_code == 200


def test_without_the_extra_the_remedy_is_named():
    code = "import sys; sys.modules['psycopg'] = None; from cycles.local import LocalAuthority; LocalAuthority('postgresql://h/d')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert install("postgres") in done.stderr
