"""Makes docs/cli.md from the command itself: its helps, and examples that are run, with their real output.

`nox -s cli_docs` writes the page; tests/docs/test_cli_page.py compares. Ids, keys, times and paths are replaced by
fixed ones of the same length.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from click.testing import CliRunner

from cycles import usd
from cycles.cli._errors import CODES
from cycles.cli.root import cycles as command
from cycles.local import LocalAuthority
from cycles.local.registry import forget_shared

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE: Final = Path(__file__).parents[2] / "docs" / "cli.md"
INTRO: Final = Path(__file__).with_name("cli_intro.md")

WIDTH: Final = 88
RESERVATION: Final = "{reservation}"
KEY: Final = "{key}"

SCRIPT: Final = (
    "cycles local init --tenant acme --usd 25 --tokens 1M",
    "cycles local init --plain",
    "cycles local init --tenant acme --usd 25 --budget tenant:acme/agent:writer=usd:2 --json",
    "cycles local budget create tenant:acme/agent:planner --usd 5",
    "cycles local budget set tenant:acme --usd 30 --overdraft-limit 2.50",
    "cycles local budget fund tenant:acme --usd 10",
    "cycles local budget fund tenant:acme --usd 15 --operation DEBIT",
    "cycles local budget freeze tenant:acme/agent:writer",
    "cycles local budget freeze tenant:acme/agent:writer",
    "cycles local budget unfreeze tenant:acme/agent:writer",
    "cycles local budget close tenant:acme/agent:writer",
    "cycles local budget list",
    "cycles local budget list --tenant acme --json",
    "cycles local tenant create beta --max-ttl-ms 600000",
    "cycles local tenant set beta --max-extensions 0",
    "cycles local tenant suspend beta",
    "cycles local tenant resume beta",
    "cycles local tenant close beta --yes",
    "cycles local tenant list",
    "cycles local tenant list --json",
    'cycles local key create acme --name "the nightly job" --expires 90d',
    "cycles local key list --tenant acme",
    "cycles local key list --tenant acme --json",
    "cycles local key revoke {key}",
    "cycles local backup monday.db",
    "cycles local check",
    "cycles balances",
    "cycles balances --agent planner --json",
    "cycles decide --usd 0.05 --action llm.completion gpt-4o --agent planner",
    "cycles decide --usd 100 --agent planner",
    "cycles decide --usd 100 --agent planner --json",
    "cycles record --usd 0.032 --action tool.search web --agent planner --idempotency-key job-7",
    "cycles record --tokens 1500 --json",
    "cycles local event list",
    "cycles local event list --agent planner --json",
    "cycles prices claude-opus-4-5 --provider anthropic",
    "cycles prices claude-opus-4-5 --provider anthropic --json",
    "cycles prices gpt-of-tomorrow",
    "cycles level zoe@example.com",
    "HOLD",
    "cycles reservations list --status ACTIVE --created-from 2h",
    "cycles reservations list --json",
    "cycles reservations show {reservation}",
    'cycles reservations release {reservation} --reason "the worker is gone"',
    "cycles reservations release {reservation}",
    "SIGN",
    "cycles evidence verify envelope.json --keys keys.json",
    "cycles evidence verify envelope.json --keys keys.json --server-id urn:another",
    "cycles evidence audit --from 1d",
    "cycles local keygen signing-keys.json --server-id urn:acme:authority",
    "cycles local keygen signing-keys.json --rotate --after 1h",
    "cycles doctor",
    "cycles doctor --base-url http://127.0.0.1:1",
    "cycles balances --base-url http://127.0.0.1:1",
    "cycles balances --base-url http://127.0.0.1:1 --json",
    "JOURNAL",
    "cycles journal list",
    "cycles journal show v2-9f86d081",
    "cycles journal rejected list",
    "cycles journal rejected remove v2-4e074085 --yes",
    "cycles journal quarantine list",
    "cycles journal quarantine list --json",
    "cycles journal quarantine restore v2-60303ae2",
    "cycles journal quarantine remove v2-fd61a03a --yes",
    "cycles journal drain",
    "cycles local reset --yes",
    "cycles serve --db cycles.db --port 0 --budget tenant:acme=usd:1.00",
    "cycles mcp --config",
    "cycles completion bash",
)
"""What is run, in this order, in one directory; each stands under its command in the page."""


def commands(
    group: click.Group = command, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Return every command that does something, with its path."""
    for name, made in group.commands.items():
        if isinstance(made, click.Group):
            yield from commands(made, (*path, name))
        else:
            yield (*path, name), made


def render() -> str:
    """Return the page."""
    shown = run_script()
    codes = "\n".join(f"| {code} | {meaning} |" for code, meaning in CODES)
    parts = [INTRO.read_text("utf-8").replace("{codes}", codes)]
    for path, _ in commands():
        help_text = CliRunner().invoke(command, [*path, "--help"], terminal_width=WIDTH).output
        parts.append(f"## cycles {' '.join(path)}\n\n```text\n{help_text.rstrip()}\n```\n")
        if path in shown:
            blocks = "\n".join(shown[path])
            parts.append(f"```console\n{blocks.rstrip()}\n```\n")
    return "\n".join(parts)


def run_script() -> dict[tuple[str, ...], list[str]]:
    """Run the examples and return what to show of them, by command."""
    known = sorted((path for path, _ in commands()), key=len, reverse=True)
    shown: dict[tuple[str, ...], list[str]] = {}
    with _somewhere() as folder:
        world = _World(folder)
        for line in SCRIPT:
            if line == "HOLD":
                world.hold()
            elif line == "SIGN":
                world.sign()
            elif line == "JOURNAL":
                world.fill_journal()
            else:
                words = tuple(shlex.split(line)[1:])
                path = next(path for path in known if words[: len(path)] == path)
                shown.setdefault(path, []).append(world.example(line))
    return shown


@contextlib.contextmanager
def _somewhere() -> Iterator[Path]:
    """Be in a directory of our own, with the settings of the page's reader."""
    before, environ = Path.cwd(), dict(os.environ)
    folder = Path(tempfile.mkdtemp()).resolve()
    for name in list(os.environ):
        if name.startswith("CYCLES_") or name.lower().endswith("_proxy") or name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
            del os.environ[name]
    settings = {"BASE_URL": "local:cycles.db", "API_KEY": "cyc_live_x", "TENANT": "acme", "JOURNAL_DIR": "journal"}
    os.environ.update({f"CYCLES_{name}": value for name, value in settings.items()})
    os.chdir(folder)
    try:
        yield folder
    finally:
        forget_shared()
        os.chdir(before)
        os.environ.clear()
        os.environ.update(environ)
        shutil.rmtree(folder)


class _World:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.reservation = self.key = ""
        self.seen: dict[str, str] = {}

    def hold(self) -> None:
        """Make a reservation that nobody ends."""
        from cycles_api.api.reservations import create_reservation  # noqa: PLC0415
        from cycles_api.models import Action, Amount, ReservationCreateRequest, Subject  # noqa: PLC0415

        body = ReservationCreateRequest(
            idempotency_key="2f0c",
            subject=Subject(tenant="acme", agent="planner"),
            action=Action(kind="llm.completion", name="gpt-4o"),
            estimate=Amount(unit="USD_MICROCENTS", amount=5_000_000),
        )
        with LocalAuthority("cycles.db") as authority, authority.client(tenant="acme") as client:
            answer = create_reservation.sync(client=client.api, body=body)
            self.reservation = answer.reservation_id

    def sign(self) -> None:
        """Leave an envelope, and the keys of the server that signed it."""
        with LocalAuthority(signing_key=bytes(32)) as authority, authority.client(tenant="acme") as client:
            authority.budget("tenant:acme", usd("1"))
            found = client.decide(usd("0.05"), action=("llm.completion", "gpt-4o")).evidence
            assert found is not None
            asking = authority.http_client()
            Path("envelope.json").write_bytes(asking.get(found["cycles_evidence_url"]).content)
            Path("keys.json").write_bytes(asking.get("/v1/.well-known/cycles-jwks.json").content)

    def fill_journal(self) -> None:
        """Leave what programs leave when they are killed, refused, or damaged."""
        partition = self.folder / "journal" / "5e3a"
        record = {
            "version": 2,
            "written_at": "2026-01-31T12:00:00+00:00",
            "owner": None,
            "mode": "commit",
            "provisional": False,
            "reservation_id": "test",
            "idempotency_key": "2f0c",
            "actual": {"unit": "USD_MICROCENTS", "amount": 3_200_000},
            "metrics": None,
            "metadata": None,
            "subject": {"tenant": "acme", "agent": "planner"},
            "action": {"kind": "llm.completion", "name": "gpt-4o"},
            "overage_policy": None,
            "not_before": None,
        }
        answer = {"status": 409, "code": "RESERVATION_FINALIZED", "message": "committed before"}
        files = {
            "partition.json": {"authority": "https://cycles.example.com:443", "tenant": "acme"},
            f"v2-{_digest('test')}.json": record,
            f"rejected/v2-{_digest('3')}.json": record | {"answer": answer},
            f"quarantine/v2-{_digest('test2')}.json": {},
            f"quarantine/v2-{_digest('test3')}.json": {},
        }
        for name, content in files.items():
            file = partition / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(content))
            if name.startswith("quarantine"):
                Path(f"{file}.reason").write_text("no record of this version\n")

    def example(self, line: str) -> str:
        """Run *line* and return it as a console shows it."""
        filled = line.format(reservation=self.reservation, key=self.key)
        if filled.startswith("cycles serve"):
            out, code = _served(filled), 0
        else:
            result = CliRunner().invoke(command, shlex.split(filled)[1:], terminal_width=WIDTH)
            out, code = result.output, result.exit_code
            if result.exception is not None and not isinstance(result.exception, SystemExit):
                raise result.exception
        if line == "cycles completion bash":
            out = "".join(f"{line}\n" for line in out.splitlines()[:3]) + "…\n"
        if "nightly" in out and '"key_id"' in out:
            self.key = next(row["key_id"] for row in json.loads(out) if row["name"] == "the nightly job")
        prompt = filled
        if filled.endswith("--json") and code == 0:
            prompt += " | python -m json.tool"
            out = json.dumps(json.loads(out), indent=4) + "\n"
        status = f"$ echo $?\n{code}\n" if code else ""
        return self.normal(f"$ {prompt}\n{out}{status}")

    def normal(self, text: str) -> str:
        """Replace what is another one each time."""
        text = re.sub(r"(?m)^SETTING .*\n(?:\w+ {2,}.*\n)+", self._realigned, text)
        text = text.replace(str(self.folder), "/home/you")
        text = re.sub(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", self._same_id, text)
        text = re.sub(r"(?<![\w-])(?:[0-9a-f]{64}|[0-9a-f]{16})\b", self._same_id, text)
        text = re.sub(r"\bkey_[0-9a-f]{16}\b", self._same_id, text)
        text = re.sub(r"cyc_live_[\w-]{32}", "cyc_live_" + "Example0" * 4, text)
        text = re.sub(r"cyc_live_[\w-]{5}(?=…|\"|\\u)", "cyc_live_Examp", text)
        text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ", "2026-01-31 12:00:00Z", text)
        text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?\+00:00", "2026-01-31T12:00:00+00:00", text)
        text = re.sub(r"(_ms\": )\d{13}", r"\g<1>1769860800000", text)
        text = re.sub(r"http://127\.0\.0\.1:\d{4,5}", "http://127.0.0.1:7878", text)
        text = re.sub(r"(age_days\": )\d+", r"\g<1>14", text)
        return re.sub(r"\[Errno \d+\] ", "", text)

    def _realigned(self, table: re.Match[str]) -> str:
        """Return a table of settings whose paths are shorter: its columns are as wide as what they then hold."""
        rows = [re.split(" {2,}", row) for row in table[0].replace(str(self.folder), "/home/you").splitlines()]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "".join("  ".join(map(str.ljust, row, widths)).rstrip() + "\n" for row in rows)

    def _same_id(self, match: re.Match[str]) -> str:
        found = match[0]
        if found not in self.seen:
            digest = hashlib.sha256(str(len(self.seen)).encode()).hexdigest()
            kept = "key_" if found.startswith("key_") else ""
            shape = found.removeprefix(kept)
            letters = iter(digest)
            self.seen[found] = kept + "".join("-" if char == "-" else next(letters) for char in shape)
        return self.seen[found]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _served(line: str) -> str:
    """Return the line that a server says when it is ready."""
    arguments = [sys.executable, "-m", "cycles.cli", *shlex.split(line)[1:]]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            return process.stdout.readline()
        finally:
            process.kill()


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
    sys.stdout.write(f"{PAGE}\n")
