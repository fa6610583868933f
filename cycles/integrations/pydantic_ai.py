"""Pydantic AI: a `Budget` of an agent, which guards its model requests and its tools.

    agent = Agent("openai:gpt-4o", capabilities=[Budget(tools=usd("0.01"))])

Every model that serves a request of the agent is metered by `cycles.wrap`, streamed or not, and every tool call is a
section of its own. Without an agent, or for one model or toolset: `GuardedModel` and `GuardedToolset`.
"""

from __future__ import annotations

import copy
import uuid
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Unpack

from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.exceptions import ToolFailed
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.models.test import TestModel
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.tools import AgentDepsT, RunContext
from pydantic_ai.toolsets import AbstractToolset, ToolsetTool, WrapperToolset

from cycles.errors import Denied, InvalidRequest, Unmeterable
from cycles.integrations._denials import OnDenied, Refusal, checked_on_denied
from cycles.integrations._tool_calls import ToolCall, ToolCallReplayed, authority_of
from cycles.metered import wrap

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from pydantic_ai.messages import ModelMessage, ModelResponse
    from pydantic_ai.models import Model, ModelRequestContext, ModelRequestParameters, StreamedResponse
    from pydantic_ai.providers import Provider
    from pydantic_ai.settings import ModelSettings
    from pydantic_ai.usage import RequestUsage

    from cycles.client import AsyncClient, Client
    from cycles.integrations._tool_calls import ToolOptions
    from cycles_api.models.amount import Amount

__all__ = ["Budget", "GuardedModel", "GuardedToolset"]

_REMEDY: Final = "use a model whose SDK cycles.wrap knows (docs/metering.md), or put a cycles.Guard around the run"


_MOST_MODELS: Final = 64
"""Guarded models that a `Budget` keeps: a program may make a model for each run."""


# -- models ------------------------------------------------------------------------------------------------------------
class GuardedModel(WrapperModel):
    """A model whose requests are reserved, priced and charged by `cycles.wrap`, whole answers and streams alike.

    It sends through the client of the model that it wraps, which stays as it is, and is opened and closed as before.
    `TestModel` and `FunctionModel` send nothing, so there is nothing to charge.

    Args:
        wrapped: A model, or its name.
        **options: Those of `cycles.wrap`: prices, max_output, agent and so on.

    Raises:
        InvalidRequest: it can't be metered; says why.
    """

    def __init__(self, wrapped: Model | str, **options: Any) -> None:
        super().__init__(wrapped)
        self._metered = _metered(self.wrapped, options)

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        """Ask the model; a denial is raised."""
        self._must_use_http(model_settings)
        return await self._metered.request(messages, model_settings, model_request_parameters)

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: RunContext[Any] | None = None,
    ) -> AsyncGenerator[StreamedResponse]:
        """Ask the model for a stream; a denial is raised. What a stream that is left has cost is charged."""
        self._must_use_http(model_settings)
        asked = self._metered.request_stream(messages, model_settings, model_request_parameters, run_context)
        async with asked as response:
            yield response

    async def count_tokens(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> RequestUsage:
        """Count tokens, which is free."""
        return await self._metered.count_tokens(messages, model_settings, model_request_parameters)

    async def compact_messages(
        self, request_context: ModelRequestContext, *, instructions: str | None = None
    ) -> ModelResponse:
        """Have the provider compact the messages; metered, or refused where that can't be bounded."""
        context = replace(request_context, model=self._metered)
        return await self._metered.compact_messages(context, instructions=instructions)

    async def batch_create(self, requests: Any) -> Any:
        """Refuse a batch: its cost is not known while anybody waits for it."""
        del requests
        raise Unmeterable(f"a batch of {self.model_id} can't be metered: nothing was sent; ask without a batch")

    def _must_use_http(self, model_settings: ModelSettings | None) -> None:
        chosen: Mapping[str, Any] = {**(self.settings or {}), **(model_settings or {})}
        if chosen.get("openai_transport", "http") != "http":
            raise Unmeterable("openai_transport='websocket' can't be metered: nothing was sent; use 'http'")


def _metered(model: Model, options: dict[str, Any]) -> Model:
    """Return a copy of *model* that sends through a metered client."""
    if isinstance(model, GuardedModel):
        raise InvalidRequest("this model is guarded already, and would be charged twice")
    if isinstance(model, TestModel | FunctionModel):
        return model
    copied: Any = copy.copy(model)
    if isinstance(model, WrapperModel):
        copied.wrapped = _metered(model.wrapped, options)
        return copied  # type: ignore[no-any-return]
    if isinstance(model, FallbackModel):
        copied.models = [_metered(each, options) for each in model.models]
        return copied  # type: ignore[no-any-return]
    provider = model.provider
    if provider is None or vars(model).get("_provider") is not model.provider:
        raise InvalidRequest(f"{type(model).__name__} can't be metered: it has no SDK client of its own; {_REMEDY}")
    copied._provider = _metered_provider(provider, options)  # noqa: SLF001 - there is no public way to set it
    return copied  # type: ignore[no-any-return]


def _metered_provider(provider: Provider[Any], options: dict[str, Any]) -> Provider[Any]:
    """Return a copy of *provider* whose client is metered: whichever client the provider has at the time."""
    copied: Any = copy.copy(provider)
    client = _LiveClient(provider, options)
    client.now()  # what can't be metered says so here
    kind = type(provider)
    copied.__class__ = type(kind.__name__, (kind,), {"client": property(lambda _: client.now())})
    return copied  # type: ignore[no-any-return]


class _LiveClient:
    """The metered twin of a provider's client, made anew when the provider changes the HTTP client in it."""

    def __init__(self, provider: Provider[Any], options: dict[str, Any]) -> None:
        self._provider: Final = provider
        self._options: Final = options
        self._of: tuple[Any, Any] = (None, None)
        self._metered: Any = None

    def now(self) -> Any:
        """Return the metered twin of the client that the provider has now."""
        bare = self._provider.client
        sends_by = _http_client_in(bare)
        if self._of[0] is not bare or self._of[1] is not sends_by:
            self._metered = wrap(bare, **self._options)
            self._of = (bare, sends_by)
        return self._metered


def _http_client_in(client: Any) -> Any:
    """Return the HTTP client that an SDK's *client* sends through, or None when it is not known."""
    google = getattr(client, "_api_client", None)
    if google is not None:
        return getattr(google, "_async_httpx_client", None)
    mistral = getattr(client, "sdk_configuration", None)
    if mistral is not None:
        return getattr(mistral, "async_client", None)
    return getattr(client, "_client", None)


# -- tools -------------------------------------------------------------------------------------------------------------
class GuardedToolset(WrapperToolset[AgentDepsT]):
    """A toolset each of whose calls is a section of its own: reserved before it runs, charged after it.

    A call that is replayed in the same conversation or run is not run again; it is a `ToolCallReplayed`.

    Args:
        wrapped: The toolset.
        estimate: The most that a call costs: an amount, or a callable of the tool's name and arguments. None from it
            leaves a call unguarded.
        on_denied: "raise" ends the run with the denial; "message" tells the model that the call failed, and when it
            may succeed.
        client: A Client or AsyncClient; the default one when None.
        **options: Fields of a `Guard`, such as `actual`, `agent`, `wait` and `on_error`.
    """

    def __init__(
        self,
        wrapped: AbstractToolset[AgentDepsT],
        estimate: Amount | Callable[[str, dict[str, Any]], Amount | None],
        *,
        on_denied: OnDenied = "raise",
        client: Client | AsyncClient | None = None,
        **options: Unpack[ToolOptions],
    ) -> None:
        super().__init__(wrapped)
        self._tools = _Tools(estimate, checked_on_denied(on_denied), client, options)

    async def for_run(self, ctx: RunContext[AgentDepsT]) -> AbstractToolset[AgentDepsT]:
        """Return the toolset of one run."""
        return self._around(await self.wrapped.for_run(ctx))

    async def for_run_step(self, ctx: RunContext[AgentDepsT]) -> AbstractToolset[AgentDepsT]:
        """Return the toolset of one step of a run."""
        return self._around(await self.wrapped.for_run_step(ctx))

    def visit_and_replace(
        self, visitor: Callable[[AbstractToolset[AgentDepsT]], AbstractToolset[AgentDepsT]]
    ) -> AbstractToolset[AgentDepsT]:
        """Return the same guards around what *visitor* makes of the toolset."""
        return self._around(self.wrapped.visit_and_replace(visitor))

    def _around(self, wrapped: AbstractToolset[AgentDepsT]) -> AbstractToolset[AgentDepsT]:
        if wrapped is self.wrapped:
            return self
        copied = copy.copy(self)
        copied.wrapped = wrapped
        return copied

    async def call_tool(
        self, name: str, tool_args: dict[str, Any], ctx: RunContext[AgentDepsT], tool: ToolsetTool[AgentDepsT]
    ) -> Any:
        """Run one call of a tool, if the budget allows it."""
        call = self._tools.call(name, tool_args, ctx)
        if call is None:
            return await self.wrapped.call_tool(name, tool_args, ctx, tool)
        try:
            async with call.arunning():
                return await self.wrapped.call_tool(name, tool_args, ctx, tool)
        except (Denied, ToolCallReplayed) as error:
            if self._tools.on_denied == "raise":
                raise
            raise ToolFailed(str(Refusal.of(error))) from error


class _Tools:
    """How the calls of tools are guarded."""

    def __init__(
        self,
        estimate: Amount | Callable[[str, dict[str, Any]], Amount | None],
        on_denied: OnDenied,
        client: Client | AsyncClient | None,
        options: ToolOptions,
    ) -> None:
        self.on_denied: Final = on_denied
        self._estimate: Final = estimate
        self._client: Final = client
        self._options: Final = options

    @cached_property
    def _authority(self) -> Any:
        return authority_of(self._client)

    def call(self, name: str, arguments: dict[str, Any], ctx: RunContext[Any]) -> ToolCall | None:
        estimate = self._estimate(name, arguments) if callable(self._estimate) else self._estimate
        if estimate is None:
            return None
        return ToolCall(
            name,
            estimate,
            run_id=_run_of(ctx),
            call_id=ctx.tool_call_id or uuid.uuid4().hex,
            authority=self._authority,
            **self._options,
        )


def _run_of(ctx: RunContext[Any]) -> str:
    """Return what names the run when it is replayed: a conversation keeps its id where a run gets a new one."""
    return ctx.conversation_id or ctx.run_id or ""


# -- an agent ----------------------------------------------------------------------------------------------------------
class Budget(AbstractCapability[AgentDepsT]):
    """What an agent may spend: a capability that guards every model request and every tool call of its runs.

    Also of `agent.run(model=…)`, of fallbacks, and of tools that a run adds. The limit of a run is a `cycles.Limit`
    around it; who spends is said by `cycles.subject`, or by the levels in *options*.

    Args:
        tools: The most that a tool call costs: an amount, or a callable of the tool's name and arguments, which
            leaves a call unguarded by None. None guards no tool.
        on_denied: What a denied tool call does: "raise" ends the run with the denial; "message" tells the model. A
            denied model request always ends the run.
        tool_options: Fields of a `Guard` for tool calls, such as `actual` and `on_error`.
        client: A Client or AsyncClient; the default one when None.
        **options: Those of `cycles.wrap` for models: prices, max_output, agent and so on.
    """

    def __init__(
        self,
        *,
        tools: Amount | Callable[[str, dict[str, Any]], Amount | None] | None = None,
        on_denied: OnDenied = "raise",
        tool_options: ToolOptions | None = None,
        client: Client | AsyncClient | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self._tools: Final = tools
        self._on_denied: Final = checked_on_denied(on_denied)
        self._tool_options: Final[ToolOptions] = {} if tool_options is None else tool_options
        self._client: Final = client
        self._options: Final = {**options, "client": client}
        self._models: Final[dict[int, GuardedModel]] = {}

    def get_wrapper_model(self, model: Model) -> Model | None:
        """Return *model*, guarded."""
        if isinstance(model, GuardedModel):
            return None
        known = self._models.get(id(model))  # which lives as long as its guard is kept here
        if known is None:
            if len(self._models) == _MOST_MODELS:
                del self._models[next(iter(self._models))]
            known = self._models[id(model)] = GuardedModel(model, **self._options)
        return known

    def get_wrapper_toolset(self, toolset: AbstractToolset[AgentDepsT]) -> AbstractToolset[AgentDepsT] | None:
        """Return *toolset*, guarded."""
        if self._tools is None:
            return None
        return GuardedToolset(
            toolset, self._tools, on_denied=self._on_denied, client=self._client, **self._tool_options
        )
