"""Whose directories and files the journal uses: what is not this user's is refused, unread and without waiting."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

import cycles
from cycles import usd
from cycles._core.record_format import dump, name_of
from cycles._journal import trust
from cycles._journal.partitions import partition_of
from cycles._journal.trust import must_be_ours, read_own
from cycles.cli.root import cycles as command
from tests.support.authorities import ACTION
from tests.support.records import pending

pytestmark = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="there are no owners and modes here")
as_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")

SOMEBODY = 54_321


def writable_by_all(path):
    path.mkdir(parents=True)
    path.chmod(0o777)


def sticky_writable_by_all(path):
    path.mkdir(parents=True)
    path.chmod(0o1777)


def writable_by_group(path):
    path.mkdir(parents=True)
    path.chmod(0o770)


def somebody_elses(path):
    path.mkdir(parents=True, mode=0o700)
    os.chown(path, SOMEBODY, SOMEBODY)


def link(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    target = path.with_name(f"{path.name}-target")
    target.mkdir(mode=0o700)
    path.symlink_to(target)


def dangling(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(path.with_name("nowhere"))


def fifo(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path)


WRONG = [
    (writable_by_all, "can be written to by everybody"),
    (sticky_writable_by_all, "can be written to by everybody"),
    (writable_by_group, "can be written to by its group"),
    pytest.param(somebody_elses, f"belongs to uid {SOMEBODY}", marks=as_root),
    (link, "is a link to "),
    (dangling, "is a link to "),
    (fifo, "is a FIFO"),
]


# -- directories -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("where", ["", "owners", "PARTITION"])
@pytest.mark.parametrize(("made", "said"), WRONG)
def test_a_directory_that_others_can_reach_is_refused_and_named(config, environ, journal_dir, where, made, said):
    """Before a client does anything; by a drain, the command line and the doctor too."""
    client = cycles.Client(config)  # while all is well
    where = where.replace("PARTITION", partition_of(config.base_url, config.tenant, config.api_key))
    if where:
        journal_dir.mkdir(mode=0o700)
    made(journal_dir / where)
    message = re.escape(str(journal_dir / where)) + ".*" + re.escape(said)
    for refused in (lambda: cycles.Client(config), client.drain, lambda: cycles.AsyncClient(config)):
        with pytest.raises(cycles.JournalError, match=message):
            refused()
    for arguments in (["journal", "drain"], ["doctor"], *([["journal", "list"]] if not where else [])):
        ran = CliRunner().invoke(command, arguments, env=environ)
        assert ran.exit_code != 0, ran.output
        assert str(journal_dir / where) in ran.output.replace("\n", "")
    client.close()


def test_a_directory_that_goes_wrong_later_keeps_nothing_and_the_spend_is_charged(server, config, journal_dir, caplog):
    with cycles.Client(config) as client:
        held = client.reserve(usd("0.10"), action=ACTION)
        writable_by_all(journal_dir)
        held.commit(usd("0.03"))
    assert server.spent() == 3
    assert "journal failed" in caplog.text
    assert f"{journal_dir} (of " in caplog.text
    assert list(journal_dir.iterdir()) == []


def test_a_record_in_a_directory_of_others_is_not_settled(server, config, journal_dir, caplog):
    with cycles.Client(config) as client:
        held = client.reserve(usd("0.10"), action=ACTION)
        partition = journal_dir / partition_of(config.base_url, config.tenant, config.api_key)
        partition.mkdir(parents=True, mode=0o700)
        planted = pending(reservation_id=held.id, actual=usd("0.09"))
        (partition / name_of(planted)).write_bytes(dump(planted, None, ""))
        partition.chmod(0o777)
        client._runtime.upkeep.recover()
        assert client._runtime.upkeep.journal.names() == []
        held.release()
    assert server.spent() == 0
    assert "journal unreadable" in caplog.text


def test_a_parent_that_all_write_to_is_fine(tmp_path, config):
    """Such as /tmp: what is in it can't be replaced by others."""
    sticky_writable_by_all(tmp_path / "tmp")
    with cycles.Client(config.replace(journal_dir=str(tmp_path / "tmp" / "journal"))) as client:
        assert client.reserve(usd("0.10"), action=ACTION).commit(usd("0.03")).error is None
    assert stat.S_IMODE((tmp_path / "tmp" / "journal").stat().st_mode) == 0o700


def test_a_user_without_a_name_is_named_by_number(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "geteuid", lambda: SOMEBODY)
    with pytest.raises(cycles.JournalError, match=f"this program runs as uid {SOMEBODY}"):
        must_be_ours(tmp_path)


def test_where_there_are_no_owners_nobody_is_refused(monkeypatch, tmp_path):
    """As on Windows."""
    monkeypatch.delattr(os, "geteuid")
    writable_by_all(tmp_path / "journal")
    must_be_ours(tmp_path / "journal")
    (tmp_path / "file").write_bytes(b"x")
    assert read_own(str(tmp_path / "file")) == b"x"


# -- files -------------------------------------------------------------------------------------------------------------
def a_link_to_a_record(path):
    elsewhere = path.parent.parent.parent / "elsewhere.json"
    elsewhere.write_bytes(dump(pending("res-planted"), None, ""))
    path.symlink_to(elsewhere)


def a_directory(path):
    path.mkdir()


def a_socket(path):
    with contextlib.chdir(path.parent), contextlib.closing(socket.socket(socket.AF_UNIX)) as made:
        made.bind("s")  # the whole name is too long for an address
        Path("s").rename(path.name)


def a_device(path):
    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))  # /dev/zero has no end


def a_gigabyte(path):
    path.touch()
    os.truncate(path, 2**30)


def a_growing_file(path):
    path.write_bytes(b"x" * 101)


def somebodys_file(path):
    path.write_bytes(dump(pending("res-planted"), None, ""))
    os.chown(path, SOMEBODY, SOMEBODY)


FOREIGN = [
    (fifo, "it is a FIFO"),
    (a_link_to_a_record, "it is a link"),
    (dangling, "it is a link"),
    (a_directory, "it is a directory"),
    (a_socket, "it is a socket"),
    pytest.param(a_device, "it is a device", marks=as_root),
    (a_gigabyte, "it has 1073741824 bytes"),
    pytest.param(somebodys_file, f"it belongs to uid {SOMEBODY}", marks=as_root),
]


@pytest.mark.parametrize(("made", "said"), FOREIGN)
def test_what_is_no_file_of_this_users_is_set_aside_unread_and_the_others_are_settled(journal, told, made, said):
    journal.write(pending())
    name = name_of(pending("res-planted"))
    made(journal.directory / name)
    queue = journal.queue()
    found = [queue.take(), queue.take()]
    assert [each[0].reservation_id for each in found if each is not None] == [pending().reservation_id]
    assert [event for event, _ in told] == ["record quarantined"]
    assert said in told[0][1]["reason"]
    (entry,) = [entry for entry in journal.entries() if entry.where == "quarantine"]
    assert said in entry.reason
    assert entry.record is None or made is somebodys_file
    assert (journal.directory / "quarantine" / f"{name}.reason").read_text().startswith(said)


@pytest.mark.parametrize(("made", "said"), FOREIGN)
def test_the_command_line_lists_it_and_does_not_wait(journal, made, said):
    journal.write(pending())
    made(journal.directory / name_of(pending("res-planted")))
    (journal.directory / "quarantine").mkdir(mode=0o700)
    made(journal.directory / "quarantine" / "v2-old.json") if made is not a_link_to_a_record else None
    environ = {"CYCLES_JOURNAL_DIR": str(journal.directory.parent)}
    listed = json.loads(CliRunner().invoke(command, ["journal", "list", "--json"], env=environ).output)
    assert {row["where"] for row in listed if row["reason"] and said in row["reason"]} >= {"pending"}


def test_a_file_that_grows_while_it_is_read_has_a_bound(tmp_path, monkeypatch):
    monkeypatch.setattr(trust, "MOST_BYTES", 100)
    a_growing_file(tmp_path / "file")
    monkeypatch.setattr(trust, "_must_be_plain", lambda about: None)
    with pytest.raises(trust.Foreign, match="more than 100 bytes"):
        read_own(str(tmp_path / "file"))


@pytest.mark.parametrize("name", ["README.txt", "partition/partition.json"])
@pytest.mark.parametrize("made", [dangling, fifo, a_directory])
def test_what_is_planted_where_the_journal_writes_is_left_alone(journal, name, made):
    (journal.directory).mkdir(parents=True, mode=0o700)
    journal.directory.parent.chmod(0o700)
    path = journal.directory.parent / name
    made(path)
    before = path.lstat()
    journal.write(pending())
    assert path.lstat().st_ino == before.st_ino
    assert not path.with_name("nowhere").exists()
    assert journal.read(name_of(pending())) is not None
    environ = {"CYCLES_JOURNAL_DIR": str(journal.directory.parent)}
    ran = CliRunner().invoke(command, ["journal", "list"], env=environ)
    assert ran.exit_code == 0, ran.output


def test_a_quarantine_that_leads_elsewhere_takes_nothing(journal, told, tmp_path):
    journal.write(pending())
    (tmp_path / "elsewhere").mkdir()
    (journal.directory / "quarantine").symlink_to(tmp_path / "elsewhere")
    (journal.directory / "v2-bad.json").write_text("no record")
    assert journal.read("v2-bad.json") is None
    assert "can't be moved" in told[0][1]["reason"]
    assert list((tmp_path / "elsewhere").iterdir()) == []
