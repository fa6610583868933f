"""MCP: tools of your server that spend, and their denials as clients receive them.

    @server.tool()
    @guarded(usd("0.01"))
    async def search(query: str) -> list[str]: ...

The client's model reads why a call was denied and when to try again. A program finds the same in the result, and can
raise it: `denial_in(result)`. `cycles mcp` is another thing: a server over which an agent budgets itself.
"""

from __future__ import annotations

import functools
import inspect
import uuid
from typing import TYPE_CHECKING, Any, Final, Unpack, cast, get_args, get_origin, get_type_hints

from mcp.server.mcpserver import Context

from cycles.errors import Denied, InvalidRequest
from cycles.integrations._tool_calls import ToolCall, ToolCallReplayed, authority_of
from cycles.integrations._tool_errors import denial_in, refusal_result

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcp_types import RequestParamsMeta

    from cycles.client import AsyncClient, Client
    from cycles.integrations._tool_calls import ToolOptions
    from cycles_api.models.amount import Amount

__all__ = ["CALL", "call_meta", "denial_in", "guarded"]

CALL: Final = "io.github.cycles-guard/call"
"""The name in `_meta` of a request under which a client names a call, so that a replay does not run it again."""

_CONTEXT: Final = "cycles_context"


def call_meta(run_id: str, call_id: str) -> RequestParamsMeta:
    """Return the `meta=` of a client's `call_tool` that names the call: the same call is then run once.

    Args:
        run_id: What names the client's run when it is replayed, too.
        call_id: What names the call within it, such as the model's tool call id.
    """
    return cast("RequestParamsMeta", {CALL: {"run_id": run_id, "call_id": call_id}})


def guarded(
    estimate: Amount | Callable[..., Amount | None] | None = None,
    *,
    client: Client | AsyncClient | None = None,
    **options: Unpack[ToolOptions],
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator of a server's tools, to stand below `@server.tool()`: each call is a section of its own.

    A denial, of this section or of guards and metered clients inside the tool, is the result of the call: an error that
    tells the model why, and in `_meta` the reason code and `retry_after`. So is a call that was replayed.

    Args:
        estimate: The most that a call costs, or a callable of the tool's own arguments. None: the tool is no section
            of its own, and the denials inside it are explained all the same.
        client: A Client or AsyncClient; the default one when None.
        **options: Fields of a `Guard`, such as `actual`, `agent`, `wait` and `on_error`.
    """
    authority = authority_of(client)

    def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
        name = getattr(function, "__name__", type(function).__name__)

        def call(context: Context[Any, Any] | None, arguments: dict[str, Any]) -> ToolCall | None:
            asked = estimate(**arguments) if callable(estimate) else estimate
            if asked is None:
                return None
            run_id, call_id = _named(context)
            return ToolCall(name, asked, run_id=run_id, call_id=call_id, authority=authority, **options)

        made = _async_tool(function, call) if _is_async(function) else _tool(function, call)
        return _with_context(made, function)

    return decorated


def _async_tool(function: Callable[..., Any], call: Callable[..., ToolCall | None]) -> Callable[..., Any]:
    async def tool(**arguments: Any) -> Any:
        context = _taken_context(arguments)
        try:
            section = call(context, arguments)
            if section is None:
                return await function(**arguments)
            async with section.arunning():
                return await function(**arguments)
        except (Denied, ToolCallReplayed) as error:
            return refusal_result(error)

    return tool


def _tool(function: Callable[..., Any], call: Callable[..., ToolCall | None]) -> Callable[..., Any]:
    def tool(**arguments: Any) -> Any:
        context = _taken_context(arguments)
        try:
            section = call(context, arguments)
            if section is None:
                return function(**arguments)
            with section.running():
                return function(**arguments)
        except (Denied, ToolCallReplayed) as error:
            return refusal_result(error)

    return tool


def _is_async(function: Any) -> bool:
    while isinstance(function, functools.partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


def _taken_context(arguments: dict[str, Any]) -> Context[Any, Any] | None:
    """Return the context of a call: ours, taken out of its *arguments*, or the tool's own, which stays there."""
    own = arguments.pop(_CONTEXT, None)
    return own or next((value for value in arguments.values() if isinstance(value, Context)), None)


def _takes_context(hint: Any) -> bool:
    kinds = (hint, get_origin(hint), *get_args(hint))
    return any(inspect.isclass(kind) and issubclass(kind, Context) for kind in kinds)


def _with_context(tool: Callable[..., Any], function: Callable[..., Any]) -> Callable[..., Any]:
    """Give *tool* the name, the documentation and the signature of *function*, and the server's context beside it."""
    made: Any = functools.wraps(function)(tool)
    del made.__wrapped__
    signature = inspect.signature(function, eval_str=True)
    if any(each.kind is inspect.Parameter.POSITIONAL_ONLY for each in signature.parameters.values()):
        raise InvalidRequest(f"{made.__name__}: a tool takes its arguments by name")
    hints = get_type_hints(function, include_extras=True)
    takes_context = any(_takes_context(hint) for name, hint in hints.items() if name != "return")
    parameters = list(signature.parameters.values())
    if not takes_context:
        context = inspect.Parameter(_CONTEXT, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Context)
        has_rest = bool(parameters) and parameters[-1].kind is inspect.Parameter.VAR_KEYWORD
        parameters.insert(len(parameters) - has_rest, context)
        hints[_CONTEXT] = Context
    made.__signature__ = signature.replace(parameters=parameters)
    made.__annotations__ = hints
    return made  # type: ignore[no-any-return]


def _named(context: Context[Any, Any] | None) -> tuple[str, str]:
    """Return the run and the id of a call: those that the client names, else a call that nobody replays."""
    meta: Any = None if context is None else context.request_context.meta
    told = meta.get(CALL) if isinstance(meta, dict) else None
    if isinstance(told, dict) and isinstance(told.get("run_id"), str) and isinstance(told.get("call_id"), str):
        return f"mcp:{told['run_id']}", told["call_id"]
    return "mcp", uuid.uuid4().hex
