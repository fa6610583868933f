"""`cycles journal`: on what a killed program left, and against an authority that is back."""

from __future__ import annotations

import json
import re
from collections import deque
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner

from cycles.cli.root import cycles as command
from tests.support.net import DROP, HANG, Answer, error


@pytest.fixture
def run(environ):
    def ran(*arguments, **changed):
        env = {**environ, **{f"CYCLES_{name.upper()}": value for name, value in changed.items()}}
        return CliRunner().invoke(command, ["journal", *arguments], env=env)

    ran.env = environ
    return ran


@pytest.fixture
def left(server, start):
    """What a program that was killed in its commit has left."""
    server.always["commit"] = HANG
    worker = start("spend")
    server.wait_for("commit")
    worker.kill()
    server.always.clear()


def test_an_empty_journal_says_so(run):
    assert run("list").output == "nothing there\n"
    assert json.loads(run("list", "--json").output) == []
    assert run("drain").output == "0 settled, 0 rejected, 0 pending\n"


@pytest.mark.slow
def test_what_is_pending_is_listed_shown_and_drained(run, left, server, environ):
    listed = run("list").output
    assert "pending" in listed
    assert "$0.03" in listed
    assert listed.split()[:8] == ["WHERE", "WRITTEN", "AMOUNT", "RESERVATION", "TENANT", "AUTHORITY", "FILE", "NOTES"]
    assert " acme " in listed
    (facts,) = json.loads(run("list", "--json").output)
    assert (facts["where"], facts["tenant"], facts["record"]["mode"]) == ("pending", "acme", "commit")
    shown = json.loads(run("show", facts["file"]).output)
    assert shown == facts
    assert environ["CYCLES_API_KEY"] not in listed + json.dumps(shown)
    assert json.loads(run("drain", "--json").output) == {"settled": 1, "rejected": 0, "pending": 0, "parked": 0}
    assert server.spent() == 3
    assert run("list").output == "nothing there\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answer", "exit_code"),
    [(DROP, 3), (Answer(503, error("INTERNAL_ERROR")), 3), (Answer(401, error("UNAUTHORIZED")), 4)],
    ids=["not there", "not well", "key refused"],
)
def test_a_drain_that_leaves_something_says_why(run, left, server, answer, exit_code):
    """With the status that the table of docs/cli.md names."""
    server.always["commit"] = answer
    ran = run("drain", "--timeout", "0.5")
    assert (ran.exit_code, ran.stdout.splitlines()) == (exit_code, ["0 settled, 0 rejected, 1 pending"])
    assert ran.stderr.splitlines()[-1].startswith("Remedy: ")
    ran = run("drain", "--timeout", "0.5", "--json")
    assert json.loads(ran.stdout) == {"settled": 0, "rejected": 0, "pending": 1, "parked": 0}
    assert json.loads(ran.stderr.splitlines()[-1])["error"]["exit_code"] == ran.exit_code == exit_code


@pytest.mark.slow
def test_what_the_authority_asked_to_wait_with_is_parked_until_a_person_says_now(run, left, server):
    server.plan["commit"] = deque([Answer(429, error("LIMIT_EXCEEDED"), {"retry-after": "999999999"})])
    ran = run("drain", "--timeout", "5")
    assert ran.exit_code == 1
    assert re.search(r"^1 parked until 2\d{3}-\d\d-\d\d \d\d:\d\d:\d\dZ .*see --now$", ran.output, re.MULTILINE)
    assert "parked until 2" in run("list").output
    (facts,) = json.loads(run("list", "--json").output)
    until = datetime.fromisoformat(facts["parked_until"])
    assert timedelta(minutes=50) < until - datetime.now(UTC) <= timedelta(hours=1)
    doctor = CliRunner().invoke(command, ["doctor"], env=run.env).output
    assert "1 parked until 2" in doctor
    assert "`cycles journal drain --now` tries it before that" in doctor
    assert "`cycles journal drain` settles it now" not in doctor
    assert json.loads(run("drain", "--json").output) == {"settled": 0, "rejected": 0, "pending": 1, "parked": 1}
    assert server.spent() == 0
    assert run("drain", "--now").output == "1 settled, 0 rejected, 0 pending\n"
    assert server.spent() == 3


@pytest.mark.slow
def test_what_was_refused_stays_listed(run, left, server):
    server.always["commit"] = Answer(409, error("RESERVATION_FINALIZED"))
    assert run("drain").output.splitlines()[-1] == "0 settled, 1 rejected, 0 pending"
    (facts,) = json.loads(run("list", "--json").output)
    assert (facts["where"], facts["record"]["answer"]["code"]) == ("rejected", "RESERVATION_FINALIZED")
    assert json.loads(run("rejected", "list", "--json").output) == [facts]
    assert "409 RESERVATION_FINALIZED" in run("rejected", "list").output
    assert run("rejected", "remove", facts["file"]).exit_code == 1, "it asks first"
    assert json.loads(run("rejected", "remove", facts["file"], "--yes", "--json").output) == {
        "file": facts["file"],
        "removed_from": "rejected",
    }
    assert run("list").output == "nothing there\n"


@pytest.mark.slow
def test_quarantine_is_listed_restored_and_removed(run, left, server, journal_dir):
    (good,) = journal_dir.glob("*/v2-*.json")
    content = good.read_bytes()
    good.write_bytes(content[:50])
    assert run("drain").output.splitlines()[-1] == "0 settled, 0 rejected, 0 pending"
    (facts,) = json.loads(run("quarantine", "list", "--json").output)
    assert facts["file"] == good.name
    assert "not JSON" in facts["reason"]
    aside = good.parent / "quarantine" / good.name
    aside.write_bytes(content)
    assert run("quarantine", "restore", good.name).exit_code == 0
    assert run("drain").output.splitlines()[-1] == "1 settled, 0 rejected, 0 pending"
    assert server.spent() == 3
    good.write_bytes(b"{}")
    run("drain")
    assert run("quarantine", "remove", good.name).exit_code == 1, "it asks first"
    assert aside.exists()
    assert run("quarantine", "remove", "--yes", good.name).exit_code == 0
    assert not aside.exists()
    assert run("list").output == "nothing there\n"


@pytest.mark.parametrize(
    "arguments",
    [("show", "v2-x.json"), ("quarantine", "restore", "v2-x.json"), ("rejected", "remove", "v2-x.json")],
)
def test_an_unknown_file_says_where_to_look(run, arguments):
    ran = run(*arguments)
    assert ran.exit_code == 2
    assert "cycles journal list" in ran.output
    error = json.loads(run(*arguments, "--json").output)["error"]
    assert "v2-x.json: no such file" in error["message"]


def test_a_drain_without_a_journal_says_why(run):
    ran = run("drain", journal_enabled="false")
    assert ran.exit_code == 2
    assert "there is no journal" in ran.output
