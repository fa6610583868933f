"""What type checkers must see of the public names: checked by mypy and pyright, not run."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from datetime import timedelta
from decimal import Decimal
from typing import Any, assert_type

import httpx

import cycles
from cycles import usd
from cycles._core.effects import Call, Flow, NewKey
from cycles._core.operations import COMMIT_RESERVATION
from cycles._core.outcomes import Answer
from cycles.local import LocalAuthority
from cycles_api.models import Balance, CommitResponse, ReservationDetail, ReservationSummary


def wrapped(client: httpx.Client, asynchronous: httpx.AsyncClient, prices: cycles.Prices) -> None:
    assert_type(cycles.wrap(client), httpx.Client)
    assert_type(cycles.wrap(asynchronous, prices=prices, agent="planner", wait=timedelta(seconds=1)), httpx.AsyncClient)
    cycles.wrap(client, estimate=lambda request: len(request["messages"]), client=cycles.Client())


@cycles.Guard(estimate=usd("0.05"), action=("k", "n"), actual=lambda reply: usd(reply))
def function(prompt: str, *, n: int = 1) -> str:
    return prompt * n


@cycles.Guard(estimate=lambda prompt: usd(prompt), action=("k", "n"))
async def coroutine(prompt: str) -> int:
    return len(prompt)


@cycles.Guard(usd("1"), action=("k", "n"))
def generator(n: int) -> Generator[int, str, bytes]:
    yield n
    return b""


@cycles.Guard(usd("1"), action=("k", "n"))
async def async_generator(n: int) -> AsyncGenerator[int]:
    yield n


class Agent:
    @cycles.Guard(usd("1"), action=("k", "n"))
    def method(self, n: int) -> str:
        return str(n)


@cycles.Guard(usd("1"), action=("k", "n"), actual=usd("0.01"), on_error="estimate")
def tool(query: str) -> list[str]:
    return [query]


@cycles.Guard(usd("1"), action=("k", "n"), policy_keys=lambda host: {"host": host}, observe=True)
def fetch(host: str) -> bytes:
    return host.encode()


@cycles.Guard(usd("1"), action=("k", "n"), actual=lambda n: n * Decimal("0.001"), on_error=lambda error: Decimal(1))
def priced(n: int) -> int:
    return n


assert_type(tool("q"), list[str])
assert_type(priced(1), int)
assert_type(fetch("h"), bytes)
assert_type(function("x", n=2), str)
coroutine_made: Callable[[str], Coroutine[Any, Any, int]] = coroutine
assert_type(generator(1), Generator[int, str, bytes])
assert_type(async_generator(1), AsyncGenerator[int, None])
assert_type(Agent().method(1), str)


def blocks(client: cycles.Client, authority: LocalAuthority) -> None:
    with cycles.Guard(usd("1"), action=("k", "n"), client=client) as reservation:
        assert_type(reservation, cycles.Reservation)
        assert_type(reservation.commit(usd("0.5")), cycles.Settlement)
    assert_type(client.reserve(usd("1"), action=("k", "n"), ttl=30), cycles.Reservation)
    assert_type(authority.client(tenant="acme"), cycles.Client)
    assert_type(client.decide(usd("1"), action=("k", "n")), cycles.Decision)
    assert_type(client.record(usd("1"), action=("k", "n"), metrics=cycles.Metrics()), cycles.Settlement)
    assert_type(list(client.balances(agent="a")), list[Balance])
    assert_type(next(client.reservations(created=(timedelta(hours=1), None))), ReservationSummary)
    assert_type(client.reservation("id"), ReservationDetail)
    assert_type(client.with_options(agent="a"), cycles.Client)
    assert_type(client.reserve(usd("1"), action=("k", "n")).info, cycles.ResponseInfo)
    assert_type(cycles.current(), cycles.Reservation | cycles.AsyncReservation | None)
    with cycles.subject(tenant=None, workspace=cycles.level("Zoë <z@x>")):
        cycles.report(actual=usd(Decimal("0.1"), round="up"))
    assert_type(client.record(usd("1"), action=("k", "n")).uncovered, cycles.Amount | None)


async def async_blocks(client: cycles.AsyncClient) -> None:
    async with cycles.Guard(usd("1"), action=("k", "n"), client=client) as reservation:
        assert_type(reservation, cycles.AsyncReservation)
        assert_type(await reservation.commit(usd("0.5")), cycles.Settlement)
    assert_type(await client.reserve(usd("1"), action=("k", "n")), cycles.AsyncReservation)
    assert_type(await client.decide(usd("1"), action=("k", "n")), cycles.Decision)
    assert_type([row async for row in client.reservations(status="ACTIVE")], list[ReservationSummary])
    assert_type(await client.reservation("id"), ReservationDetail)
    assert_type(client.with_options(agent="a"), cycles.AsyncClient)


def flow() -> Flow[str]:
    key = yield from NewKey()
    assert_type(key, str)
    answer = yield from Call(COMMIT_RESERVATION)
    assert_type(answer, Answer[CommitResponse])
    return key


cycles.subject(user="zoe")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
cycles.Guard(usd("1"), action=("k", "n"), on_error="charge")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
function(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
function("x", m=2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
