"""Locks of processes that live, ended or died."""

from __future__ import annotations

from cycles._journal import locks
from tests.support.records import pending


def test_a_process_that_ends_leaves_no_lock_behind(server, start, journal_dir):
    start("spend").result()
    assert list(journal_dir.glob("owners/*.lock")) == []


def test_locks_of_dead_processes_do_not_pile_up(journal):
    owners = journal.directory.parent / "owners"
    owners.mkdir(parents=True, exist_ok=True)
    for number in range(100):
        (owners / f"{number:032x}.lock").write_text("")
    journal.write(pending())
    assert [path.stem for path in owners.iterdir()] == [journal.owners.own()]


def test_two_that_look_whether_a_process_lives_do_not_take_each_other_for_it(tmp_path):
    path = tmp_path / "dead.lock"
    path.touch()
    with path.open("rb") as other:
        assert locks._lock(other.fileno(), shared=True)
        assert not locks.is_locked(path)
        held = locks.Lock.taken(tmp_path / "alive.lock")
        assert locks.is_locked(tmp_path / "alive.lock")
        held.leave()


def test_a_lock_that_somebody_looked_at_just_then_is_made_anew(tmp_path, monkeypatch):
    taken, refused = locks.Lock.taken, []

    def looked_at(path):
        if not refused:
            refused.append(path)
            path.touch()
            return None
        return taken(path)

    monkeypatch.setattr(locks.Lock, "taken", looked_at)
    owner = locks.Owner(tmp_path)
    assert owner.name is not None
    assert owner.name != refused[0].stem
    assert locks.is_locked(tmp_path / f"{owner.name}.lock")
    owner.end()
