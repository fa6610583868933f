"""The tools of an agent, and what their calls cost: what an adapter is told once, and asks for each call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from cycles.amounts import check
from cycles.errors import InvalidRequest
from cycles.integrations._tool_calls import ToolCall, ToolOptions, authority_of
from cycles_api.models.amount import Amount

if TYPE_CHECKING:
    from typing import Required

    from cycles.client import AsyncClient, Client


class ToolTerms(ToolOptions, total=False):
    """What the calls of one tool cost, and the fields of a `Guard` that they have."""

    estimate: Required[Amount]
    """The most that one call costs."""


ToolCosts: TypeAlias = "Amount | Mapping[str, Amount | ToolTerms]"
"""What the calls of tools cost: all tools alike, or some by name. Tools that are not named are free."""

_KNOWN: Final = frozenset(ToolTerms.__annotations__)


class Tools:
    """What tools cost.

    Args:
        costs: See `ToolCosts`; None when all are free.
        client: Of the authority; the default one when None.

    Raises:
        InvalidRequest: naming the tool and what is wrong.
    """

    def __init__(self, costs: ToolCosts | None, client: Client | AsyncClient | None = None) -> None:
        self._authority: Final = authority_of(client)
        self._terms: Final[dict[str, dict[str, Any]]] = {}
        self._terms_of_all: dict[str, Any] | None = None
        if costs is None:
            return
        if isinstance(costs, Amount):
            self._terms_of_all = {"estimate": check("tools", costs)}
            return
        if not isinstance(costs, Mapping):
            raise InvalidRequest(f"tools={costs!r}: give an amount, or a mapping from the tools' names to amounts")
        for name, cost in costs.items():
            self._terms[name] = _terms(name, cost)

    def call(self, name: str, *, run_id: str, call_id: str) -> ToolCall | None:
        """Return the section of one call of the tool *name*; None when the tool is free."""
        terms: dict[str, Any] | None = self._terms.get(name, self._terms_of_all)
        if terms is None:
            return None
        return ToolCall(name, run_id=run_id, call_id=call_id, authority=self._authority, **terms)


def _terms(name: str, cost: Any) -> dict[str, Any]:
    if isinstance(cost, Amount):
        return {"estimate": check(f"tools[{name!r}]", cost)}
    if not isinstance(cost, Mapping) or "estimate" not in cost:
        raise InvalidRequest(f"tools[{name!r}]={cost!r}: give an amount, or a mapping with an estimate")
    unknown = sorted(set(cost) - _KNOWN)
    if unknown:
        raise InvalidRequest(f"tools[{name!r}]: {unknown[0]!r} is no field; there are {', '.join(sorted(_KNOWN))}")
    return {**cost, "estimate": check(f"tools[{name!r}]", cost["estimate"])}
