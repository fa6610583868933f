"""Wrapped HTTP clients whose provider is a list of answers; budgets are in tokens, so that no prices are needed."""

from __future__ import annotations

import json
from typing import Any

import httpx

import cycles
from tests.support.authorities import SCOPE

CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "How are you?"}]}
URL = "https://api.openai.com/v1/chat/completions"


def told(input_tokens: int, output_tokens: int) -> dict[str, Any]:
    return {"prompt_tokens": input_tokens, "completion_tokens": output_tokens}


def completion(usage: dict[str, Any] | None = None, **more: Any) -> httpx.Response:
    """An answer that tells its *usage*, if there is one."""
    choice = {"index": 0, "message": {"role": "assistant", "content": "Fine."}, "finish_reason": "stop"}
    body: dict[str, Any] = {"id": "c1", "object": "chat.completion", "model": "gpt-4o-2024-08-06", "choices": [choice]}
    return httpx.Response(200, json=body if usage is None else body | {"usage": usage}, **more)


def event(content: object) -> bytes:
    data = content if isinstance(content, str) else json.dumps(content)
    return f"data: {data}\n\n".encode()


def chunk(text: str) -> bytes:
    return event({"id": "c1", "model": "gpt-4o", "choices": [{"index": 0, "delta": {"content": text}}]})


def usage_chunk(input_tokens: int, output_tokens: int) -> bytes:
    return event({"id": "c1", "model": "gpt-4o", "choices": [], "usage": told(input_tokens, output_tokens)})


DONE = event("[DONE]")


class Parts(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that comes in parts; an exception among them is raised there."""

    def __init__(self, *parts: Any) -> None:
        self.parts = parts
        self.given = 0
        self.is_closed = False

    def __iter__(self) -> Any:
        for part in self.parts:
            if isinstance(part, BaseException):
                raise part
            self.given += 1
            yield part

    async def __aiter__(self) -> Any:
        for part in self.parts:
            if isinstance(part, BaseException):
                raise part
            if callable(part):
                await part()
                continue
            self.given += 1
            yield part

    def close(self) -> None:
        self.is_closed = True

    async def aclose(self) -> None:
        self.is_closed = True


def streamed(*parts: Any, headers: dict[str, str] | None = None) -> httpx.Response:
    return httpx.Response(200, headers={"content-type": "text/event-stream", **(headers or {})}, stream=Parts(*parts))


class Metered:
    """A provider that gives the answers it was told, and clients that are wrapped around it.

    Attributes:
        sent: The requests that have reached the provider.
        answers: What it answers: responses, or exceptions, which its transport raises.
    """

    def __init__(self, side: Any, authority: Any, budget: int = 100_000, **options: Any) -> None:
        authority.budget(SCOPE, cycles.tokens(budget), **options)
        self.side, self.authority = side, authority
        self.sent: list[httpx.Request] = []
        self.answers: list[Any] = []

    def _answered(self, request: httpx.Request) -> httpx.Response:
        self.sent.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def plain(self, **options: Any) -> Any:
        """A client that is not wrapped."""
        kind = httpx.Client if self.side.kind == "sync" else httpx.AsyncClient
        return kind(transport=httpx.MockTransport(self._answered), **options)

    def client(self, plain: Any = None, **options: Any) -> Any:
        """A wrapped client."""
        options = {"unit": "TOKENS", "client": self.side.client, **options}
        return cycles.wrap(self.plain() if plain is None else plain, **options)

    def post(self, client: Any, body: Any = None, url: str = URL, **options: Any) -> httpx.Response:
        return self.side.call(client.post, url, json=CHAT if body is None else body, **options)

    def stream(self, client: Any, most: int | None = None, body: Any = None) -> bytes:
        """What the first *most* parts (None: all) of a streamed answer hold, which is left then."""
        sent = {**(CHAT if body is None else body), "stream": True}
        read = _read if self.side.kind == "sync" else _read_async
        return self.side.call(read, client, sent, most)

    @property
    def body(self) -> dict[str, Any]:
        """What was sent last."""
        return json.loads(self.sent[-1].read())

    @property
    def figures(self) -> tuple[int, int]:
        """What is spent, and what is reserved."""
        balance = self.authority.balance(SCOPE, "TOKENS")
        return balance.spent, balance.reserved

    @property
    def reservations(self) -> list[Any]:
        """All reservations as the authority keeps them."""

        async def asked() -> list[Any]:
            return [row async for row in self.side.client.reservations(include=["metadata", "committed_metadata"])]

        if self.side.kind == "sync":
            return list(self.side.client.reservations(include=["metadata", "committed_metadata"]))
        return self.side.call(asked)

    @property
    def only(self) -> Any:
        """The only reservation that was committed."""
        (row,) = [row for row in self.reservations if row.status == "COMMITTED"]
        return row

    @property
    def source(self) -> Any:
        """How the only charge is marked."""
        metadata = self.only.committed_metadata
        return (metadata or {}).get("actual_source")


def _read(client: Any, body: Any, most: int | None) -> bytes:
    came = []
    with client.stream("POST", URL, json=body) as response:
        for part in response.iter_bytes():
            came.append(part)
            if len(came) == most:
                break
    return b"".join(came)


async def _read_async(client: Any, body: Any, most: int | None) -> bytes:
    came = []
    async with client.stream("POST", URL, json=body) as response:
        async for part in response.aiter_bytes():
            came.append(part)
            if len(came) == most:
                break
    return b"".join(came)
