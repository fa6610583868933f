"""Ledger files that go away, are copied, belong to others, or were changed by somebody else."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
from contextlib import closing
from pathlib import Path

import pytest

from cycles import tokens
from cycles.errors import ConfigError, InvalidRequest
from cycles.local import LocalAuthority
from cycles.local.store import places
from cycles.local.store import sqlite as store
from tests.support.authorities import SCOPE, Clock
from tests.support.wire import Wire, failed

posix = pytest.mark.skipif(os.name != "posix", reason="of POSIX file systems")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.db"


@pytest.fixture
def opened(path):
    """A ledger in use, of which 30 tokens are spent."""
    with LocalAuthority(path) as authority:
        authority.budget(SCOPE, tokens(100))
        wire = Wire(authority, Clock())
        assert wire.event(30).status_code == 201
        yield wire


def beside(path: Path) -> list[Path]:
    return [path.with_name(path.name + suffix) for suffix in ("", "-wal", "-shm")]


def spent(path: Path) -> int:
    with LocalAuthority(path) as authority:
        return authority.balance(SCOPE, "TOKENS").spent


# -- rights ------------------------------------------------------------------------------------------------------------
@posix
def test_what_we_make_is_nobody_elses_to_read(opened, path):
    opened.authority.backup(path.with_name("copy.db"))
    for file in (*beside(path), path.with_name("copy.db")):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


@posix
def test_the_mode_of_a_file_that_is_there_is_the_owners_choice(path):
    path.touch()
    path.chmod(0o640)
    with LocalAuthority(path) as authority:
        authority.budget(SCOPE, tokens(1))
        assert {stat.S_IMODE(file.stat().st_mode) for file in beside(path)} == {0o640}


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


@posix
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can be another user")
def test_another_users_files_are_explained():
    with tempfile.TemporaryDirectory() as name:  # pytest's own are root's alone
        folder = Path(name)
        folder.chmod(0o755)
        for sub, mode in (("shut", 0o700), ("open", 0o777)):
            (folder / sub).mkdir()
            (folder / sub).chmod(mode)
        for file, mode in (("a.db", 0o600), ("b.db", 0o644), ("c.db", 0o666)):
            LocalAuthority(folder / file).close()
            (folder / file).chmod(mode)
        with LocalAuthority(folder / "open" / "used.db"):
            (folder / "open" / "used.db").chmod(0o666)
            cases = {
                "a.db": "user 54321 may not read it (it belongs to user 0, mode 0600)",
                "b.db": "user 54321 may not write it (it belongs to user 0, mode 0644)",
                "c.db": f"user 54321 may not make files in {folder} (it belongs to user 0, mode 0755)",
                "new.db": f"user 54321 may not make files in {folder}",
                "shut/new.db": "user 54321 may not search the folders",
                "shut/sub/new.db": "user 54321 may not search the folders",
                "open/used.db": "used.db-wal: user 54321 may not read it",
                "open/new.db": "works",
            }
            told = as_another_user([str(folder / file) for file in cases])
        for said, (file, says) in zip(told, cases.items(), strict=True):
            assert says in said, file
            assert "restore" not in said


@posix
def test_a_read_only_file_system_is_named(path, monkeypatch):
    """Seen from the system calls: nobody mounts anything in a test."""
    LocalAuthority(path).close()
    monkeypatch.setattr(places, "_may", lambda _, mode: not mode & os.W_OK)
    monkeypatch.setattr(places, "_is_read_only", lambda _: True)
    for file in (path, path.with_name("new.db")):
        with pytest.raises(ConfigError, match="read-only file system"):
            LocalAuthority(file)


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe")
    return folder / "pipe"


def listening(folder: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(folder / "s"))
    return folder / "s"


def circle(folder: Path) -> Path:
    (folder / "a").symlink_to(folder / "b")
    (folder / "b").symlink_to(folder / "a")
    return folder / "a"


def in_a_file(folder: Path) -> Path:
    (folder / "file").touch()
    return folder / "file" / "ledger.db"


@posix
@pytest.mark.parametrize(
    ("make", "says"),
    [
        (pipe, "is a pipe"),
        (listening, "is a socket"),
        (lambda _: Path("/dev/null"), "is a device"),
        (lambda folder: folder, "is a folder"),
        (circle, "can't be used"),
        (in_a_file, "can't be used"),
        (lambda folder: folder / "no" / "ledger.db", "there is no folder"),
        (lambda folder: folder / ("x" * 300), "can't be used"),
        (lambda folder: f"{folder}/a\0b", "NUL"),
        (lambda folder: f"{folder}/a\udc80b", "not UTF-8"),
    ],
)
def test_what_can_be_no_ledger(tmp_path, make, says):
    name = make(tmp_path)
    for attempt in (LocalAuthority, lambda given: LocalAuthority.from_url(f"local:{given}")):
        with pytest.raises(ConfigError, match=says) as caught:
            attempt(name)
        str(caught.value).encode()
        assert "restore" not in str(caught.value)


def test_a_home_that_nobody_has():
    with pytest.raises(ConfigError, match="give the whole path"):
        LocalAuthority.from_url("local:~nobody-of-this-name/ledger.db")


@posix
def test_a_current_folder_that_is_gone(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    for attempt in (LocalAuthority, lambda name: LocalAuthority.from_url(f"local:{name}")):
        with pytest.raises(ConfigError, match="give the whole path"):
            attempt("ledger.db")


# -- files that go away ------------------------------------------------------------------------------------------------
def deleted(path: Path) -> None:
    for file in beside(path):
        file.unlink()


def renamed(path: Path) -> None:
    path.rename(path.with_name("old.db"))


def replaced(path: Path) -> None:
    deleted(path)
    with LocalAuthority(path) as other:
        other.budget(SCOPE, tokens(100))


def restored(path: Path) -> None:
    shutil.copy(path, path.with_name("copy.db"))
    path.with_name("copy.db").replace(path)


def without_log(path: Path) -> None:
    path.with_name("ledger.db-wal").unlink()


def with_another_log(path: Path) -> None:
    shutil.copy(path.with_name("ledger.db-wal"), path.with_name("x"))
    path.with_name("x").replace(path.with_name("ledger.db-wal"))


@posix
@pytest.mark.parametrize(
    ("happens", "says"),
    [
        (deleted, "was deleted or renamed"),
        (renamed, "was deleted or renamed"),
        (replaced, "was replaced"),
        (restored, "was replaced"),
        (without_log, "ledger.db-wal, which holds the last moments"),
        (with_another_log, "ledger.db-wal, which holds the last moments"),
    ],
)
def test_a_file_that_goes_away_is_noticed(opened, path, happens, says):
    """Nothing is spent from a file that nobody else sees, and reading does not pretend either."""
    happens(path)
    for response in (opened.reserve(1), opened.event(1), opened.decide(1), opened.get("/v1/reservations")):
        assert failed(response, 500, "INTERNAL_ERROR")
        assert says in response.json()["message"]
    for call in (opened.authority.balances, lambda: opened.authority.backup(path.with_name("b.db"))):
        with pytest.raises(ConfigError, match=says):
            call()
    assert says in opened.authority.check()[0]


@posix
def test_a_file_that_is_put_back_is_used_again(opened, path):
    renamed(path)
    assert failed(opened.event(1), 500, "INTERNAL_ERROR")
    path.with_name("old.db").rename(path)
    assert opened.event(1).status_code == 201
    assert opened.authority.balance(SCOPE, "TOKENS").spent == 31


LEAVING = """
import sys
from cycles import tokens
from cycles.errors import ConfigError
from cycles.local import LocalAuthority
authority = LocalAuthority(sys.argv[1])
authority.budget("tenant:acme", tokens(1))
print("ready", flush=True)
sys.stdin.readline()
try:
    authority.balances()
except ConfigError:
    print("noticed")
if sys.argv[2] == "closes":
    authority.close()
"""


@posix
@pytest.mark.parametrize("how", ["closes", "forgets"])
def test_who_leaves_a_deleted_ledger_leaves_the_new_one_alone(path, how):
    """SQLite deletes a log by its name, and by now that is the log of another ledger."""
    command = [sys.executable, "-W", "error", "-c", LEAVING, str(path), how]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        deleted(path)
        with LocalAuthority(path) as authority:
            authority.budget(SCOPE, tokens(100))
            assert process.communicate("\n", timeout=60) == ("noticed\n", None)
            assert process.returncode == 0
            assert path.with_name("ledger.db-wal").exists()
            assert authority.balance(SCOPE, "TOKENS").allocated == 100


# -- copies ------------------------------------------------------------------------------------------------------------
def test_a_copy_without_its_log_is_recognised(opened, path, monkeypatch):
    """At every moment of use, also after the log was moved into the file."""
    monkeypatch.setattr(store, "MOVE_LOG_EVERY", 3)
    copy = path.with_name("copy.db")
    for _ in range(8):
        shutil.copy(path, copy)
        for _ in range(2):
            with pytest.raises(ConfigError, match=r"without its log copy\.db-wal.*cycles local backup"):
                LocalAuthority(copy)
        for file in beside(copy):
            file.unlink(missing_ok=True)
        assert opened.event(1).status_code == 201


def test_the_log_is_moved_now_and_then(opened, path, monkeypatch):
    monkeypatch.setattr(store, "MOVE_LOG_EVERY", 20)
    for _ in range(200):
        assert opened.event(0).status_code == 201
    assert path.with_name("ledger.db-wal").stat().st_size < 1_500_000, "200 events take three times that"


def test_a_copy_with_its_log_is_whole(opened, path):
    for file in beside(path)[:2]:
        shutil.copy(file, file.with_name(file.name.replace("ledger", "copy")))
    assert spent(path.with_name("copy.db")) == 30


FORGETFUL = """
import os, sys
from cycles import tokens
from cycles.local import LocalAuthority
authority = LocalAuthority(sys.argv[1])
authority.budget("tenant:acme", tokens(5))
if sys.argv[2] == "killed":
    os._exit(9)
"""


@pytest.mark.parametrize("how", ["forgotten", "killed"])
def test_what_a_process_left_can_be_copied(path, how):
    """One that ends without closing its ledger leaves a whole file; one that is killed leaves a log beside it."""
    subprocess.run([sys.executable, "-c", FORGETFUL, str(path), how], timeout=60, check=False)
    copy = path.with_name("copy.db")
    shutil.copy(path, copy)
    if how == "killed":
        with pytest.raises(ConfigError, match="without its log"):
            LocalAuthority(copy)
        shutil.copy(path.with_name("ledger.db-wal"), copy.with_name("copy.db-wal"))
    for file in (copy, path):
        with LocalAuthority(file) as authority:
            assert authority.balance(SCOPE, "TOKENS").allocated == 5


def test_the_tables_are_in_the_file_from_the_first_moment(path):
    with LocalAuthority(path):
        data = path.read_bytes()
        assert data[68:72] == b"CYCL"
        assert b"CREATE TABLE budgets" in data


def test_an_empty_copy_of_an_earlier_version_is_not_taken_for_new(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=r"log ledger\.db-wal is missing"):
        LocalAuthority(path)
    assert path.read_bytes() == before


# -- backups -----------------------------------------------------------------------------------------------------------
def test_a_backup_of_a_ledger_in_use_is_whole(opened, path):
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            assert opened.event(1, overage_policy="ALLOW_IF_AVAILABLE").status_code == 201

    worker = threading.Thread(target=work)
    worker.start()
    try:
        for number in range(5):
            copy = path.with_name(f"copy-{number}.db")
            opened.authority.backup(copy)
            with LocalAuthority(copy) as authority:
                assert authority.check() == []
                assert authority.balance(SCOPE, "TOKENS").spent >= 30
    finally:
        stop.set()
        worker.join()
    assert not list(path.parent.glob("*.part*"))


def test_a_backup_is_one_file_and_of_one_moment(opened, path):
    opened.authority.backup(path.with_name("copy.db"))
    opened.event(1)
    assert not path.with_name("copy.db-wal").exists()
    shutil.copy(path.with_name("copy.db"), path.with_name("again.db"))
    assert spent(path.with_name("again.db")) == 30


def test_a_ledger_in_memory_can_be_kept(path):
    with LocalAuthority() as authority:
        authority.budget(SCOPE, tokens(7))
        authority.backup(path)
    with LocalAuthority(path) as authority:
        assert authority.balance(SCOPE, "TOKENS").allocated == 7


def test_a_backup_replaces_nothing(opened, path):
    for target, says in (
        (path, "is there already"),
        (path.parent, "is a folder"),
        (path.parent / "no" / "copy.db", "there is no folder"),
    ):
        with pytest.raises(ConfigError, match=says):
            opened.authority.backup(target)
    assert opened.event(1).status_code == 201


# -- changed by others -------------------------------------------------------------------------------------------------
@pytest.fixture
def closed(path):
    with LocalAuthority(path) as authority:
        authority.budget(SCOPE, tokens(100))
        authority.tenant("acme")
        authority.key(tenant="acme")
        wire = Wire(authority, Clock())
        assert wire.reserve(10).is_success
    return path


def change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("PRAGMA user_version = 0", "format is said to be 0"),
        ("PRAGMA user_version = -1", "format is said to be -1"),
        ("CREATE TRIGGER t AFTER UPDATE ON budgets BEGIN DELETE FROM holds; END", "it has a trigger, t"),
        ("CREATE VIEW v AS SELECT * FROM budgets", "it has a view, v"),
        ("CREATE UNIQUE INDEX u ON holds (unit)", "it has an index, u"),
        ("ALTER TABLE budgets ADD COLUMN more", "table budgets was changed"),
        ("DROP TABLE replays", "no table replays"),
    ],
)
def test_changed_tables_are_refused(closed, statement, says):
    change(closed, statement)
    before = closed.read_bytes()
    with pytest.raises(ConfigError, match=says) as caught:
        LocalAuthority(closed)
    assert "left untouched" in str(caught.value)
    assert closed.read_bytes() == before


def test_a_trigger_that_comes_later_is_found_by_the_check(opened, path):
    change(path, "CREATE TRIGGER t AFTER UPDATE ON holds BEGIN DELETE FROM holds; END")
    assert opened.authority.check() == ["it has a trigger, t, which no version of cycles makes"]


def test_an_index_of_an_operators_own_is_no_harm(closed):
    change(closed, "CREATE INDEX mine ON holds (unit)", "ANALYZE")
    with LocalAuthority(closed) as authority:
        assert authority.check() == []


@pytest.mark.parametrize(
    ("table", "edit", "says"),
    [
        ("budgets", "json_remove(data, '$.spent')", "the budget tenant:acme in TOKENS has no spent"),
        ("budgets", "json_set(data, '$.spent', '0')", "has '0' as its spent"),
        ("budgets", "json_set(data, '$.spent', 1.5)", "has 1.5 as its spent"),
        ("budgets", "json_remove(data, '$.allocated')", "has no allocated"),
        ("budgets", "json_set(data, '$.tenant', 'other')", "has two values of tenant: 'other' and 'acme'"),
        ("budgets", "'[]'", "is no JSON object"),
        ("budgets", "'{'", "is no JSON object"),
        ("holds", "json_remove(data, '$.estimate')", "has no estimate"),
        ("holds", "json_set(data, '$.estimate', 1)", "has two values of estimate: 1 and 10"),
        ("holds", "json_remove(data, '$.budgeted')", "has no budgeted"),
        ("tenants", "json_remove(data, '$.status')", "the tenant acme has no status"),
        ("keys", "json_set(data, '$.tenant', 'other')", "has two values of tenant"),
    ],
)
def test_a_changed_row_is_found_by_the_check(closed, table, edit, says):
    change(closed, f"UPDATE {table} SET data = {edit}")
    with LocalAuthority(closed, clock=Clock()) as authority:
        found = authority.check()
    assert any(says in problem for problem in found), found
    assert not any("__init__" in problem for problem in found)


def test_a_row_that_cant_be_read_is_an_error_in_words(closed):
    change(closed, "UPDATE budgets SET data = json_remove(data, '$.allocated')")
    with LocalAuthority(closed) as authority:
        with pytest.raises(ConfigError, match=r"a row of a budget can't be read .*'allocated'"):
            authority.balances()
        assert failed(Wire(authority, Clock()).reserve(1, key="another"), 500, "INTERNAL_ERROR")


# -- tenants -----------------------------------------------------------------------------------------------------------
def test_tenants_that_differ_in_case_do_not_share_a_budget():
    with LocalAuthority() as authority:
        for call in (
            lambda: authority.tenant("ACME"),
            lambda: authority.key(tenant="Acme"),
            lambda: authority.client(tenant="ACME"),
            lambda: authority.budget("tenant:ACME", tokens(1)),
            lambda: authority.ensure_budget("tenant:ACME/agent:a", tokens(1)),
            lambda: authority.fund("tenant:ACME", "CREDIT", tokens(1)),
            lambda: authority.balance("tenant:ACME", "TOKENS"),
            lambda: LocalAuthority.from_url("local:?usd=1", tenant="ACME"),
        ):
            with pytest.raises((ConfigError, InvalidRequest), match="lower case; write acme"):
                call()
        assert authority.budget("tenant:acme/agent:Planner", tokens(1)).scope_path == "tenant:acme/agent:planner"
