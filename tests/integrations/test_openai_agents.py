"""Teams of the OpenAI Agents SDK: what they spend is in the ledger, and a denial ends their runs."""

from __future__ import annotations

import asyncio
import pickle

import pytest

pytest.importorskip("agents", reason="nox -s integrations has it")

from agents import (
    Agent,
    AgentsException,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIProvider,
    OpenAIResponsesModel,
    RunConfig,
    Runner,
    function_tool,
    handoff,
    set_tracing_disabled,
)
from agents.models.interface import Model
from openai import AsyncOpenAI

import cycles
from cycles import usd
from cycles.integrations import ToolCallReplayed
from cycles.integrations.openai_agents import CyclesHooks, CyclesProvider, guarded
from tests.metering.provider import Gate, Turn

COST = usd("0.01")
QUESTION = "Wie heißt du?"
CALL = Turn(calls=(("search", {"query": "x"}),))
SAY = Turn(calls=())
SETTINGS = ModelSettings(max_tokens=200)


@pytest.fixture(autouse=True)
def _no_traces():
    """Nothing is sent to the SDK's makers."""
    set_tracing_disabled(True)
    yield
    set_tracing_disabled(False)
    _made.clear()


class Ran:
    """A tool that counts what it did; the SDK turns what it raises into text."""

    def __init__(self, name: str = "search", **options) -> None:
        self.queries: list[str] = []
        self.errors: list[BaseException] = []

        @function_tool(name_override=name, **options)
        async def search(query: str) -> str:
            """Look something up."""
            self.queries.append(query)
            if self.errors:
                raise self.errors.pop()
            return f"found {query}"

        self.tool = search


@pytest.fixture
def ran():
    return Ran()


_made: list[AsyncOpenAI] = []
"""Clients that are to be closed in the loop that they were used in."""


def sdk_client(world) -> AsyncOpenAI:
    _made.append(AsyncOpenAI(api_key="sk-test", base_url=f"{world.provider.url}/v1", max_retries=0))
    return _made[-1]


async def _closed() -> None:
    await cycles.aclose()
    while _made:
        await _made.pop().close()


def provider(world, *, use_responses=True, **options) -> CyclesProvider:
    return CyclesProvider(sdk_client(world), use_responses=use_responses, prices=world.prices, **options)


def alone(ran, **fields) -> Agent:
    fields = {"model": "gpt-metered", "model_settings": SETTINGS, "tools": [ran.tool], **fields}
    return Agent(name="Planner", **fields)


def team_of(world, agent, /, *, use_responses=True, **options) -> Agent:
    made = provider(world, use_responses=use_responses)
    return guarded(agent, **{"tools": {"search": COST}, "provider": made, **options})


def run(work):
    """Run asynchronous work, and end the clients of its loop with it."""

    async def whole():
        try:
            return await work()
        finally:
            await _closed()

    return asyncio.run(whole())


def _whole(team, **options):
    return run(lambda: Runner.run(team, QUESTION, hooks=CyclesHooks(), **options))


def _sync(team, **options):
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        return Runner.run_sync(team, QUESTION, hooks=CyclesHooks(), **options)
    finally:
        loop.run_until_complete(_closed())
        asyncio.set_event_loop(None)
        loop.close()


def _streamed(team, **options):
    async def work():
        result = Runner.run_streamed(team, QUESTION, hooks=CyclesHooks(), **options)
        async for _ in result.stream_events():
            pass
        return result

    return run(work)


WAYS = pytest.mark.parametrize("way", [_whole, _streamed])
APIS = pytest.mark.parametrize("use_responses", [True, False], ids=["responses", "chat"])


@pytest.mark.parametrize("way", [_whole, _sync, _streamed])
@APIS
def test_a_run_that_ends_well(world, ran, way, use_responses):
    world.provider.plan(CALL, CALL, SAY)
    result = way(team_of(world, alone(ran), use_responses=use_responses))
    assert ran.queries == ["x", "x"]
    assert "w01" in result.final_output
    world.exact(COST, COST)
    assert all(bill.streamed == (way is _streamed) for bill in world.provider.bills)


@WAYS
@APIS
def test_a_run_that_is_denied_in_the_model(world, ran, way, use_responses):
    world.budget(usd("0.0001"))
    with pytest.raises(cycles.BudgetExceeded):
        way(team_of(world, alone(ran), use_responses=use_responses))
    assert world.provider.seen == []
    world.exact()


@WAYS
def test_a_run_that_is_denied_in_a_tool_ends(world, ran, way):
    world.provider.usual = CALL
    with pytest.raises(cycles.BudgetExceeded) as ended:
        way(team_of(world, alone(ran), tools=usd("20")))
    assert type(ended.value).__name__ == "BudgetExceeded"
    assert isinstance(ended.value, AgentsException)
    assert ended.value.code == "BUDGET_EXCEEDED"
    loaded = pickle.loads(pickle.dumps(ended.value))
    assert type(loaded) is cycles.BudgetExceeded
    assert str(loaded) == str(ended.value)
    assert ran.queries == []
    assert len(world.provider.seen) == 1
    world.exact()


@WAYS
def test_a_denial_inside_a_tool_ends_the_run(world, way):
    """By itself the SDK tells it to the model, and the run goes on until its turns are used up."""
    denied = []

    @function_tool
    async def search(query: str) -> str:
        """Look something up."""
        try:
            async with cycles.Guard(usd("20"), action=("tool.http", "web")):
                return "found"
        except cycles.Denied as error:
            denied.append(error)
            raise

    world.provider.usual = CALL
    with pytest.raises(cycles.BudgetExceeded):
        way(team_of(world, alone(Ran(), tools=[search]), tools=None))
    assert len(denied) == 1


@WAYS
def test_a_denied_tool_can_be_told_to_the_model(world, ran, way):
    world.provider.plan(CALL, SAY)
    result = way(team_of(world, alone(ran), tools=usd("20"), on_denied="message"))
    assert result.final_output
    assert ran.queries == []
    told = world.provider.seen[-1][1]["input"][-1]["output"]
    assert "too little left" in told
    assert told.endswith("(status: error, code: BUDGET_EXCEEDED)")
    world.exact()


@pytest.mark.parametrize("own", [False, True])
def test_other_errors_of_tools_are_told_as_before(world, own):
    options = {"failure_error_function": lambda context, error: f"it said {error}"} if own else {}
    told = []
    for guard in (lambda agent: agent.clone(model=team_of(world, agent).model), lambda agent: team_of(world, agent)):
        ran = Ran(**options)
        ran.errors.append(LookupError("nothing there"))
        world.provider.plan(CALL, SAY)
        _whole(guard(alone(ran)))
        told.append(world.provider.seen[-1][1]["input"][-1]["output"])
    assert told[0] == told[1]
    assert ("nothing there" in told[1]) == own
    world.exact(COST)


def test_a_tool_that_raises_ends_the_run_uncharged(world):
    ran = Ran(failure_error_function=None)
    ran.errors.append(LookupError("nothing there"))
    world.provider.plan(CALL)
    with pytest.raises(AgentsException, match="nothing there"):
        _whole(team_of(world, alone(ran)))
    world.exact()


def test_a_runaway_ends_at_the_budget(world, ran):
    world.provider.usual = CALL
    world.budget(usd("0.1"))
    with pytest.raises(cycles.BudgetExceeded):
        _whole(team_of(world, alone(ran)), max_turns=1000)
    assert 3 < len(ran.queries) < 10
    world.exact(*[COST] * len(ran.queries))
    assert world.ledger <= usd("0.1").amount


def test_a_limit_around_a_run_covers_models_and_tools(world, ran):
    world.provider.usual = CALL

    async def work():
        async with cycles.Limit(usd("0.1"), action=("agent.run", "test")) as limit:
            with pytest.raises(cycles.BudgetExceeded) as refused:
                await Runner.run(team_of(world, alone(ran)), QUESTION, max_turns=1000)
            assert refused.value.limit is limit

    run(work)
    world.settled()
    assert world.ledger == world.provider.microcents + COST.amount * len(ran.queries)


@WAYS
def test_twenty_tools_at_once(world, ran, way):
    calls = tuple(("search", {"query": str(index)}) for index in range(20))
    world.provider.plan(Turn(calls=calls), SAY)
    way(team_of(world, alone(ran, model_settings=ModelSettings(max_tokens=2000))))
    assert sorted(ran.queries, key=int) == [str(index) for index in range(20)]
    world.exact(*[COST] * 20)


def test_of_twenty_tools_at_once_those_run_that_the_budget_pays(world, ran):
    calls = tuple(("search", {"query": str(index)}) for index in range(20))
    world.provider.plan(Turn(calls=calls), SAY)
    world.budget(usd("0.1"), "tenant:acme/agent:planner/toolset:web")
    agent = alone(ran, model_settings=ModelSettings(max_tokens=2000))
    _whole(team_of(world, agent, tools={"search": {"estimate": COST, "toolset": "web"}}, on_denied="message"))
    assert len(ran.queries) == 10
    world.exact(*[COST] * 10)


def test_a_stream_that_is_left(world, ran):
    """What had been generated is charged, and nothing stays held."""
    gate = Gate()
    gate.open(5)

    async def work():
        result = Runner.run_streamed(team_of(world, alone(ran)), QUESTION)
        async for event in result.stream_events():
            if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
                break
        result.cancel()
        async for _ in result.stream_events():
            pass

    world.provider.plan(CALL, Turn(calls=(), output=100, gate=gate))
    run(work)
    world.bounded(COST)


# -- replays -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("on_denied", ["raise", "message"])
def test_a_tool_that_ran_does_not_run_again(world, ran, on_denied):
    """A job is delivered twice, and its model's answer is the same: the same call of the same run."""
    options = {"run_id": "job-1", "on_denied": on_denied}
    for attempt in range(2):
        world.provider.seen.clear()
        world.provider.plan(CALL, SAY)
        team = team_of(world, alone(ran), **options)
        if attempt == 0 or on_denied == "message":
            _whole(team)
        else:
            with pytest.raises(ToolCallReplayed, match="COMMITTED") as ended:
                _whole(team)
            assert type(pickle.loads(pickle.dumps(ended.value))) is ToolCallReplayed
    assert ran.queries == ["x"]
    if on_denied == "message":
        assert "TOOL_CALL_REPLAYED" in str(world.provider.seen[-1][1])
    world.exact(COST)


@pytest.mark.parametrize("named", ["group", "callable", "nothing"])
def test_runs_are_told_apart(world, ran, named):
    for attempt in range(2):
        world.provider.seen.clear()
        world.provider.plan(CALL, SAY)
        name = f"run-{attempt}"
        config = RunConfig(group_id=name) if named == "group" else RunConfig()
        options = {"run_id": lambda context, name=name: name} if named == "callable" else {}
        _whole(team_of(world, alone(ran), **options), run_config=config)
    assert ran.queries == ["x", "x"]
    world.exact(COST, COST)


def test_the_same_group_is_the_same_run(world, ran):
    for _ in range(2):
        world.provider.seen.clear()
        world.provider.plan(CALL, SAY)
        _whole(team_of(world, alone(ran), on_denied="message"), run_config=RunConfig(group_id="thread"))
    assert ran.queries == ["x"]


# -- teams -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["agent", "handoff"])
@WAYS
def test_a_handoff_is_to_an_agent_of_the_subject(world, ran, way, kind):
    for name in ("triage", "Web-Search"):
        world.budget(usd("1"), f"tenant:acme/agent:{name.lower()}")
    searcher = alone(ran, handoffs=[])
    searcher.name = "Web-Search"
    triage = Agent(
        name="triage",
        model="gpt-metered",
        model_settings=SETTINGS,
        handoffs=[searcher if kind == "agent" else handoff(searcher)],
    )
    searcher.handoffs = [triage]  # and back
    world.provider.plan(Turn(calls=(("transfer_to_web_search", {}),)), CALL, SAY)
    result = way(team_of(world, triage))
    assert result.last_agent.name == "Web-Search"
    world.exact(COST)
    first, *others = [bill.microcents for bill in world.provider.bills]
    assert world.spent_at("agent:triage") == first
    assert world.spent_at("agent:web-search") == sum(others) + COST.amount


def test_levels_are_of_the_whole_team(world, ran):
    world.budget(usd("1"), "tenant:acme/workspace:u-17/agent:one")
    world.provider.plan(CALL, SAY)
    _whole(team_of(world, alone(ran), workspace="u-17", agent="one"))
    world.exact(COST)
    assert world.spent_at("workspace:u-17/agent:one") == world.ledger


def test_a_stream_s_reader_spends_for_itself(world, ran):
    """The agent's name is not seen by the code that reads its stream."""
    world.provider.plan(CALL, SAY)

    async def work():
        result = Runner.run_streamed(team_of(world, alone(ran)), QUESTION)
        async for _ in result.stream_events():
            async with cycles.Guard(usd("0"), action=("reader", "reads")) as reservation:
                assert reservation.scope_path == "tenant:acme"

    run(work)


def test_an_agent_that_is_a_tool_is_guarded_first(world, ran):
    inner = alone(ran)
    outer = Agent(name="boss", model="gpt-metered", model_settings=SETTINGS)
    outer.tools = [inner.as_tool("search", "Ask the planner.")]
    with pytest.raises(cycles.InvalidRequest, match=r"'search' runs the agent 'Planner', which is not guarded"):
        team_of(world, outer)
    outer.tools = [team_of(world, inner).as_tool("search", "Ask the planner.")]
    asked = Turn(calls=(("search", {"input": "x"}),))
    world.provider.plan(asked, CALL, SAY, SAY)
    _whole(team_of(world, outer, tools=None))
    world.exact(COST)
    world.budget(usd("0.0001"))
    world.provider.plan(asked)
    with pytest.raises(cycles.BudgetExceeded):
        _whole(team_of(world, outer, tools=None))


# -- models ------------------------------------------------------------------------------------------------------------
def test_a_model_that_is_an_object_is_metered(world, ran):
    for kind in (OpenAIResponsesModel, OpenAIChatCompletionsModel):
        world.provider.plan(CALL, SAY)
        model = kind("gpt-metered", openai_client=sdk_client(world))
        _whole(team_of(world, alone(ran, model=model), run_id=kind.__name__))
        assert type(model._client) is AsyncOpenAI
    world.exact(COST, COST)


def test_a_model_that_is_metered_already_is_charged_once(world, ran):
    world.provider.plan(CALL, SAY)
    client = cycles.wrap(sdk_client(world), prices=world.prices)
    _whole(team_of(world, alone(ran, model=OpenAIResponsesModel("gpt-metered", openai_client=client))))
    world.exact(COST)


def test_a_model_of_somebody_else_is_refused(world, ran):
    class Other(Model):
        get_response = stream_response = None  # abstract in the SDK; it is refused before either is called

    with pytest.raises(cycles.InvalidRequest, match="Other sends through no client of openai"):
        team_of(world, alone(ran, model=Other()))


def test_the_provider_alone_meters_models(world, ran):
    world.provider.plan(CALL, SAY)
    run(lambda: Runner.run(alone(ran), QUESTION, run_config=RunConfig(model_provider=provider(world))))
    world.exact()
    assert len(world.provider.bills) == 2


def test_hooks_refuse_an_agent_that_is_not_guarded(world, ran):
    config = RunConfig(model_provider=OpenAIProvider(openai_client=sdk_client(world)))
    for way in (_whole, _streamed):
        with pytest.raises(cycles.InvalidRequest, match="agent 'Planner' is not guarded"):
            way(alone(ran), run_config=config)
    assert world.provider.seen == []


def test_the_original_stays_as_it_is(world, ran):
    agent = alone(ran)
    team = team_of(world, agent)
    assert agent.tools == [ran.tool]
    assert agent.model == "gpt-metered"
    assert team is not agent
    assert guarded(team) is team
    assert team.model_settings.max_tokens == 200
