"""Who may use a ledger file, and names that no ledger can have."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from cycles import tokens
from cycles.errors import ConfigError
from cycles.local import LocalAuthority
from cycles.local.store import places
from tests.support.authorities import SCOPE
from tests.support.waiting import PATIENCE

from .files import as_another_user, beside, posix


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
    """Seen from the system calls; a mount takes root."""
    LocalAuthority(path).close()
    monkeypatch.setattr(places, "_may", lambda _, mode: not mode & os.W_OK)
    monkeypatch.setattr(places, "_is_read_only", lambda _: True)
    for file in (path, path.with_name("new.db")):
        with pytest.raises(ConfigError, match="read-only file system"):
            LocalAuthority(file)


READ_ONLY = """
import os, subprocess, sys
from cycles import tokens
from cycles.errors import ConfigError
from cycles.local import LocalAuthority
folder, view = sys.argv[1:]
LocalAuthority(f"{folder}/closed.db").close()
used = LocalAuthority(f"{folder}/used.db")
used.budget("tenant:acme", tokens(1))
subprocess.run(["mount", "--bind", folder, view], check=True)
subprocess.run(["mount", "-o", "remount,ro,bind", view], check=True)
def said(call):
    try:
        call()
    except ConfigError as error:
        return error.message
    return "works"
for file in ("closed.db", "used.db", "new.db"):
    print(said(lambda: LocalAuthority(f"{view}/{file}")))
print(said(lambda: used.backup(f"{view}/copy.db")))
print(said(lambda: used.budget("tenant:acme", tokens(2))))
os._exit(0)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root mounts")
def test_a_read_only_mount(tmp_path):
    """A bind mount of a folder that somebody else may write to, in a name space of its own."""
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-m", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no mount name space here")
    folder, view = tmp_path / "folder", tmp_path / "view"
    folder.mkdir()
    view.mkdir()
    command = [unshare, "-m", sys.executable, "-W", "error", "-c", READ_ONLY, str(folder), str(view)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.stderr, done.returncode) == ("", 0)
    *refused, last = done.stdout.splitlines()
    assert refused == [
        f"{view / file}: is on a read-only file system, and a ledger is written to"
        for file in ("closed.db", "used.db", "new.db", "copy.db")
    ]
    assert last == "works"
    assert sorted(file.name for file in folder.iterdir()) == ["closed.db", "used.db", "used.db-shm", "used.db-wal"]


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


@posix
def test_a_link_may_lead_to_a_file_that_is_not_there_yet(tmp_path):
    """The ledger is made where it leads, and is nobody else's to read there either."""
    path, there = tmp_path / "link.db", tmp_path / "there.db"
    path.symlink_to(there)
    with LocalAuthority(path) as authority:
        authority.budget(SCOPE, tokens(1))
        assert {stat.S_IMODE(file.stat().st_mode) for file in beside(there)} == {0o600}
    with LocalAuthority(there) as authority:
        assert authority.balance(SCOPE, "TOKENS").allocated == 1
