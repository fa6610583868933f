"""Budgets of a FastAPI application's customers, asked over ASGI."""

from __future__ import annotations

import asyncio

import httpx
import pytest

pytest.importorskip("fastapi")

from fastapi import FastAPI, Header
from fastapi.responses import StreamingResponse

import cycles
from cycles import usd
from cycles.errors import DenialDetail
from cycles.integrations.fastapi import answer_denials, denial_body, spends
from tests.support.authorities import SCOPE

GUARD = cycles.Guard(usd("0.02"), action=("llm.completion", "gpt-4o"))


async def customer(x_customer: str = Header()) -> str:
    return x_customer


def application(**options):
    app = FastAPI()
    answer_denials(app, **options)

    @app.get("/sync", dependencies=[spends(workspace=customer)])
    def blocking() -> str:
        return _spent()

    @app.get("/async", dependencies=[spends(workspace=customer, agent="planner")])
    async def asynchronous() -> str:
        return await _spent_async()

    @app.get("/stream", dependencies=[spends(workspace=customer)])
    async def streamed() -> StreamingResponse:
        async def parts():
            for _ in range(2):
                yield await _spent_async()

        return StreamingResponse(parts())

    @app.get("/nobody")
    def nobody() -> str:
        return _spent()

    @app.get("/limit")
    def limited() -> None:
        with cycles.Limit(usd("0.03"), action=("request", "limit")):
            _spent()
            _spent()

    @app.get("/empty", dependencies=[spends(workspace=lambda: "")])
    def empty() -> None: ...

    del asynchronous, blocking, streamed, nobody, limited, empty
    return app


@GUARD
def _spent() -> str:
    return cycles.current().scope_path or "in the limit"


@GUARD
async def _spent_async() -> str:
    return cycles.current().scope_path


def get(app, *asked):
    """Ask for all pairs of path and customer at once."""

    async def whole():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await asyncio.gather(*(client.get(path, headers={"x-customer": who}) for path, who in asked))

    return asyncio.run(whole())


def test_each_request_spends_for_its_customer(world):
    """Blocking, asynchronous and streamed, many at once; what a level can't hold goes through `level`."""
    asked = [(path, f"u-{number}") for number in range(4) for path in ("/sync", "/async", "/stream")]
    for (path, who), answer in zip(asked, get(application(), *asked), strict=True):
        scope = f"{SCOPE}/workspace:{who}"
        said = {"/sync": f'"{scope}"', "/async": f'"{scope}/agent:planner"', "/stream": scope * 2}
        assert (answer.status_code, answer.text) == (200, said[path])
    (mail, plain) = get(application(), ("/sync", "zoe@example.com"), ("/nobody", "u-1"))
    assert cycles.level("zoe@example.com") in mail.text
    assert plain.json() == SCOPE
    world.exact(*[usd("0.02")] * 18)


def test_402_says_what_is_left(world):
    world.budget(usd("0.03"), f"{SCOPE}/workspace:u-1")
    first, second, other = (get(application(), ("/sync", who))[0] for who in ("u-1", "u-1", "u-2"))
    assert (first.status_code, second.status_code, other.status_code) == (200, 402, 200)
    assert second.json() == {
        "detail": "the budget is used up: $0.01 left, and this request may cost more",
        "code": "BUDGET_EXCEEDED",
        "remaining": {"amount": 1_000_000, "unit": "USD_MICROCENTS", "text": "$0.01"},
        "retry_after": None,
    }
    assert "retry-after" not in second.headers
    assert "request_id" not in second.text
    world.exact(usd("0.02"), usd("0.02"))


def test_402_says_when_to_come_back(world):
    world.budget(usd("0.01"), f"{SCOPE}/workspace:u-1")
    seen = []

    def refilled(denied):
        seen.append(denied)
        return 86_399.2

    (answer,) = get(application(retry_after=refilled), ("/sync", "u-1"))
    assert (answer.status_code, answer.headers["retry-after"], answer.json()["retry_after"]) == (402, "86400", 86_399.2)
    assert type(seen[0]) is cycles.BudgetExceeded
    (answer,) = get(application(retry_after=60), ("/sync", "u-1"))
    assert answer.headers["retry-after"] == "60"


def test_what_all_customers_have_left_is_nobodys_business(world):
    world.budget(usd("0.01"))
    (answer,) = get(application(), ("/sync", "u-1"))
    assert answer.status_code == 402
    assert answer.json()["remaining"] is None
    assert "0.01" not in answer.text


def test_a_limit_of_the_request(world):
    (answer,) = get(application(), ("/limit", "u-1"))
    assert (answer.status_code, answer.json()["remaining"]["text"]) == (402, "$0.01")
    world.settled()
    assert world.ledger == usd("0.02").amount


def test_an_authority_that_is_away_is_503(world):
    app = application()
    gone = world.config.replace(base_url="http://127.0.0.1:9", retry_max_attempts=1, connect_timeout=0.2)
    with cycles.Client(gone) as client:

        @app.get("/away")
        def away() -> None:
            client.reserve(usd("0.01"), action=("a", "b"))

        (answer,) = get(app, ("/away", "u-1"))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["code"] == "AUTHORITY_UNAVAILABLE"
    assert "127.0.0.1" not in answer.text


@pytest.mark.parametrize(
    ("kind", "status"),
    [(cycles.ActionQuotaExceeded, 429), (cycles.ActionKindDenied, 403), (cycles.DebtOutstanding, 402)],
)
def test_the_status_of_a_denial(kind, status):
    app = FastAPI()
    answer_denials(app, retry_after=lambda denied: None)

    @app.get("/")
    async def refused() -> None:
        raise kind("no", code="X", retry_after=2.1, detail=DenialDetail("X", scope="tenant:acme", remaining=1))

    (answer,) = get(app, ("/", "u-1"))
    assert (answer.status_code, answer.headers["retry-after"], answer.json()["retry_after"]) == (status, "3", 2.1)


def test_mistakes_are_told(world):
    with pytest.raises(TypeError, match="unexpected keyword argument 'user'"):
        spends(user="u-1")
    with pytest.raises(cycles.InvalidRequest, match="has to return a text"):
        get(application(), ("/empty", "u-1"))
    assert denial_body(cycles.Denied("no"))["detail"] == "there is no budget for this request"
