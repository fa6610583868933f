"""A web service whose customers have a budget each: two worker processes, one ledger file.

    pip install '.[fastapi,server,prices]' openai
    cycles local init --db ledger.db --budget 'tenant:default/workspace:*=usd:0.20/day'
    export OPENAI_API_KEY=sk-... CYCLES_BASE_URL=local:ledger.db
    uvicorn --app-dir examples/fastapi_budget_per_customer --workers 2 app:app

    curl -H 'x-customer: zoe' 'localhost:8000/ask?question=why'

Each answer is charged to the customer who asked, and each customer has twenty cents a day, from the first question on.
When they are used up, the answer is 402, and says when the next day begins. To move to `cycles serve`, give it the same
--budget and change the settings: this code stays as it is.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated

from fastapi import FastAPI, Header
from openai import AsyncOpenAI

import cycles
from cycles.integrations.fastapi import answer_denials, spends

app = FastAPI()
answer_denials(app, retry_after=60)  # while other requests of the customer hold the rest


@cache
def openai() -> AsyncOpenAI:
    return cycles.wrap(AsyncOpenAI(), max_output=300)


async def customer(x_customer: Annotated[str, Header()]) -> str:
    return x_customer  # in your service: whom the session belongs to


@app.get("/ask", dependencies=[spends(workspace=customer)])
async def ask(question: str) -> dict[str, str | None]:
    said = await openai().chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": question}])
    return {"answer": said.choices[0].message.content}


@app.get("/me")
def me(x_customer: Annotated[str, Header()]) -> dict[str, int | None]:
    """Say what a customer has left today; None before the first question."""
    with cycles.Client() as client:
        rows = list(client.balances(workspace=cycles.level(x_customer)))
    return {"microcents": rows[0].remaining.amount if rows else None}
