"""A streamed answer of Claude, and what it has cost: `python examples/anthropic_stream.py`.

    pip install '.[prices]' anthropic
    CYCLES_BASE_URL='local:?usd=1.00' ANTHROPIC_API_KEY=… python examples/anthropic_stream.py "Why is the sky blue?"

Press Ctrl+C to leave the stream early: what had come by then is charged, and the rest is given back.
"""

from __future__ import annotations

import sys

from anthropic import Anthropic

import cycles
from cycles import usd
from cycles.amounts import describe

MODEL = "claude-haiku-4-5"


def main(question: str) -> None:
    """Print the answer as it comes."""
    client = cycles.wrap(Anthropic())
    with cycles.Limit(usd("0.05"), action=("chat.turn", "question")) as limit:
        try:
            with client.messages.stream(
                model=MODEL, max_tokens=1000, messages=[{"role": "user", "content": question}]
            ) as stream:
                for text in stream.text_stream:
                    print(text, end="", flush=True)
        except KeyboardInterrupt:
            print(" …", end="")
        except cycles.Denied as denied:
            print(f"no answer: {denied.message}", end="")
    print(f"\n{describe(limit.spent)} of {describe(limit.amount)} spent")


if __name__ == "__main__":
    main(" ".join(sys.argv[1:]) or "Why is the sky blue?")
