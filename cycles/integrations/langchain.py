"""LangChain and LangGraph: a middleware for `create_agent`, and metered chat models (docs/frameworks.md).

    agent = create_agent(ChatOpenAI(model="gpt-4o"), tools=[search], middleware=[
        CyclesMiddleware(tools={"search": usd("0.01")}, agent="researcher"),
    ])

A callback can't stop a run: LangChain prints its exception, and calls the model all the same. So there is none here.
"""

from __future__ import annotations

import copy
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypeVar

from langchain.agents.middleware import AgentMiddleware
from langchain_core.messages import ToolMessage

from cycles._client.subjects import subject
from cycles._metered.transports import AsyncMeteredTransport, MeteredTransport
from cycles.errors import Denied, InvalidRequest
from cycles.guard import Guard
from cycles.integrations._denials import OnDenied, Refusal, checked_on_denied
from cycles.integrations._tool_calls import ToolCall, ToolCallReplayed
from cycles.integrations._tools import ToolCosts, Tools
from cycles.metered import wrap

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from typing import Unpack

    from langchain.agents.middleware import ModelRequest
    from langchain.agents.middleware.types import ModelCallResult, ModelResponse
    from langgraph.prebuilt.tool_node import ToolCallRequest
    from langgraph.types import Command

    from cycles._client.options import Levels
    from cycles.client import AsyncClient, Client

A = TypeVar("A")
M = TypeVar("M")
R = TypeVar("R")

__all__ = ["CyclesMiddleware", "metered"]

Models: TypeAlias = "Literal['meter', 'pass'] | Guard"
"""What the middleware does with model calls: meters them, leaves them alone, or puts a Guard around each."""

_CLIENTS: Final = ("root_client", "root_async_client", "client", "async_client", "_client", "_async_client")
"""Where chat models and embeddings of LangChain's packages keep the SDK's clients, or resources of them."""


# -- bare models -------------------------------------------------------------------------------------------------------
def metered(model: M, /, **options: Any) -> M:
    """Return a copy of a chat model, or of embeddings, whose requests `cycles.wrap` meters.

    Args:
        model: One that sends through an SDK that `cycles.wrap` takes: ChatOpenAI, AzureChatOpenAI, ChatAnthropic,
            ChatGroq, OpenAIEmbeddings and so on. The original stays as it is.
        **options: What `cycles.wrap` takes.

    Raises:
        InvalidRequest: it sends through nothing that can be metered; or it is metered already.
    """
    made = copy.copy(model)
    state = made.__dict__
    found = {name: client for name in _CLIENTS if (client := getattr(model, name, None)) is not None}
    if not found:
        raise InvalidRequest(
            f"metered: {type(model).__module__}.{type(model).__qualname__} has no client of an SDK that can be "
            "metered; put a cycles.Guard around its calls (CyclesMiddleware(models=Guard(…)) in an agent)"
        )
    for name, client in found.items():
        state[name] = _metered_client(client, options)
    return made


def _metered_client(client: Any, options: Mapping[str, Any]) -> Any:
    owner = _owner_of(client)
    return wrap(client, **options) if owner is None else type(client)(wrap(owner, **options))


def _owner_of(client: Any) -> Any:
    """Return the SDK's client that *client* is a resource of, such as `openai.OpenAI().chat.completions`, or None."""
    owner = getattr(client, "_client", None)
    return owner if hasattr(owner, "with_options") else None


def _is_metered(model: Any) -> bool:
    """Return whether *model* sends through metered transports."""
    for name in _CLIENTS:
        client = getattr(model, name, None)
        while client is not None:
            if isinstance(getattr(client, "_transport", None), MeteredTransport | AsyncMeteredTransport):
                return True
            client = getattr(client, "_client", None)
    return False


# -- agents ------------------------------------------------------------------------------------------------------------
class CyclesMiddleware(AgentMiddleware[Any, Any, Any]):
    """Guards an agent's model calls and tool calls.

    For `create_agent(…, middleware=[CyclesMiddleware(…)])`; last in the list, so that what is retried or added by the
    others is guarded, too. In a graph of your own give a `ToolNode` its `wrap_tool_call` and `awrap_tool_call`.

    Args:
        tools: What tool calls cost: an amount for each, or a mapping from names to amounts (or to mappings with an
            `estimate` and fields of a `Guard`). Tools that are not named are free. None: all are.
        on_denied: "raise" ends the run with the denial. "message" gives the model a tool message with the status
            "error" in place of the tool's result; a denied model call ends the run all the same.
        models: "meter" sends the agent's model calls through `cycles.wrap`; "pass" leaves them alone; a Guard is put
            around each, for models that can't be metered. Its callables take the `ModelRequest`, and `actual=` the
            `ModelResponse`.
        wrap_options: What `cycles.wrap` takes: prices, max_output and so on.
        client: Of the authority; the default one when None.
        **levels: Who spends for all that happens in the agent's model and tool calls; see `cycles.subject`.
    """

    def __init__(
        self,
        *,
        tools: ToolCosts | None = None,
        on_denied: OnDenied = "raise",
        models: Models = "meter",
        wrap_options: Mapping[str, Any] | None = None,
        client: Client | AsyncClient | None = None,
        **levels: Unpack[Levels],
    ) -> None:
        super().__init__()
        if models not in ("meter", "pass") and not isinstance(models, Guard):
            raise InvalidRequest(f"models={models!r}: choose 'meter' or 'pass', or give a cycles.Guard")
        self._costs: Final = Tools(tools, client)
        self._on_denied: Final = checked_on_denied(on_denied)
        self._models: Final = models
        self._options: Final = {"client": client, **(wrap_options or {})}
        self._subject: Final = subject(**levels)
        self._metered: Final[dict[int, tuple[Any, Any]]] = {}

    # -- model calls ---------------------------------------------------------------------------------------------------
    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelCallResult[Any]:
        """Send a model call for the agent's subject, metered or guarded."""
        with self._subject:
            if isinstance(self._models, Guard):
                return self._models(_plain(handler))(request)
            return handler(self._prepared(request))

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelCallResult[Any]:
        """The same for asynchronous code; see `wrap_model_call`."""
        with self._subject:
            if isinstance(self._models, Guard):
                return await self._models(_plain_async(handler))(request)
            return await handler(self._prepared(request))

    def _prepared(self, request: ModelRequest[Any]) -> ModelRequest[Any]:
        if self._models == "pass" or _is_metered(request.model):
            return request
        return request.override(model=self._metered_once(request.model))

    def _metered_once(self, model: Any) -> Any:
        """Return the metered copy of *model*, which is made once: connections and caps outlast a call."""
        kept = self._metered.get(id(model))
        if kept is None or kept[0] is not model:
            if len(self._metered) >= _MANY_MODELS:  # they are made anew for each call
                self._metered.pop(next(iter(self._metered)), None)
            kept = self._metered[id(model)] = (model, metered(model, **self._options))
        return kept[1]

    # -- tool calls ----------------------------------------------------------------------------------------------------
    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], ToolMessage | Command[Any]]
    ) -> ToolMessage | Command[Any]:
        """Run a tool inside a section of its own, once."""
        with self._subject:
            try:
                call = self._call(request)
                if call is None:
                    return handler(request)
                with call.running():
                    return handler(request)
            except (Denied, ToolCallReplayed) as error:
                return self._refused(request, error)

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]]
    ) -> ToolMessage | Command[Any]:
        """The same for asynchronous code; see `wrap_tool_call`."""
        with self._subject:
            try:
                call = self._call(request)
                if call is None:
                    return await handler(request)
                async with call.arunning():
                    return await handler(request)
            except (Denied, ToolCallReplayed) as error:
                return self._refused(request, error)

    def _call(self, request: ToolCallRequest) -> ToolCall | None:
        run_id, call_id = _names(request)
        return self._costs.call(request.tool_call["name"], run_id=run_id, call_id=call_id)

    def _refused(self, request: ToolCallRequest, error: Denied | ToolCallReplayed) -> ToolMessage:
        """Return what the model is told, or raise *error*, where that is to end the run."""
        if self._on_denied == "raise":
            raise error
        refusal = Refusal.of(error)
        return ToolMessage(
            content=str(refusal),
            name=request.tool_call["name"],
            tool_call_id=request.tool_call["id"],
            status=refusal.status,
            artifact=refusal.as_dict(),
        )


_MANY_MODELS: Final = 64


def _plain(handler: Callable[[A], R]) -> Callable[[A], R]:
    def call_model(request: A) -> R:
        return handler(request)

    return call_model


def _plain_async(handler: Callable[[A], Awaitable[R]]) -> Callable[[A], Coroutine[Any, Any, R]]:
    async def call_model(request: A) -> R:
        return await handler(request)

    return call_model


def _names(request: ToolCallRequest) -> tuple[str, str]:
    """Return what names the run and the call when they are replayed, too.

    A checkpoint keeps the message that asked for the call, and its id. Some models count their calls anew in each
    message, so the call's id alone does not name it. Without a thread there is no checkpoint: then a replay, as by a
    retry of the tool's node, has the same message.
    """
    config = getattr(request.runtime, "config", None) or {}
    thread = (config.get("configurable") or {}).get("thread_id")
    call_id = request.tool_call["id"]
    message = _message_of(request.state, call_id)
    if call_id is None or (thread is None and message is None):
        return "", uuid.uuid4().hex  # nothing names it, so it can't be told from another one
    return f"thread:{thread}" if thread is not None else "", f"{message or ''}/{call_id}"


def _message_of(state: Any, call_id: str | None) -> str | None:
    """Return the id of the message that asked for a call."""
    messages: Any = state
    if not isinstance(state, list):
        messages = state.get("messages") if isinstance(state, Mapping) else getattr(state, "messages", None)
    for message in reversed(messages or ()):
        if any(call["id"] == call_id for call in getattr(message, "tool_calls", ())):
            return getattr(message, "id", None)
    return None
