"""An agent on the OpenAI SDK that stops when its run has cost ten cents: `python examples/openai_agent.py`.

    pip install '.[prices]' openai
    CYCLES_BASE_URL='local:?usd=1.00' OPENAI_API_KEY=… python examples/openai_agent.py "Which rivers cross Berlin?"

`cycles.wrap` meters each model call, and a Guard each search. The limit around the run covers both.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from openai import OpenAI

import cycles
from cycles import usd
from cycles.amounts import describe

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam

MODEL = "gpt-4o-mini"
TOOLS: list[ChatCompletionToolParam] = [
    {
        "type": "function",
        "function": {
            "name": "search",
            "description": "Search the web.",
            "parameters": {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]},
        },
    }
]


@cycles.Guard(usd("0.01"), action=("tool.search", "web"), actual=usd("0.01"))  # what the search engine takes
def search(query: str) -> str:
    """Stand for a search engine."""
    return f"Nothing was found about {query!r}. Try another query."


def answer(client: OpenAI, question: str) -> str:
    """Let the model search until it has an answer."""
    messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": question}]
    while True:
        reply = client.chat.completions.create(model=MODEL, messages=messages, tools=TOOLS, max_tokens=500)
        message = reply.choices[0].message
        if not message.tool_calls:
            return message.content or ""
        messages.append(message.to_dict())  # type: ignore[arg-type]  # the SDK's own shape of it
        for call in message.tool_calls:
            if call.type == "function":
                found = search(json.loads(call.function.arguments)["query"])
                messages.append({"role": "tool", "tool_call_id": call.id, "content": found})


def main(question: str) -> None:
    """Answer one question, or stop at the limit."""
    client = cycles.wrap(OpenAI(), agent="researcher")
    limit = cycles.Limit(usd("0.10"), action=("agent.run", "research"), agent="researcher")
    try:
        with limit:
            print(answer(client, question))
    except cycles.Denied as denied:  # of a call, or of the whole limit where the budget has less left
        print(f"stopped: {denied.message}")
    print(f"{limit.sections} calls for {describe(limit.spent)}")


if __name__ == "__main__":
    main(" ".join(sys.argv[1:]) or "Which rivers cross Berlin?")
