"""The cells' world, and the table that they make."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pytest

pytest.register_assert_rewrite("tests.metering.sdk.world")

from tests.metering.sdk.apis import APIS  # noqa: E402 - after the line above
from tests.metering.sdk.world import World  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Generator

FILES = ("test_table", "test_ways", "test_denials")  # in this order
SHOWN = pytest.StashKey[World]()


@pytest.fixture(params=APIS, ids=lambda api: api.name)
def world(request, provider, cycles_authority):
    world = World(request.param, provider, cycles_authority)
    request.node.stash[SHOWN] = world
    yield world
    world.close()


def _row(item: Any) -> str:
    """Return what a test is about: its name, and what it is a case of."""
    name = item.name.partition("[")[0].removeprefix("test_").replace("_", " ")
    cases = [value for key, value in item.callspec.params.items() if key != "world"]
    return " ".join([name, *(getattr(case, "__name__", str(case)).strip("_").replace("_", " ") for case in cases)])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Generator[None, Any, Any]:
    """Give the report of a test its cell; it reaches the process that prints the table, also under xdist."""
    report = yield
    world = item.stash.get(SHOWN, None)
    if world is not None and (report.when == "call" or report.failed):
        said = "RED" if report.failed else "-" if report.skipped else world.shown or "ok"
        place = (FILES.index(item.path.stem), item.function.__code__.co_firstlineno, _row(item))
        report.user_properties.append(("cell", [list(place), world.api.name, said]))
    return report


class Table:
    """What all tests have found. There are more rows than APIs, so those are the columns."""

    def __init__(self) -> None:
        self.cells: dict[tuple[Any, ...], dict[str, str]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for name, value in report.user_properties:
            if name == "cell":
                place, api, said = value
                row = self.cells.setdefault(tuple(place), {})
                row[api] = said if row.get(api) != "RED" else "RED"

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if not self.cells:
            return
        packages = ", ".join(f"{name} {version(name)}" for name in dict.fromkeys(api.package for api in APIS))
        terminalreporter.section(f"ledger and bill in microcents: {packages}")
        names = [api.name for api in APIS]
        width = max(len(said) for row in self.cells.values() for said in [*names, *row.values()]) + 2
        first = max(len(place[-1]) for place in self.cells) + 2
        terminalreporter.write_line(" " * first + "".join(name.ljust(width) for name in names).rstrip())
        for place in sorted(self.cells):
            cells = "".join(self.cells[place].get(name, "").ljust(width) for name in names)
            terminalreporter.write_line(place[-1].ljust(first) + cells.rstrip())


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # a worker of xdist has a part of the reports
        config.pluginmanager.register(Table(), "metering-table")
