"""The cells' world, and the table that they make."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pytest

from tests.metering.sdk.apis import APIS
from tests.metering.sdk.world import World

if TYPE_CHECKING:
    from collections.abc import Generator

TABLE = pytest.StashKey[dict[tuple[str, str], str]]()
SHOWN = pytest.StashKey[World]()


@pytest.fixture(params=APIS, ids=lambda api: api.name)
def world(request, provider, cycles_authority):
    world = World(request.param, provider, cycles_authority)
    request.node.stash[SHOWN] = world
    yield world
    world.close()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[TABLE] = {}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Generator[None, Any, Any]:
    report = yield
    world = item.stash.get(SHOWN, None)
    if world is not None and (report.when == "call" or report.failed):
        column = item.name.partition("[")[0].removeprefix("test_").replace("_", " ")
        if drop := getattr(item, "callspec", None) and item.callspec.params.get("drop"):
            column += f" {drop}"
        said = "RED" if report.failed else "-" if report.skipped else world.shown or "ok"
        item.config.stash[TABLE][column, world.api.name] = said
    return report


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the table: one line for each column's name, since there are more of those than APIs."""
    table = config.stash[TABLE]
    if not table:
        return
    packages = ", ".join(f"{name} {version(name)}" for name in ("openai", "anthropic", "google-genai"))
    terminalreporter.section(f"ledger and bill in microcents: {packages}")
    names = [api.name for api in APIS]
    width = max(len(said) for said in table.values()) + 2
    first = max(len(column) for column, _ in table) + 2
    terminalreporter.write_line(" " * first + "".join(name.ljust(width) for name in names).rstrip())
    for column in dict.fromkeys(column for column, _ in table):
        cells = "".join(table.get((column, name), "").ljust(width) for name in names)
        terminalreporter.write_line(column.ljust(first) + cells.rstrip())
