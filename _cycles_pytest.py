"""The door through which pytest finds `cycles.testing.plugin`; it is opened in every run of whoever installed cycles.

So it stands outside the package and imports pytest alone: `import cycles` costs time, and what is imported before
coverage starts is never measured. What the fixtures do is in the plugin, which is imported by the first test that uses
one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cycles import AsyncClient, Client
    from cycles.testing.plugin import AuthorityOfTest

_MARKER = (
    'cycles(budget="usd:1.00", tenant="default", overdraft_limit=None, caps=None, **settings): a test whose guards '
    "spend at an authority of its own, the fixture cycles_authority; settings are those of cycles.Config"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the settings of pytest's configuration file."""
    parser.addini(
        "cycles_budget",
        "what a test with cycles_authority may spend: one budget for each unit",
        type="args",
        default=["usd:1.00", "tokens:1000000"],
    )
    parser.addini("cycles_tenant", "whom a test with cycles_authority spends for", default="default")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    config.addinivalue_line("markers", _MARKER)


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(collector: pytest.Module | pytest.Class, name: str, obj: object) -> None:
    """Give a marked test its authority: without one it would spend at whatever the environment names."""
    if isinstance(obj, type):
        inherited = False  # its methods come here too, unless it is of unittest; those have the class's fixtures
    elif collector.istestfunction(obj, name):
        inherited = collector.get_closest_marker("cycles") is not None
    else:
        return
    own = getattr(obj, "pytestmark", ())
    if inherited or (isinstance(own, list) and any(mark.name == "cycles" for mark in own)):
        pytest.mark.usefixtures("cycles_authority")(obj)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Refuse a test that is marked in a way that could not give it an authority (a mark of one parameter set)."""
    if item.get_closest_marker("cycles") is not None and "cycles_authority" not in getattr(item, "fixturenames", ()):
        pytest.fail(
            f"{item.name} is marked cycles(…), but has no authority: name cycles_authority in its arguments, or in "
            '@pytest.mark.usefixtures("cycles_authority")',
            pytrace=False,
        )


@pytest.fixture
def cycles_authority(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[AuthorityOfTest]:
    """An authority in memory with a budget, at which guards and clients of this test spend by themselves.

    Its clock stands still: `cycles_authority.advance(30)`. See `cycles.local.LocalAuthority` for budgets, faults,
    requests and events; `@pytest.mark.cycles(budget="usd:0.10", tenant="acme")` for another start.
    """
    from cycles.testing import plugin  # noqa: PLC0415 - see the module's docstring

    with plugin.authority(request.node, request.config, monkeypatch) as authority:
        yield authority


@pytest.fixture
def cycles_client(cycles_authority: AuthorityOfTest) -> Client:
    """The client that guards of this test use in blocking code."""
    from cycles.testing import plugin  # noqa: PLC0415 - see the module's docstring

    return plugin.client_of(cycles_authority)


@pytest.fixture
def cycles_async_client(cycles_authority: AuthorityOfTest) -> AsyncClient:
    """The client that guards of this test use in asynchronous code."""
    from cycles.testing import plugin  # noqa: PLC0415 - see the module's docstring

    return plugin.async_client_of(cycles_authority)
