"""LiteLLM: its `completion` and `acompletion`, metered, with denials that come out as themselves.

    models = Models(prices=prices)
    models.completion("anthropic/claude-sonnet-4-5", messages)

LiteLLM makes its clients by itself, and turns whatever goes wrong in them into errors of its own. So each call is given
a client that `cycles.wrap` has metered, and a denial is found again in what LiteLLM raises.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

import httpx
import litellm
from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler, HTTPHandler
from openai import AsyncOpenAI, OpenAI

from cycles.errors import CyclesError, InvalidRequest
from cycles.metered import wrap

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Models"]

_HTTP: Final = ("anthropic",)
"""Providers that LiteLLM reaches through an HTTP client of its own, and that are tested here."""


class Models:
    """Models that LiteLLM calls: of OpenAI, of servers that speak like it (`api_base=`), and of Anthropic.

    A denial is raised as itself, and not retried by `max_retries`. A `litellm.Router`, and `fallbacks=`, choose their
    clients by themselves, so they are refused here: put a `cycles.Guard` around them.

    Args:
        **options: Those of `cycles.wrap`: prices, max_output, agent and so on.
    """

    def __init__(self, **options: Any) -> None:
        self._options: Final = options
        self._blocking: Final[dict[tuple[Any, ...], Any]] = {}
        self._asynchronous: Final[WeakKeyDictionary[Any, dict[tuple[Any, ...], Any]]] = WeakKeyDictionary()

    def completion(self, model: str, messages: list[Any], **options: Any) -> Any:
        """Return what `litellm.completion` returns, streams included.

        Raises:
            Denied: the authority, or a limit, said no; nothing was sent.
            InvalidRequest: the provider of *model* can't be metered here.
        """
        client = self._client(model, options, is_async=False)
        try:
            return litellm.completion(model=model, messages=messages, client=client, **options)
        except Exception as error:
            _raise_ours(error)
            raise

    async def acompletion(self, model: str, messages: list[Any], **options: Any) -> Any:
        """Return what `litellm.acompletion` returns; see `completion`."""
        client = self._client(model, options, is_async=True)
        try:
            return await litellm.acompletion(model=model, messages=messages, client=client, **options)
        except Exception as error:
            _raise_ours(error)
            raise

    def _client(self, model: str, options: dict[str, Any], *, is_async: bool) -> Any:
        for name in ("client", "fallbacks", "num_retries", "mock_response"):
            if options.get(name) is not None:
                raise InvalidRequest(f"{name}=: the calls of Models have a metered client of their own; leave it out")
        _, provider, key, base = litellm.get_llm_provider(
            model=model,
            custom_llm_provider=options.get("custom_llm_provider"),
            api_base=options.get("api_base") or options.get("base_url"),
            api_key=options.get("api_key"),
        )
        key = options.get("api_key") or key
        base = options.get("api_base") or options.get("base_url") or base
        if provider == "openai":
            return self._kept(
                (provider, key, base),
                lambda: wrap((AsyncOpenAI if is_async else OpenAI)(api_key=key, base_url=base), **self._options),
                is_async=is_async,
            )
        if provider in _HTTP:
            return self._kept(
                (provider,), lambda: _handler(provider, self._options, is_async=is_async), is_async=is_async
            )
        raise InvalidRequest(
            f"model={model!r}: models of {provider} can't be metered through LiteLLM here; wrap the provider's own SDK "
            "(docs/metering.md), or put a cycles.Guard around the call"
        )

    def _kept(self, name: tuple[Any, ...], make: Callable[[], Any], *, is_async: bool) -> Any:
        """Return the client of this *name*; asynchronous ones belong to an event loop."""
        kept = self._blocking
        if is_async:
            kept = self._asynchronous.setdefault(asyncio.get_running_loop(), {})
        found = kept.get(name)
        # Of two threads at once, both get the client that was there first; the other has opened nothing.
        return kept.setdefault(name, make()) if found is None else found

    def close(self) -> None:
        """Close the connections of the blocking calls."""
        while self._blocking:
            self._blocking.popitem()[1].close()

    async def aclose(self) -> None:
        """Close the connections of the asynchronous calls in this event loop."""
        kept = self._asynchronous.pop(asyncio.get_running_loop(), {})
        for client in kept.values():
            await (client.client.aclose() if isinstance(client, AsyncHTTPHandler) else client.close())


def _handler(provider: str, options: dict[str, Any], *, is_async: bool) -> Any:
    """Return LiteLLM's holder of an HTTP client, around one that is metered."""
    timeout = httpx.Timeout(600.0, connect=10.0)
    named = {"provider": provider, **options}
    if not is_async:
        return HTTPHandler(client=wrap(httpx.Client(timeout=timeout), **named))
    handler = AsyncHTTPHandler()
    handler.client = wrap(httpx.AsyncClient(timeout=timeout), **named)
    return handler


def _raise_ours(error: BaseException) -> None:
    """Raise the error of this package that LiteLLM made *error* of, if it did."""
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        if isinstance(found, CyclesError):
            raise found from None
        found = found.__cause__ or found.__context__
