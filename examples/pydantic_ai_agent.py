"""A Pydantic AI agent that can't spend more than its run's limit, whatever its model decides to do.

    pip install '.[pydantic_ai,prices]' 'pydantic-ai-slim[openai]'
    export OPENAI_API_KEY=sk-...
    CYCLES_BASE_URL='local:?usd=1.00' python examples/pydantic_ai_agent.py "What is the weather in Vienna?"

Model requests are reserved, priced and charged by themselves. A call of a tool costs half a cent here.
"""

from __future__ import annotations

import asyncio
import sys

from pydantic_ai import Agent

import cycles
from cycles import usd
from cycles.amounts import describe
from cycles.integrations.pydantic_ai import Budget

agent = Agent(
    instructions="Answer in one sentence. Use the tools.",
    capabilities=[Budget(tools=usd("0.005"), on_denied="message", max_output=500)],
)


@agent.tool_plain
async def search(query: str) -> str:
    """Look something up on the web."""
    return f"Everybody agrees about {query}: it is fine."  # your paid API


async def main(question: str) -> None:
    async with cycles.Limit(usd("0.10"), action=("agent.run", "answers")) as limit:
        try:
            async with agent.run_stream(question, model="openai-chat:gpt-4o") as run:
                async for text in run.stream_text(delta=True):
                    print(text, end="", flush=True)
            print()
        except cycles.Denied as denied:
            print(f"stopped: {denied.message}")
    print(f"{limit.sections} requests and tool calls for {describe(limit.spent)}")


if __name__ == "__main__":
    asyncio.run(main(" ".join(sys.argv[1:]) or "What is the weather in Vienna?"))
