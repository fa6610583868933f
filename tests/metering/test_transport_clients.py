"""Which clients `wrap` takes, and what it gives back; others are refused by name. SDKs stand in by their shape here."""

from __future__ import annotations

import copy
import functools
import gc
import logging
import types

import httpx
import pytest

import cycles
from tests.metering.metered import CHAT, URL, Metered, completion, told


@pytest.fixture
def metered(side, authority):
    return Metered(side, authority)


# -- HTTP clients ------------------------------------------------------------------------------------------------------
def test_the_same_type_comes_back_with_the_same_settings(metered):
    plain = metered.plain(
        timeout=7, headers={"x-a": "b"}, cookies={"c": "d"}, base_url="https://api.openai.com/v1", auth=("u", "p")
    )
    client = metered.client(plain)
    assert type(client) is type(plain)
    assert client is not plain
    assert client.timeout == plain.timeout
    metered.answers = [completion(told(20, 5))]
    metered.post(client, url="/chat/completions")
    (sent,) = metered.sent
    assert (sent.headers["x-a"], sent.headers["cookie"]) == ("b", "c=d")
    assert sent.headers["authorization"].startswith("Basic ")
    assert sent.extensions["timeout"]["read"] == 7
    assert metered.figures == (25, 0)


def test_mounts_are_metered_too(metered):
    plain = metered.plain(mounts={"https://api.openai.com": metered.plain()._transport, "all://free": None})
    plain._transport = None
    client = metered.client(plain)
    metered.answers = [completion(told(20, 5))]
    metered.post(client)
    assert metered.figures == (25, 0)


def test_hooks_are_kept_and_added_apart(metered):
    seen = []
    if metered.side.kind == "sync":
        hook = lambda request: seen.append(request.url.host)  # noqa: E731
    else:

        async def hook(request):
            seen.append(request.url.host)

    plain = metered.plain(event_hooks={"request": [hook]})
    client = metered.client(plain)
    client.event_hooks["request"].append(hook)
    metered.answers = [completion(told(20, 5)), completion(told(20, 5))]
    metered.post(client)
    assert len(seen) == 2
    metered.post(plain)
    assert len(seen) == 3


def test_one_that_was_used_can_be_entered(metered):
    plain = metered.plain()
    metered.answers = [completion(told(20, 5)), completion(told(20, 5))]
    metered.post(plain)
    client = metered.client(plain)

    def enter():
        with client:
            client.post(URL, json=CHAT)

    async def enter_async():
        async with client:
            await client.post(URL, json=CHAT)

    metered.side.call(enter if metered.side.kind == "sync" else enter_async)
    assert client.is_closed
    assert not plain.is_closed
    assert metered.figures == (25, 0)


def test_closing_reaches_the_transport(metered):
    closed = []

    class Transport(httpx.MockTransport):
        def close(self):
            closed.append("close")

        async def aclose(self):
            closed.append("close")

    plain = type(metered.plain())(transport=Transport(lambda request: None))
    client = metered.client(plain)
    metered.side.call(client.close if metered.side.kind == "sync" else client.aclose)
    assert closed == ["close"]


class Closing(httpx.Client):
    """Closes itself when it is collected, as the clients of SDKs do."""

    def __del__(self):
        self.close()


@pytest.mark.slow
def test_a_collected_copy_closes_nothing_and_keeps_the_original(authority):
    closed = []

    class Transport(httpx.MockTransport):
        def close(self):
            closed.append("close")

    plain = Closing(transport=Transport(lambda request: completion(told(20, 5))))
    options = {"client": authority.client(tenant="acme"), "unit": "TOKENS"}
    authority.budget("tenant:acme", cycles.tokens(10_000))
    cycles.wrap(plain, **options)
    gc.collect()
    assert closed == []
    client = cycles.wrap(plain, **options)
    assert isinstance(client, Closing)
    assert type(client).__qualname__ == "Closing"
    del plain
    gc.collect()
    assert closed == []
    client.post(URL, json=CHAT)
    del client
    gc.collect()
    assert closed == ["close"], "nobody has it any more"


def test_twice_would_charge_twice(metered):
    with pytest.raises(cycles.InvalidRequest, match="metered already"):
        metered.client(metered.client())


# -- SDKs by their shape -----------------------------------------------------------------------------------------------
class Sdk:
    """An SDK of the kind that copies itself around another HTTP client."""

    def __init__(self, http_client, max_retries=2):
        self._client, self.max_retries = http_client, max_retries

    def with_options(self, *, http_client=None, max_retries=None):
        return type(self)(http_client or self._client, self.max_retries if max_retries is None else max_retries)


def test_an_sdk_is_copied_around_a_metered_client(metered):
    original = Sdk(metered.plain(), max_retries=5)
    sdk = metered.client(original)
    assert type(sdk) is Sdk
    assert sdk.max_retries == 5
    assert original._client is not sdk._client
    metered.answers = [completion(told(20, 5)), completion(told(20, 5)), completion(told(20, 5))]
    metered.post(sdk._client)
    metered.post(sdk.with_options(max_retries=0)._client)
    assert metered.figures == (50, 0), "copies stay metered"
    metered.post(original._client)
    assert metered.figures == (50, 0)


@pytest.mark.parametrize("unknown", ["deny", "pass"])
def test_a_copy_around_another_http_client_is_metered_too(metered, unknown):
    sdk = metered.client(Sdk(metered.plain()), unknown=unknown)
    metered.answers = [completion(told(20, 5)) for _ in range(3)]
    plain = metered.plain()
    for others in (plain, metered.client()):
        metered.post(sdk.with_options(http_client=others).with_options(max_retries=0)._client)
    assert metered.figures == (50, 0), "each once"
    metered.post(plain)
    assert metered.figures == (50, 0)
    assert sdk.with_options(http_client="none of ours")._client == "none of ours"


def test_sockets_are_refused(metered, monkeypatch):
    class Realtime(Sdk):
        @functools.cached_property
        def realtime(self):
            return types.SimpleNamespace(connect=lambda: "connected")

    with pytest.raises(cycles.Unmeterable, match=r"Realtime\.realtime can't be metered"):
        metered.client(Realtime(metered.plain())).realtime.connect()


class Parted:
    """A part of an SDK whose own parts open sockets."""

    version = 3

    @functools.cached_property
    def forks(self):
        return Connects()


def test_sockets_that_pass_are_logged_once(metered, caplog):
    class Sockets(Sdk):
        responses = functools.cached_property(lambda _: Connects())
        beta = functools.cached_property(lambda _: Beta())
        live = functools.cached_property(lambda _: Parted())

    client = metered.client(Sockets(metered.plain()), unknown="pass")
    with caplog.at_level(logging.WARNING, "cycles.guard"):
        for one in (client, client, client.with_options(max_retries=1)):
            assert one.responses.connect() == one.beta.realtime.connect() == one.live.forks.connect() == "connected"
            assert (one.responses.create(), one.live.version) == ("created", 3)
    logged = [record.cycles_request.rpartition(".test_transport_clients.")[2] for record in caplog.records]
    assert logged == ["Connects.connect", "Beta.realtime.connect", f"{Sockets.__qualname__}.live.forks.connect"]
    assert {record.cycles_event for record in caplog.records} == {"sent without being counted"}
    assert not hasattr(client.live, "__len__")


class Connects:
    """A part of an SDK that can also open a socket."""

    def create(self):
        return "created"

    def connect(self):
        return "connected"


class Beta:
    @functools.cached_property
    def responses(self):
        return Connects()

    @functools.cached_property
    def realtime(self):
        return Connects()


def test_sockets_are_refused_in_parts_and_in_copies_too(metered):
    class Sockets(Sdk):
        responses = functools.cached_property(lambda _: Connects())
        beta = functools.cached_property(lambda _: Beta())
        realtime = functools.cached_property(lambda _: Connects())

    client = metered.client(Sockets(metered.plain()))
    for one in (client, client.with_options(http_client=client._client)):
        assert isinstance(one, Sockets)
        for part in (one.responses, one.beta.responses, one.beta.realtime, one.realtime):
            with pytest.raises(cycles.Unmeterable, match=r"can't be metered, for it sends through a socket"):
                part.connect()
        assert one.responses.create() == one.beta.responses.create() == "created"
    assert Sockets(metered.plain()).responses.connect() == "connected", "the original is as it was"


def test_the_provider_follows_from_the_sdk(metered, monkeypatch):
    monkeypatch.setattr(Sdk, "__module__", "groq")
    sdk = metered.client(Sdk(metered.plain()))
    metered.answers = [completion(told(20, 5)), completion(told(20, 5))]
    metered.post(sdk._client, url="http://127.0.0.1:8000/v1/chat/completions")
    assert [row.action.name for row in metered.reservations] == ["groq:gpt-4o"]
    metered.post(sdk._client)
    assert {row.action.name for row in metered.reservations} == {"groq:gpt-4o", "openai:gpt-4o"}, "its host says more"


def test_what_can_not_be_metered_is_refused_by_name(monkeypatch):
    class Runtime:
        pass

    monkeypatch.setattr(Runtime, "__module__", "botocore.client")
    with pytest.raises(cycles.InvalidRequest, match=r"botocore\.client\..*Runtime can't be metered: boto3"):
        cycles.wrap(Runtime(), unit="tokens")

    class AnthropicBedrock(Sdk):
        pass

    with pytest.raises(cycles.InvalidRequest, match="signs its requests"):
        cycles.wrap(AnthropicBedrock(None), unit="tokens")
    with pytest.raises(cycles.InvalidRequest, match="is no client; give one that you made"):
        cycles.wrap(types, unit="tokens")
    with pytest.raises(cycles.InvalidRequest, match="is no client; give one that you made"):
        cycles.wrap(Sdk, unit="tokens")
    with pytest.raises(cycles.InvalidRequest, match=r"builtins\.int is no client that can be metered"):
        cycles.wrap(3, unit="tokens")


class Part:
    """A part of an SDK whose parts refer to one client of its API."""

    def __init__(self, api_client):
        self._api_client = api_client


class Remade:
    """A part that the SDK makes of its API client when it is needed."""


class Api:
    def __init__(self, blocking, asynchronous, signs=False):
        self._httpx_client, self._async_httpx_client, self._signs = blocking, asynchronous, signs
        self._http_options = Options()

    def _use_google_auth_sync(self):
        return self._signs


class Options:
    def model_copy(self, update):
        copied = copy.copy(self)
        copied.__dict__.update(update)
        return copied


@pytest.fixture
def genai(monkeypatch, metered):
    monkeypatch.setattr(Part, "__module__", "google.genai.client")
    api = Api(
        httpx.Client(transport=metered.plain()._transport), httpx.AsyncClient(transport=metered.plain()._transport)
    )
    client = Part(api)
    client._aio = Part(api)
    client._aio._models = Part(api)
    client._aio._live = Part(api)
    client._interactions = Remade()
    client._other = Part(object())
    monkeypatch.setattr(Remade, "__module__", "google.genai._gaos.google_genai")
    return client


def test_all_parts_of_an_sdk_refer_to_the_metered_client(metered, genai):
    wrapped = metered.client(genai)
    api = wrapped._api_client
    assert api is not genai._api_client
    assert wrapped._aio._models._api_client is api
    assert genai._aio._models._api_client is genai._api_client
    assert wrapped._interactions is None, "made again of the metered client"
    assert wrapped._other is genai._other, "it refers to no client of this SDK's"
    assert api._http_options.httpx_async_client is api._async_httpx_client, "so that it is not passed by for aiohttp"
    metered.answers = [completion(told(20, 5))]
    metered.post(api._httpx_client if metered.side.kind == "sync" else api._async_httpx_client)
    assert metered.figures == (25, 0)
    with pytest.raises(cycles.Unmeterable, match=r"\.live can't be metered"):
        wrapped._aio._live.connect(model="m")
    passing = metered.client(genai, unknown="pass")
    assert passing._aio._live._api_client is passing._api_client


def test_azure_is_a_provider_of_its_own(metered):
    class AzureOpenAI(Sdk):
        pass

    metered.answers = [completion(told(20, 5))]
    metered.post(metered.client(AzureOpenAI(metered.plain()))._client, url="http://127.0.0.1:8000/v1/chat/completions")
    assert metered.only.action.name == "azure:gpt-4o"


def test_one_that_signs_by_itself_is_refused(metered, genai):
    genai._api_client._signs = True
    with pytest.raises(cycles.InvalidRequest, match="client certificates"):
        metered.client(genai)


class Configuration:
    def __init__(self, **clients):
        self.__dict__.update(clients)


class Configured:
    _sub_sdk_map = {"chat": ("", "")}  # noqa: RUF012 - as the SDK has it

    def __init__(self, configuration):
        self.sdk_configuration = configuration


def test_an_sdk_with_a_configuration_is_copied_with_another_one(metered):
    original = Configured(Configuration(client=httpx.Client(), async_client=None))
    original.chat = "of the original"
    wrapped = metered.client(original)
    assert wrapped.sdk_configuration.client is not original.sdk_configuration.client
    assert not hasattr(wrapped, "chat")
    assert original.chat == "of the original"
    original.sdk_configuration.async_client = object()
    with pytest.raises(cycles.InvalidRequest, match="none of httpx or httpx2"):
        metered.client(original)


class PerLoop(httpx.AsyncClient):
    """Sends through another client in each event loop."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def _client_for_running_loop(self):
        return self.inner

    async def send(self, request, **options):
        return await self._client_for_running_loop().send(request, **options)


def test_a_client_for_each_loop_is_metered_in_each(metered):
    if metered.side.kind == "sync":
        pytest.skip("only asynchronous clients have loops")
    plain = PerLoop(metered.plain())
    metered.answers = [completion(told(20, 5)), completion(told(20, 5))]
    metered.post(metered.client(plain))
    assert metered.figures == (25, 0)
    metered.post(plain)
    assert metered.figures == (25, 0)


# -- arguments ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "wrong",
    [
        {"unit": "EUR"},
        {"unknown": "maybe"},
        {"lost": "drain"},
        {"on_5xx": 1},
        {"partial": "release"},
        {"max_output": 0},
        {"min_output": True},
        {"estimate": "gpt2"},
        {"provider": ""},
        {"prices": {"gpt-4o": "1"}},
        {"client": 3},
    ],
)
def test_wrong_arguments_are_named(wrong):
    with httpx.Client() as client, pytest.raises(cycles.InvalidRequest, match=next(iter(wrong))):
        cycles.wrap(client, **{"unit": "tokens", **wrong})


def test_unknown_arguments_are_named():
    with httpx.Client() as client, pytest.raises(TypeError, match="'actual'"):
        cycles.wrap(client, unit="tokens", actual=1)


def test_the_other_kind_of_client_is_made_of_the_one_that_is_given(tmp_path):
    config = cycles.Config(base_url=f"local:{tmp_path / 'ledger.db'}?tokens=10000", tenant="acme")
    plain = httpx.Client(transport=httpx.MockTransport(lambda request: completion(told(20, 5))))
    wrapped = cycles.wrap(plain, unit="tokens", client=cycles.AsyncClient(config))
    wrapped.post(URL, json=CHAT)
    with cycles.Client(config) as client:
        (balance,) = client.balances(tenant="acme")
    assert balance.spent.amount == 25
