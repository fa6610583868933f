"""Tables that lose nothing, wherever they go; amounts as people write them; exit codes that are documented."""

from __future__ import annotations

import errno
import io
import os
import re
import subprocess
import sys

import pytest

import cycles.cli
from cycles import errors
from cycles.cli import _errors, _output
from cycles.errors import ConfigError
from cycles.local.admin.names import parse_budget
from tests.support.waiting import PATIENCE


@pytest.mark.parametrize(
    ("unit", "text", "amount"),
    [
        ("usd", "25", 2_500_000_000),
        ("usd", "0.00000001", 1),
        ("usd", "2k", 200_000_000_000),
        ("usd", "1.5M", 150_000_000_000_000),
        ("usd", "0.000000001k", 100),
        ("tokens", "1M", 1_000_000),
        ("tokens", "2.5k", 2_500),
        ("tokens", "1_000", 1_000),
        ("tokens", "1.0", 1),
        ("tokens", "3B", 3_000_000_000),
        ("credits", "10K", 10_000),
        ("risk_points", "5", 5),
        ("tokens", "9223372036854775807", 2**63 - 1),
    ],
)
def test_amounts_are_exact(unit, text, amount):
    assert parse_budget(unit, text).amount == amount


@pytest.mark.parametrize(
    "text", ["", "-1", "1.5", "10m", "1,000", "1e3", "0x10", "\uff11", "1__0", "_1", "k", "1 k", "9" * 5000]
)
def test_what_is_no_whole_number(text):
    with pytest.raises(ConfigError, match="not a whole number") as refused:
        parse_budget("tokens", text)
    assert len(str(refused.value)) < 200


def test_too_large_for_the_wire():
    for unit, text in (
        ("tokens", "9223372036854775808"),
        ("tokens", "9999999T"),
        ("usd", "92233720369"),
        ("usd", "93B"),
    ):
        with pytest.raises(ConfigError, match="int64"):
            parse_budget(unit, text)


LONG = "id-" + "x" * 300


@pytest.mark.parametrize("force", ["", "1"])
def test_piped_tables_cut_nothing(capsys, monkeypatch, force):
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("FORCE_COLOR", force)
    _output.write_table(("ID", "AMOUNT"), [(LONG, "1"), ("short", None)], right=["AMOUNT"])
    out = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    first, second, third = (line.rstrip() for line in out.splitlines())
    assert first.split() == ["ID", "AMOUNT"]
    assert second.split() == [LONG, "1"]
    assert third == "short"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("no_color", ["", "1"])
def test_a_narrow_terminal_folds(monkeypatch, no_color):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    for name, value in {"COLUMNS": "40", "TERM": "xterm", "NO_COLOR": no_color}.items():
        monkeypatch.setenv(name, value)
    _output.write_table(("ID", "AMOUNT"), [(LONG, "1")])
    out = terminal.getvalue()
    assert out.count("x") == 300, "folded, not cut"
    assert "…" not in out
    assert max(len(line) for line in out.splitlines()[1:]) <= 40
    assert "\x1b[3" not in out


def test_nothing_can_be_done_to_a_terminal(capsys):
    evil = "a\x1b]0;owned\x07\u202eb\n[red]c[/red]"
    _output.write_table(("X",), [(evil,)])
    _output.write_facts([("x", evil)])
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert "[red]c[/red]" in out
    assert out.count("\n") == 3


def test_every_error_has_an_exit_code_that_is_documented():
    def kinds(kind):
        yield kind
        for each in kind.__subclasses__():
            if each.__module__ == errors.__name__:  # adapters have some of their own, when they are loaded
                yield from kinds(each)

    documented = {code for code, _ in _errors.CODES}
    found = {kind: _errors.code_of(kind("m")) for kind in kinds(errors.CyclesError)}
    assert set(found.values()) <= documented
    assert found[errors.BudgetExceeded] == found[errors.TenantClosed] == 1
    assert found[errors.ConfigError] == found[errors.InvalidRequest] == 2
    assert found[errors.AuthorityUnavailable] == found[errors.InternalError] == found[errors.RateLimited] == 3
    assert found[errors.Unauthorized] == found[errors.Forbidden] == found[errors.NotFound] == 4
    for kind in errors.DENIALS.values():
        assert _errors.remedy_of(kind, is_local=True), kind
        far = _errors.remedy_of(kind, is_local=False)
        assert far, kind
        assert "cycles local" not in far, "of no use for a ledger of another machine"


@pytest.mark.slow
def test_a_pipe_that_closes_early_ends_quietly(tmp_path):
    line = f"{sys.executable} -m cycles.cli reservations list --help | head -1"
    done = subprocess.run(
        ["sh", "-c", line], capture_output=True, text=True, timeout=PATIENCE, check=True, env={**os.environ}
    )
    assert done.stdout.startswith("Usage: cycles reservations list")
    assert done.stderr == ""


class Full(io.StringIO):
    """A stream whose disk is full."""

    def write(self, text):
        raise OSError(errno.ENOSPC, "No space left on device")


def ended(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["cycles", *arguments])
    with pytest.raises(SystemExit) as end:
        cycles.cli.main()
    return end.value.code


@pytest.mark.parametrize("arguments", [("--help",), ("level", "Anna Müller"), ("balances",), ("balances", "--json")])
def test_output_that_can_not_be_written_is_said(monkeypatch, capsys, arguments):
    monkeypatch.setenv("CYCLES_BASE_URL", "local:?usd=1")
    monkeypatch.setattr(sys, "stdout", Full())
    assert ended(monkeypatch, *arguments) == _errors.UNWRITTEN
    assert capsys.readouterr().err.endswith("Error: the output can't be written: No space left on device\n")


def test_other_trouble_of_the_system_is_raised():
    with pytest.raises(ConnectionResetError):
        _errors.end_unwritten(ConnectionResetError(errno.ECONNRESET, "reset"))


@pytest.mark.parametrize("arguments", [("balances",), ("balances", "--json"), ("doctor",)])
def test_a_command_whose_caller_closed_its_streams_does_its_work(monkeypatch, arguments):
    monkeypatch.setenv("CYCLES_BASE_URL", "local:?usd=1")
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    assert ended(monkeypatch, *arguments) == 0


def test_nobody_is_asked_for_a_key_on_a_closed_input(monkeypatch, capsys):
    monkeypatch.setenv("CYCLES_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.delenv("CYCLES_API_KEY", raising=False)
    monkeypatch.setattr(sys, "stdin", None)
    assert ended(monkeypatch, "balances") == _errors.USAGE
    assert "CYCLES_API_KEY" in capsys.readouterr().err
