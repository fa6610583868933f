"""docs/protocol.md against the code that keeps its rules: tables and worked numbers."""

from __future__ import annotations

import json
import re

import yaml

from cycles._core.heartbeat import attempt_budget_ms, leased, retry_delay_ms, retry_reserve_ms, safety_margin_ms
from cycles._core.record_format import dump
from cycles._core.records import Pending
from cycles._core.requests import terms
from cycles.amounts import tokens
from cycles.errors import DENIALS
from cycles.testing.recovery_adapter import SCENARIOS
from cycles_api.models import ErrorCode
from tests.docs.pages import ROOT, prose_of

PAGE = prose_of(ROOT / "docs" / "protocol.md")


def section(heading):
    """Return the text below *heading*."""
    _, _, rest = PAGE.partition(f"\n## {heading}\n")
    return rest.partition("\n## ")[0]


def first_cells(text, pattern):
    """Return what *pattern* captures at the beginning of the tables' rows in *text*."""
    return re.findall(rf"^\| {pattern}", text, flags=re.MULTILINE)


def test_the_operations_are_those_of_the_document():
    paths = yaml.safe_load((ROOT / "openapi" / "cycles.yaml").read_text("utf-8"))["paths"]
    documented = {
        (method.upper(), re.sub(r"\{\w+\}", "{id}", path.removeprefix("/v1")), success)
        for path, operations in paths.items()
        for method, operation in operations.items()
        if method in ("get", "post")
        for success in operation["responses"]
        if success.startswith("2")
    }
    listed = first_cells(section("Operations"), r"[^|]+ \| `(\w+) ([^`]+)` \| (\d+) \|")
    assert set(listed) == documented
    assert len(listed) == len(documented)


def test_every_error_code_is_explained():
    rows = section("Errors").partition("`Retry-After` is")[0]
    codes = set(re.findall(r"`([A-Z_]+)`", rows))
    assert codes == {code.value for code in ErrorCode}
    denials = next(line for line in rows.splitlines() if line.endswith("| a denial |"))
    assert set(re.findall(r"`([A-Z_]+)`", denials)) == set(DENIALS) & codes


def test_the_scenarios_are_those_of_the_adapter():
    assert tuple(first_cells(section("Settlement and recovery"), r"(CR-[A-Z]+-\d+) \|")) == SCENARIOS


def test_the_fields_of_a_record_are_those_of_a_file():
    pending = Pending(
        reservation_id="r1",
        terms=terms(tokens(10), action=("llm.completion", "gpt-4o"), levels={"tenant": "acme"}),
        actual=tokens(7),
        key="k1",
    )
    table = section("Settlement and recovery").partition("| field | holds |")[2].partition("\n\n")[0]
    named = [name for cell in first_cells(table, r"(`[^|]+) \|") for name in re.findall(r"`(\w+)`", cell)]
    assert sorted(named) == sorted(json.loads(dump(pending, None, "today")))


def test_the_heartbeat_is_worked_out_as_the_code_does():
    text = " ".join(section("Heartbeat").split())
    assert attempt_budget_ms(10.0, 1500) == 10_000
    assert safety_margin_ms(1500) == 3_000
    assert retry_reserve_ms(10.0, 1500) == 23_000
    assert "10,000 + 3,000 = 23,000. The extend begins" in text
    lease = leased(61_500, sent_at=0.0, received_at=1.5, timeout=10.0)
    assert (lease.lead_floor_ms, lease.delay_ms) == (60_000, 37_000)
    assert "60,000 - 23,000 = 37,000 after the answer" in text
    assert retry_reserve_ms(30.0, 1500) == 63_000
    assert "the reserve would be 63,000" in text
    begun = lease.since + 37.0
    assert retry_delay_ms(lease, begun + 10.0)[0] == 0
    assert "elapsed is 47,000, lead 13,000 and window 0: one more attempt, at once" in text
    assert retry_delay_ms(lease, begun + 2.0)[0] == 5_250
    assert "`min(30000, 5250, 8000)` = 5,250" in text
