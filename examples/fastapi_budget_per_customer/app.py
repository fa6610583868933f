"""A web service whose customers have a budget each: two worker processes, one ledger file.

    pip install 'cycles-guard[fastapi,server,prices]' openai
    export OPENAI_API_KEY=sk-... CYCLES_BASE_URL='local:ledger.db'
    uvicorn --app-dir examples/fastapi_budget_per_customer --workers 2 app:app

    curl -X PUT localhost:8000/customers/zoe
    curl -H 'x-customer: zoe' 'localhost:8000/ask?question=why'

Each answer is charged to the customer who asked. When the customer's twenty cents are used up, the answer is 402. The
tenant itself has no budget: so who has not signed up is refused. Where the authority is a server, `sign_up` sends
`POST /v1/admin/budgets` instead (docs/authority.md).
"""

from __future__ import annotations

import os
from functools import cache
from typing import Annotated

from fastapi import FastAPI, Header
from openai import AsyncOpenAI

import cycles
from cycles import usd
from cycles.integrations.fastapi import answer_denials, spends
from cycles.local import LocalAuthority

app = FastAPI()
answer_denials(app, retry_after=3600)


@cache
def openai() -> AsyncOpenAI:
    return cycles.wrap(AsyncOpenAI(), max_output=300)


async def customer(x_customer: Annotated[str, Header()]) -> str:
    return x_customer  # in your service: whom the session belongs to


@app.put("/customers/{name}")
def sign_up(name: str) -> dict[str, int]:
    """Give a new customer twenty cents."""
    ledger = os.environ["CYCLES_BASE_URL"].removeprefix("local:").partition("?")[0]
    with LocalAuthority(ledger) as authority:
        scope = f"tenant:default/workspace:{cycles.level(name)}"
        authority.budget(scope, usd("0.20"))
        return {"microcents": authority.balance(scope, "USD_MICROCENTS").remaining}


@app.get("/ask", dependencies=[spends(workspace=customer)])
async def ask(question: str) -> dict[str, str | None]:
    said = await openai().chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": question}])
    return {"answer": said.choices[0].message.content}


@app.get("/me")
def me(x_customer: Annotated[str, Header()]) -> dict[str, int]:
    """Say what a customer has left."""
    with cycles.Client() as client:
        rows = list(client.balances(workspace=cycles.level(x_customer)))
    return {"microcents": rows[0].remaining.amount if rows else 0}
