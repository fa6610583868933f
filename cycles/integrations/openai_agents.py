"""The OpenAI Agents SDK: guarded teams of agents, and a model provider that meters (docs/frameworks.md).

    team = guarded(triage, tools={"search": usd("0.01")})
    await Runner.run(team, "Why?", hooks=CyclesHooks())

The SDK turns what a tool raises into text for the model, so a denied agent would go on. In a guarded team a denial ends
the run: as the denial itself, `cycles.BudgetExceeded` or another `cycles.Denied`, which is an `AgentsException`, too.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import uuid
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from agents import Agent, AgentsException, FunctionTool, Handoff, ModelProvider, OpenAIProvider, RunHooks
from agents.models import get_default_model_settings
from agents.models.interface import Model
from agents.retry import ModelRetryAdvice
from agents.tool import resolve_function_tool_failure_error_function, set_function_tool_failure_error_function
from agents.tracing import get_current_trace
from openai import AsyncOpenAI

from cycles._client.subjects import subject
from cycles._core.levels import level
from cycles._metered.transports import AsyncMeteredTransport
from cycles.errors import CyclesError, Denied, InvalidRequest
from cycles.integrations._denials import OnDenied, Refusal, checked_on_denied
from cycles.integrations._tool_calls import ToolCallReplayed
from cycles.integrations._tools import ToolCosts, Tools
from cycles.integrations.retries import is_retryable
from cycles.metered import wrap

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractContextManager
    from typing import Unpack

    from agents import RunContextWrapper
    from agents.items import ModelResponse, TResponseStreamEvent
    from agents.retry import ModelRetryAdviceRequest
    from agents.tool_context import ToolContext

    from cycles._client.options import Levels
    from cycles.client import AsyncClient, Client

T = TypeVar("T")

__all__ = ["CyclesHooks", "CyclesProvider", "guarded"]

_REFUSED: Final = (Denied, ToolCallReplayed)


# -- models ------------------------------------------------------------------------------------------------------------
class CyclesProvider(ModelProvider):
    """Gives models whose requests `cycles.wrap` meters: `RunConfig(model_provider=CyclesProvider())`.

    Args:
        openai_client: The client to send with; `AsyncOpenAI()`, made when first needed, when None.
        use_responses: Whether models speak the Responses API; the SDK's default when None.
        **options: What `cycles.wrap` takes.
    """

    def __init__(
        self, openai_client: AsyncOpenAI | None = None, *, use_responses: bool | None = None, **options: Any
    ) -> None:
        self._client: Final = openai_client
        self._use_responses: Final = use_responses
        self._options: Final = options

    @functools.cached_property
    def _inner(self) -> OpenAIProvider:
        client = AsyncOpenAI() if self._client is None else self._client
        return OpenAIProvider(openai_client=wrap(client, **self._options), use_responses=self._use_responses)

    def get_model(self, model_name: str | None) -> Model:
        """Return the metered model *model_name*, or the SDK's default one."""
        return self._inner.get_model(model_name)

    def metered(self, model: Model) -> Model:
        """Return a copy of a *model* with a client of its own, whose requests are metered.

        Raises:
            InvalidRequest: it sends through no client of openai.
        """
        client = getattr(model, "_client", None)
        if not isinstance(client, AsyncOpenAI):
            kind = type(model)
            raise InvalidRequest(
                f"model: {kind.__module__}.{kind.__qualname__} sends through no client of openai, so it can't be "
                "metered; put a cycles.Guard around the run (docs/guard.md)"
            )
        if isinstance(client._client._transport, AsyncMeteredTransport):  # noqa: SLF001 - as in `cycles.wrap`
            return model
        made: Any = copy.copy(model)
        vars(made)["_client"] = wrap(client, **self._options)
        metered: Model = made
        return metered

    async def aclose(self) -> None:
        """Release what the SDK's provider holds."""
        if "_inner" in self.__dict__:
            await self._inner.aclose()


class _GuardedModel(Model):
    """A metered model that is called for one agent of a team."""

    def __init__(self, inner: Model, spender: AbstractContextManager[None]) -> None:
        self._inner: Final = inner
        self._spender: Final = spender

    async def get_response(self, *args: Any, **kwargs: Any) -> ModelResponse:
        with self._spender:
            return await self._inner.get_response(*args, **kwargs)

    async def stream_response(self, *args: Any, **kwargs: Any) -> AsyncIterator[TResponseStreamEvent]:
        events = self._inner.stream_response(*args, **kwargs)
        try:
            while True:
                with self._spender:  # around each step: the code that reads the stream is not this agent's
                    try:
                        event = await anext(events)
                    except StopAsyncIteration:
                        return
                yield event
        finally:
            if isinstance(events, AsyncGenerator):
                await events.aclose()

    def get_retry_advice(self, request: ModelRetryAdviceRequest) -> ModelRetryAdvice | None:
        if isinstance(request.error, CyclesError) and not is_retryable(request.error):
            return ModelRetryAdvice(suggested=False, reason="denied")
        return self._inner.get_retry_advice(request)

    async def close(self) -> None:
        await self._inner.close()

    async def _cleanup_on_run_end(self, owner: object) -> None:
        await self._inner._cleanup_on_run_end(owner)  # noqa: SLF001 - the SDK calls it so


# -- teams -------------------------------------------------------------------------------------------------------------
def guarded(
    agent: Agent[T],
    /,
    *,
    tools: ToolCosts | None = None,
    on_denied: OnDenied = "raise",
    provider: CyclesProvider | None = None,
    run_id: str | Callable[[ToolContext[Any]], str | None] | None = None,
    client: Client | AsyncClient | None = None,
    **levels: Unpack[Levels],
) -> Agent[T]:
    """Return a copy of *agent*, and of all that it can hand off to, whose models and tools are guarded.

    Each agent spends as the level `agent` of its own name (`cycles.level` makes one of any name). The originals stay
    as they are.

    Args:
        agent: The one that a run begins with.
        tools: What calls of function tools cost: an amount for each, or a mapping from names to amounts (or to
            mappings with an `estimate` and fields of a `Guard`). Tools that are not named are free. None: all are.
        on_denied: "raise" ends the run with the denial. "message" gives the model a text that says so in place of the
            tool's result; a denied model call ends the run all the same.
        provider: Gives the models; `CyclesProvider(client=client)` when None.
        run_id: What names the run when it is replayed, or a callable that takes the tool's context. By default the
            `group_id` of the run, else the id of its trace; without any, a replay can't be told from a new call.
        client: Of the authority; the default one when None.
        **levels: Who spends beside the agents; see `cycles.subject`. An `agent=` here is that of the whole team.

    Raises:
        InvalidRequest: a model can't be metered, a tool runs an agent that is not guarded, or an argument is wrong.
    """
    made = provider if provider is not None else CyclesProvider(client=client)
    return _Team(Tools(tools, client), checked_on_denied(on_denied), made, run_id, levels).member(agent)


class _Team:
    """The copies that `guarded` makes, one of each agent."""

    def __init__(
        self,
        costs: Tools,
        on_denied: OnDenied,
        provider: CyclesProvider,
        run_id: str | Callable[[ToolContext[Any]], str | None] | None,
        levels: Levels,
    ) -> None:
        self._costs: Final = costs
        self._on_denied: Final = on_denied
        self._provider: Final = provider
        self._run_id: Final = run_id
        self._levels: Final = levels
        self._members: Final[dict[int, tuple[Agent[Any], Agent[Any]]]] = {}  # with the original, which keeps its id

    def member(self, agent: Agent[T]) -> Agent[T]:
        known = self._members.get(id(agent))
        if known is not None:
            return known[1]
        if isinstance(agent.model, _GuardedModel):
            return agent
        named: Levels = {"agent": level(agent.name)} if agent.name.strip() else {}
        spender = subject(**cast("Levels", {**named, **self._levels}))
        settings, model = agent.model_settings, agent.model
        if isinstance(model, Model):
            model = self._provider.metered(model)
        else:  # what the SDK adds for a model that has a name
            defaults = get_default_model_settings() if model is None else get_default_model_settings(model)
            settings, model = defaults.resolve(settings), self._provider.get_model(model)
        copied = agent.clone(model=_GuardedModel(model, spender), model_settings=settings, handoffs=[])
        self._members[id(agent)] = agent, copied
        copied.tools = [self._tool(tool, spender) if isinstance(tool, FunctionTool) else tool for tool in agent.tools]
        copied.handoffs = [self._handoff(each) for each in agent.handoffs]
        return copied

    def _handoff(self, given: Agent[Any] | Handoff[Any, Any]) -> Agent[Any] | Handoff[Any, Any]:
        if isinstance(given, Agent):
            return self.member(given)
        invoke = given.on_invoke_handoff

        async def on_invoke_handoff(context: RunContextWrapper[Any], arguments: str) -> Any:
            found = await invoke(context, arguments)
            return self.member(found) if isinstance(found, Agent) else found

        return dataclasses.replace(given, on_invoke_handoff=on_invoke_handoff)

    # -- tools ---------------------------------------------------------------------------------------------------------
    def _tool(self, tool: FunctionTool, spender: AbstractContextManager[None]) -> FunctionTool:
        inner = getattr(tool, "_agent_instance", None)
        if inner is not None and not isinstance(inner.model, _GuardedModel):
            raise InvalidRequest(
                f"tool {tool.name!r} runs the agent {inner.name!r}, which is not guarded: give guarded({inner.name}, "
                "…).as_tool(…)"
            )
        runs, made = _raising_denials(tool), copy.copy(tool)

        async def on_invoke_tool(context: ToolContext[Any], arguments: str) -> Any:
            with spender:
                try:
                    call = self._costs.call(tool.name, run_id=self._run(context), call_id=context.tool_call_id)
                    if call is None:
                        return await runs.on_invoke_tool(context, arguments)
                    async with call.arunning():
                        return await runs.on_invoke_tool(context, arguments)
                except _REFUSED as error:
                    if self._on_denied == "message":
                        return str(Refusal.of(error))
                    raise _ending_the_run(error) from error

        made.on_invoke_tool = on_invoke_tool
        return made

    def _run(self, context: ToolContext[Any]) -> str:
        given = self._run_id(context) if callable(self._run_id) else self._run_id
        if given is not None:
            return f"run:{given}"
        config = context.run_config
        if config is not None and config.group_id is not None:
            return f"group:{config.group_id}"
        trace = get_current_trace()
        if trace is not None and trace.trace_id != "no-op":
            return f"trace:{trace.trace_id}"
        return f"nameless:{uuid.uuid4().hex}"


def _raising_denials(tool: FunctionTool) -> FunctionTool:
    """Return a copy of *tool* whose own denials come out; what else it raises, it handles as before."""
    made = copy.copy(tool)
    handle = resolve_function_tool_failure_error_function(tool)
    if handle is None:
        return made  # all that it raises comes out

    def on_failure(context: RunContextWrapper[Any], error: Exception) -> Any:
        if isinstance(error, _REFUSED):
            raise error
        return handle(context, error)

    return set_function_tool_failure_error_function(made, on_failure)


# -- denials -----------------------------------------------------------------------------------------------------------
class _EndsRun(AgentsException):
    """What the SDK lets out of a run as it is: other errors of tools become a `UserError`."""

    def __reduce__(self) -> Any:
        plain = cast("Any", super()).__reduce__()
        restore, (_, message, state) = plain
        kind = next(base for base in type(self).__mro__[1:] if issubclass(base, CyclesError))
        return restore, (kind, message, {name: value for name, value in state.items() if name != "run_data"})


_kinds: Final[dict[type[CyclesError], type[CyclesError]]] = {}


def _kind_that_ends(kind: type[CyclesError]) -> type[CyclesError]:
    made = _kinds.get(kind)
    if made is None:
        named = {"__module__": kind.__module__, "__doc__": kind.__doc__}
        made = _kinds[kind] = type(kind.__name__, (_EndsRun, kind), named)
    return made


def _ending_the_run(error: CyclesError) -> CyclesError:
    """Return *error* as one that the SDK lets out of the run."""
    if isinstance(error, AgentsException):
        return error
    kind = _kind_that_ends(type(error))
    made = kind.__new__(kind, error.message)
    made.__dict__.update(error.__dict__, run_data=None)
    made.args = error.args
    return made


# -- hooks -------------------------------------------------------------------------------------------------------------
class CyclesHooks(RunHooks[Any]):
    """Run hooks that end a run as soon as an agent calls a model without a guard.

    So an agent that a handoff or a dynamic tool brings in can't spend beside the budget. Hooks reserve nothing: the SDK
    calls none for the end of a tool that failed, or of a model call that broke.
    """

    async def on_llm_start(
        self,
        context: Any,  # noqa: ARG002 - the SDK names the parameters
        agent: Any,
        system_prompt: Any,  # noqa: ARG002
        input_items: Any,  # noqa: ARG002
    ) -> None:
        """Refuse the model call of an agent that is not guarded.

        Raises:
            InvalidRequest: it is not.
        """
        if not isinstance(agent.model, _GuardedModel):
            raise InvalidRequest(
                f"agent {agent.name!r} is not guarded, and would spend beside the budget: begin the run with guarded(…)"
            )
