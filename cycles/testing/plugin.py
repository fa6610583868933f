"""The pytest fixtures' work (docs/testing.md). `_cycles_pytest` imports this module when a test first needs it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from cycles import amounts
from cycles.client import DEFAULTS
from cycles.config import SETTINGS, Config
from cycles.errors import ConfigError
from cycles.local import LocalAuthority, ManualClock
from cycles.local.admin.names import parse_budget, unit_named
from cycles.local.registry import standing_in
from cycles_api.models.amount import Amount

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

    from cycles.client import AsyncClient, Client

_ARRANGED: Final = ("budget", "tenant", "overdraft_limit", "caps")
"""Names that the marker takes beside settings."""

_NOT_SET: Final = ("base_url", "api_key", "tenant")
"""Settings that are the fixture's own."""


class AuthorityOfTest(LocalAuthority):
    """The authority of one test: what `local:` means in this process while the test runs.

    Attributes:
        scope: The scope path of its budgets, "tenant:default".

    Example:
        ```python
        import cycles
        from cycles import usd
        from cycles.testing.plugin import AuthorityOfTest


        def test_it_spends(cycles_authority: AuthorityOfTest) -> None:
            with cycles.Guard(usd("0.05"), action=("tool.search", "web")) as reservation:
                reservation.report(actual=usd("0.02"))
            assert cycles_authority.spent() == usd("0.02")
        ```
    """

    def __init__(self, scope: str) -> None:
        super().__init__(clock=ManualClock())
        self.scope: Final = scope

    def spent(self, unit: str = "usd", *, scope: str | None = None) -> Amount:
        """Return what was charged, to compare with `usd("0.30")`.

        Args:
            unit: "usd", "tokens", "credits" or "risk_points".
            scope: Another scope path than the budget of the test's tenant.

        Raises:
            ConfigError: when there is no such unit.
            InvalidRequest: when there is no such budget.

        Example:
            ```python
            import cycles
            from cycles import usd
            from cycles.testing.plugin import AuthorityOfTest


            def test_a_search_costs_two_cents(cycles_authority: AuthorityOfTest) -> None:
                with cycles.Guard(usd("0.05"), action=("tool.search", "web")) as reservation:
                    reservation.report(actual=usd("0.02"))
                assert cycles_authority.spent("usd") == usd("0.02")
            ```
        """
        row = self.balance(scope or self.scope, unit_named(unit))
        return Amount(unit=row.unit, amount=row.spent)

    def reserved(self, unit: str = "usd", *, scope: str | None = None) -> Amount:
        """Return what is held by reservations that are not settled yet; see `spent`.

        Example:
            ```python
            import cycles
            from cycles import usd
            from cycles.testing.plugin import AuthorityOfTest


            def test_five_cents_are_held_meanwhile(cycles_authority: AuthorityOfTest) -> None:
                with cycles.Guard(usd("0.05"), action=("tool.search", "web")):
                    assert cycles_authority.reserved("usd") == usd("0.05")
                assert cycles_authority.reserved("usd") == usd("0")
            ```
        """
        row = self.balance(scope or self.scope, unit_named(unit))
        return Amount(unit=row.unit, amount=row.reserved)


@contextmanager
def authority(node: pytest.Item, config: pytest.Config, monkeypatch: pytest.MonkeyPatch) -> Iterator[AuthorityOfTest]:
    """Open the authority of the test *node*, arranged as its marks and pytest's configuration say.

    Meanwhile the environment, the default client and the `local:` of this process are this test's alone.
    """
    arranged = {"budget": config.getini("cycles_budget"), "tenant": config.getini("cycles_tenant"), **_marked(node)}
    tenant = arranged.pop("tenant")
    budgets = _amounts("budget", arranged.pop("budget"))
    overdrafts = {limit.unit: limit for limit in _amounts("overdraft_limit", arranged.pop("overdraft_limit", None))}
    caps = arranged.pop("caps", None)
    _set_environment(monkeypatch, {"tenant": tenant, **arranged})
    with AuthorityOfTest(f"tenant:{tenant}") as made, standing_in(made), DEFAULTS.set_aside():
        Config.from_env()  # a setting that is wrong says so here, and not inside the code under test
        for budget in budgets:
            made.budget(made.scope, budget, overdraft_limit=overdrafts.pop(budget.unit, None), caps=caps)
        if overdrafts:
            raise ConfigError(f"overdraft_limit: there is no budget in {', '.join(overdrafts)} that may be overdrawn")
        yield made


def client_of(made: AuthorityOfTest) -> Client:
    """Return the client that guards in blocking code use while *made* stands in."""
    del made  # a parameter, so that it stands in before the client opens
    return DEFAULTS.client()


def async_client_of(made: AuthorityOfTest) -> AsyncClient:
    """Return the client that guards in asynchronous code use while *made* stands in."""
    del made
    return DEFAULTS.async_client()


def _marked(node: pytest.Item) -> dict[str, Any]:
    """Return the arguments of the marks at *node*; the closest wins, name by name."""
    allowed = [*_ARRANGED, *(setting.name for setting in SETTINGS if setting.name not in _NOT_SET)]
    arranged: dict[str, Any] = {}
    for mark in node.iter_markers("cycles"):
        if mark.args:
            raise ConfigError(f"@pytest.mark.cycles({mark.args[0]!r}): name it, as in budget={mark.args[0]!r}")
        unknown = sorted(set(mark.kwargs) - set(allowed))
        if unknown:
            raise ConfigError(f"@pytest.mark.cycles({unknown[0]}=…): there are {', '.join(allowed)}")
        arranged = {**mark.kwargs, **arranged}
    return arranged


def _set_environment(monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]) -> None:
    """Make `Config.from_env()` return *settings*, and nothing from the shell that runs the tests.

    The test's own monkeypatch does it: one stack undoes all changes in order, the test's own among them.
    """
    settings = {"base_url": "local:", "retry_initial_delay": 0.0, **settings}
    for setting in SETTINGS:
        variable = f"CYCLES_{setting.name.upper()}"
        value = settings.get(setting.name)
        if value is None:
            monkeypatch.delenv(variable, raising=False)
        else:
            monkeypatch.setenv(variable, str(value))


def _amounts(name: str, given: Any) -> list[Amount]:
    """Return no, one or several amounts, in any notation."""
    if given is None:
        return []
    return [_amount(name, one) for one in (given if isinstance(given, list | tuple) else [given])]


def _amount(name: str, given: Any) -> Amount:
    if isinstance(given, Amount):
        return amounts.check(name, given)
    if not isinstance(given, str) or ":" not in given:
        raise ConfigError(f'{name}={given!r}: write "usd:1.00", or give usd("1.00")')
    unit, _, amount = given.partition(":")
    return parse_budget(unit, amount)
