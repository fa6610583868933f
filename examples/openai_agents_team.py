"""A team on the OpenAI Agents SDK, each agent with its own line in the ledger: `python examples/openai_agents_team.py`.

    pip install '.[openai_agents,prices]'
    CYCLES_BASE_URL='local:?usd=1.00' OPENAI_API_KEY=… python examples/openai_agents_team.py "Which rivers?"

The SDK tells the model about a tool that raised, and goes on. In a guarded team a denial ends the run.
"""

from __future__ import annotations

import asyncio
import sys

from agents import Agent, ModelSettings, Runner, function_tool

import cycles
from cycles import usd
from cycles.amounts import describe
from cycles.integrations.openai_agents import CyclesHooks, guarded

MODEL = "gpt-4o-mini"
SHORT = ModelSettings(max_tokens=500)


@function_tool
def search(query: str) -> str:
    """Search the web."""
    return f"Nothing was found about {query!r}. Try another query."


researcher = Agent(
    name="researcher", instructions="Search, then answer.", model=MODEL, model_settings=SHORT, tools=[search]
)
triage = Agent(
    name="triage", instructions="Hand questions off.", model=MODEL, model_settings=SHORT, handoffs=[researcher]
)


async def main(question: str) -> None:
    """Answer *question*, or stop at the limit of the run."""
    team = guarded(triage, tools={"search": usd("0.01")})
    async with cycles.Limit(usd("0.10"), action=("agent.run", "team")) as limit:
        try:
            result = await Runner.run(team, question, max_turns=100, hooks=CyclesHooks())
            print(f"{result.last_agent.name}: {result.final_output}")
        except cycles.Denied as denied:
            print(f"stopped: {denied.message}")
    print(f"{limit.sections} calls for {describe(limit.spent)}")
    await cycles.aclose()


if __name__ == "__main__":
    asyncio.run(main(" ".join(sys.argv[1:]) or "Which rivers cross Berlin?"))
