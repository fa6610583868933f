"""Damaged ledger files: refused when they are opened, and left as they are."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from attrs import evolve

from cycles import tokens
from cycles.errors import ConfigError
from cycles.local import LocalAuthority
from cycles.local.store import integrity
from tests.support.authorities import SCOPE, Clock
from tests.support.sqlite_steps import counted_steps
from tests.support.wire import Wire

PAGE = 4096


@pytest.fixture
def ledger(tmp_path):
    """A file in which every table takes several pages."""
    path = tmp_path / "ledger.db"
    clock = Clock()
    with LocalAuthority(path, clock=clock) as authority:
        for number in range(60):
            authority.tenant(f"tenant-{number}")
            authority.budget(f"tenant:tenant-{number}", tokens(number))
            authority.key(tenant=f"tenant-{number}")
        authority.budget(SCOPE, tokens(1000))
        wire = Wire(authority, clock)
        for _ in range(40):
            wire.reserve(1)
    return path


def pages_of(path, name: str) -> list[int]:
    """The leaf pages of a table, at most; the root of each tells SQLite where they are."""
    with closing(sqlite3.connect(path)) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (name,)).fetchone()
    data = path.read_bytes()
    page = data[(root - 1) * PAGE : root * PAGE]
    assert page[0] in (2, 5), "an inner page, so there are leaves"
    cells = int.from_bytes(page[3:5], "big")
    found = [int.from_bytes(page[8:12], "big")]
    for cell in range(cells):
        at = int.from_bytes(page[12 + 2 * cell : 14 + 2 * cell], "big")
        found.append(int.from_bytes(page[at : at + 4], "big"))
    return found


def overwritten(path, page: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek((page - 1) * PAGE)
        file.write(content)


def refused(path, *says: str) -> None:
    before = {file.name: file.read_bytes() for file in path.parent.iterdir() if not file.name.endswith("-shm")}
    with pytest.raises(ConfigError, match="left untouched") as caught:
        LocalAuthority(path)
    for text in (str(path), *says):
        assert text in str(caught.value)
    for name, content in before.items():
        assert (path.parent / name).read_bytes() == content, name


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"\0" * PAGE, b"\xff" * PAGE, b"dear diary, " * 100])
@pytest.mark.parametrize("table", ["tenants", "budgets", "keys", "holds", "replays"])
def test_a_damaged_page_of_a_small_file(ledger, table, content):
    overwritten(ledger, pages_of(ledger, table)[1], content)
    refused(ledger, "can't be used")


@pytest.mark.parametrize("table", ["tenants", "budgets", "keys"])
def test_a_damaged_page_of_a_large_file(ledger, monkeypatch, table):
    """What an operator made is always looked through: money is there, and it stays small."""
    monkeypatch.setattr(integrity, "SMALL", 0)
    LocalAuthority(ledger).close()
    overwritten(ledger, pages_of(ledger, table)[1], b"\0" * PAGE)
    refused(ledger, "can't be used")


@pytest.mark.parametrize("table", ["tenants", "budgets", "keys"])
def test_damage_that_reading_does_not_stumble_over(ledger, monkeypatch, table):
    """The page says that more of its bytes are unused than are: every row reads well, and the next write may not."""
    monkeypatch.setattr(integrity, "SMALL", 0)
    page = pages_of(ledger, table)[1]
    at = (page - 1) * PAGE
    overwritten(ledger, page, ledger.read_bytes()[at : at + 7] + b"\x31")
    refused(ledger, "ragmentation")


@pytest.mark.parametrize("table", ["holds", "replays"])
def test_an_old_page_of_a_large_file_is_found_by_the_thorough_check(ledger, monkeypatch, table):
    monkeypatch.setattr(integrity, "SMALL", 0)
    with LocalAuthority(ledger) as authority:
        assert authority.check() == []
    pages = pages_of(ledger, table)
    assert len(pages) > 2
    overwritten(ledger, pages[len(pages) // 2], b"\0" * PAGE)
    with LocalAuthority(ledger) as authority:
        (problem,) = authority.check()
    assert "page" in problem or "malformed" in problem
    assert "\n" not in problem.strip()


@pytest.mark.parametrize("keep", [100, PAGE, 3 * PAGE, -PAGE])
def test_a_file_that_was_cut_off(ledger, monkeypatch, keep):
    monkeypatch.setattr(integrity, "SMALL", 0)
    data = ledger.read_bytes()
    ledger.write_bytes(data[:keep])
    refused(ledger)


def test_a_damaged_file_beside_a_log_that_was_not_taken_over(ledger):
    """A killed process leaves its last transactions in the -wal file; refusing must not write them into the file."""
    with LocalAuthority(ledger) as authority:
        authority.budget(SCOPE, tokens(7))
        log = ledger.with_name("ledger.db-wal").read_bytes()
        data = ledger.read_bytes()
    page = pages_of(ledger, "keys")[1]
    ledger.write_bytes(data)
    ledger.with_name("ledger.db-wal").write_bytes(log)
    overwritten(ledger, page, b"\0" * PAGE)
    refused(ledger, "can't be used")


def test_a_table_that_is_gone(ledger):
    with closing(sqlite3.connect(ledger)) as connection:
        connection.execute("DROP TABLE holds")
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    refused(ledger, "no table holds")


def test_figures_that_do_not_add_up(ledger):
    """Whole pages, wrong money: only the thorough check looks at that."""
    with LocalAuthority(ledger, clock=Clock()) as authority:
        assert authority.check() == []
        row = authority.balance(SCOPE, "TOKENS")
        with authority.store.writing() as books:
            books.put_budget(evolve(row, reserved=row.reserved - 1, remaining=row.remaining + 1))
        assert authority.check() == [f"{SCOPE} in TOKENS has 39 tokens reserved, and its reservations hold 40 tokens"]
        with authority.store.writing() as books:
            books.put_budget(evolve(row, remaining=row.remaining + 1))
        assert authority.check() == [f"the figures of {SCOPE} in TOKENS do not add up"]


@pytest.mark.slow
def test_opening_a_large_file_does_not_take_longer(ledger, monkeypatch):
    """With 20,000 reservations (17 MB) opening takes about as many steps of SQLite's machine as it does with 40."""

    steps = counted_steps(monkeypatch)

    def cost() -> int:
        before = steps()
        LocalAuthority(ledger).close()
        return steps() - before

    monkeypatch.setattr(integrity, "SMALL", 0)
    before = cost()
    with closing(sqlite3.connect(ledger)) as connection:
        connection.execute(
            "INSERT INTO holds SELECT reservation_id || '-' || value, tenant, idempotency_key, scope_path, unit, "
            "estimate, status, created_at_ms, expires_at_ms, deadline_ms, finalized_at_ms, data FROM "
            "(SELECT * FROM holds LIMIT 1), "
            "(WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n LIMIT 20000) SELECT * FROM n)"
        )
        connection.commit()
    assert ledger.stat().st_size > 15_000_000
    assert cost() < 2 * before
