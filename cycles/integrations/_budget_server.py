"""The MCP server of `cycles mcp`: a desk's methods as tools, with schemas of what they take and what they answer."""

from __future__ import annotations

import functools
import inspect
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from mcp.server import MCPServer
from mcp_types import ToolAnnotations

from cycles.client import AsyncClient
from cycles.errors import CyclesError
from cycles.integrations._budget_desk import BudgetDesk
from cycles.integrations._tool_errors import error_result

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from cycles.config import Config

INSTRUCTIONS: Final = """\
Your budget. Before you spend money or tokens, `reserve` the most that it may cost; when that is an error, do not spend.
Afterwards `commit` what it really cost, or `release` the reservation. `event` charges what was spent already, `balance`
shows what is left, and `decide` asks without holding anything. Amounts are decimal texts: "0.05" with unit "usd"."""

_READS: Final = ToolAnnotations(read_only_hint=True, open_world_hint=False)
_CHANGES: Final = ToolAnnotations(read_only_hint=False, destructive_hint=False, open_world_hint=False)
_ENDS: Final = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=False
)

TOOLS: Final[dict[str, tuple[str, ToolAnnotations]]] = {
    "balance": ("balance", _READS),
    "decide": ("decide", _READS),
    "reserve": ("reserve", _CHANGES),
    "commit": ("commit", _ENDS),
    "release": ("release", _ENDS),
    "extend": ("extend", _CHANGES),
    "event": ("event", _CHANGES),
    "list": ("list_reservations", _READS),
}
"""The tools, and the desk's method behind each."""


class _Session:
    """The desk that is open now; a server over stdio has one session."""

    desk: BudgetDesk | None = None


def budget_server(config: Config | None = None, *, client: AsyncClient | None = None) -> MCPServer[None]:
    """Return an MCP server over which an agent budgets itself; `run()` it over stdio.

    Args:
        config: Whose budgets; the environment's when None.
        client: A client of yours, which is not closed, in place of *config*.
    """
    open_now = _Session()

    @asynccontextmanager
    async def lifespan(_server: MCPServer[None]) -> AsyncIterator[None]:
        used = AsyncClient(config) if client is None else client
        try:
            desk = BudgetDesk(used)
            async with desk.session():
                open_now.desk = desk
                yield
        finally:
            open_now.desk = None
            if client is None:
                await used.close()

    server: MCPServer[None] = MCPServer(
        "cycles", instructions=INSTRUCTIONS, version=version("cycles-guard"), lifespan=lifespan, log_level="WARNING"
    )
    for name, (method, hints) in TOOLS.items():
        server.tool(name=name, annotations=hints)(_tool(open_now, getattr(BudgetDesk, method)))
    return server


def _tool(open_now: _Session, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """Return *method* of the desk that is open as a tool: our errors are answers that the agent can act on."""

    @functools.wraps(method)
    async def tool(**arguments: Any) -> Any:
        assert open_now.desk is not None  # noqa: S101 - types: tools are called inside the lifespan
        try:
            return await method(open_now.desk, **arguments)
        except CyclesError as error:
            return error_result(error)

    whole = inspect.signature(method)
    without_self = whole.replace(parameters=list(whole.parameters.values())[1:])
    tool.__signature__ = without_self  # type: ignore[attr-defined]  # what registers tools reads it
    return tool
