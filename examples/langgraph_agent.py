"""A LangChain agent whose users have budgets of their own: `python examples/langgraph_agent.py`.

    pip install '.[langchain,prices]' langchain-openai
    cycles local budget create tenant:default --usd 10 --db ledger.db
    cycles local budget create tenant:default/workspace:zoe --usd 0.05 --db ledger.db
    CYCLES_BASE_URL=local:ledger.db OPENAI_API_KEY=… python examples/langgraph_agent.py zoe "Which rivers cross Berlin?"

The middleware meters the model calls of the agent, and guards its tools. The conversation has a checkpoint after each
step; a tool call that is replayed from there does not run again.
"""

from __future__ import annotations

import sys

from langchain.agents import create_agent
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver

import cycles
from cycles import usd
from cycles.integrations.langchain import CyclesMiddleware


@tool
def search(query: str) -> str:
    """Search the web."""
    return f"Nothing was found about {query!r}. Try another query."


def main(user: str, question: str) -> None:
    """Answer *question* at the expense of *user*."""
    agent = create_agent(
        ChatOpenAI(model="gpt-4o-mini", max_tokens=500),  # type: ignore[call-arg]  # an alias of its field
        tools=[search],
        middleware=[CyclesMiddleware(tools={"search": usd("0.01")})],
        checkpointer=InMemorySaver(),
    )
    with cycles.subject(workspace=cycles.level(user)):
        try:
            for mode, part in agent.stream(
                {"messages": [{"role": "user", "content": question}]},
                {"configurable": {"thread_id": f"{user}-1"}, "recursion_limit": 1000},
                stream_mode=["updates"],
            ):
                print(mode, *part)
        except cycles.Denied as denied:
            print(f"stopped: {denied.message}")


if __name__ == "__main__":
    main(sys.argv[1] if sys.argv[1:] else "zoe", " ".join(sys.argv[2:]) or "Which rivers cross Berlin?")
