"""Connections to a ledger in PostgreSQL: what breaks them, who else has them, and the password that makes them."""

from __future__ import annotations

import importlib
import logging
import os
import signal
from contextlib import contextmanager

import pytest

import cycles
from cycles import tokens
from cycles.errors import ConfigError, InvalidRequest
from cycles.local import LocalAuthority
from tests.support.authorities import SCOPE, Clock
from tests.support.postgres import PASSWORD, running, shared
from tests.support.waiting import PATIENCE, until
from tests.support.wire import Wire, failed

from .databases import name_of
from .servers import CUT

pytest.importorskip("psycopg", reason="`nox -s postgres` has it")
connections, engine = (
    importlib.import_module(f"cycles.local.store.postgres.{name}") for name in ("connections", "store")
)

HEALTH = "/actuator/health"


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


# -- what breaks them -------------------------------------------------------------------------------------------------
def test_connections_that_were_cut_are_replaced(wire, authority, url):
    assert wire.reserve(5).status_code == 200
    shared().query(name_of(url), CUT)
    assert wire.reserve(5).status_code == 200
    assert authority.balance(SCOPE, "TOKENS").reserved == 10


def test_no_database_is_a_clean_503_and_its_return_is_noticed(monkeypatch):
    assert connections.RECONNECT_WITHIN <= connections.CONNECT_WITHIN, "nobody waits for an attempt that is far off"
    monkeypatch.setattr(connections, "CONNECT_WITHIN", 0.2)
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
        pool = authority.store._connections.pool()
        until(lambda: pool.get_stats()["pool_size"] == 0)  # it has given up
        server.start()
        monkeypatch.setattr(pool, "timeout", PATIENCE)
        answer = wire.reserve(1)  # asks the database itself, however long it was away
        assert answer.status_code == 200
        assert authority.balance(SCOPE, "TOKENS").reserved == 2


# -- whose they are ----------------------------------------------------------------------------------------------------
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
