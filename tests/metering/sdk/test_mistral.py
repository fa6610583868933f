"""What Mistral's own SDK can do beside chats, and what of that is metered, refused or free."""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
from importlib.util import find_spec

import openai
import pytest

import cycles
from tests.metering.provider import Turn
from tests.metering.sdk.apis import APIS, MOST, PROMPT, Mistral
from tests.metering.sdk.world import World, prices

pytestmark = [
    pytest.mark.cycles(budget="usd:1000"),
    pytest.mark.skipif(not any(isinstance(api, Mistral) for api in APIS), reason="the SDK is not in this group"),
]
MESSAGES = [{"role": "user", "content": PROMPT}]
ASKED = {"model": "mistral-metered", "messages": MESSAGES}


@pytest.fixture
def world(provider, cycles_authority):
    world = World(Mistral(), provider, cycles_authority)
    yield world
    world.close()


def _refused(world, ask) -> str:
    """Ask for what can't be metered; return why. Nothing was sent, and nothing is held."""
    with pytest.raises(cycles.Unmeterable) as refused:
        ask()
    assert world.provider.seen == []
    assert world.authority.requests == []
    return str(refused.value)


def test_the_endpoint_refuses_what_it_does_not_know_as_mistrals_does(world):
    """Were `stream_options` sent, no stream would come: this endpoint would say so."""
    plain = openai.OpenAI(api_key="test", base_url=f"{world.provider.url}/mistral/v1", max_retries=0)
    with plain, pytest.raises(openai.UnprocessableEntityError, match="422"):
        plain.chat.completions.create(**ASKED, stream=True, stream_options={"include_usage": True})
    assert world.provider.bills == []


def test_openais_sdk_at_mistral(world):
    """Its streams tell their usage unasked, in the last chunk, which stays in the stream."""
    plain = openai.OpenAI(api_key="test", base_url=f"{world.provider.url}/mistral/v1", max_retries=0)
    with cycles.wrap(plain, provider="mistral", prices=prices(), max_output=50) as client:
        chunks = list(client.chat.completions.create(**ASKED, stream=True))
        client.chat.completions.create(**ASKED)
    assert chunks[-1].usage.completion_tokens == 12
    assert [sent["max_tokens"] for _, sent, _ in world.provider.seen] == [50, 50]
    world.exact()


def test_a_stream_of_several_answers_is_charged_when_the_last_has_ended(world):
    world.provider.plan(Turn(read=4))
    events = list(world.api.open(world.client(), n=3))
    assert [event.data.usage is None for event in events][-3:] == [True, True, False]
    assert world.provider.bills[0].counts.output == 36
    world.exact()


@pytest.mark.parametrize("streamed", [False, True])
def test_what_stands_between(world, streamed):
    """`fim.complete` and `fim.stream`."""
    fim = world.client(max_output=20).fim
    asked = {"model": "mistral-metered", "prompt": "def f(", "suffix": "return x"}
    world.provider.plan(Turn(output=50, read=4))
    if streamed:
        assert sum(bool(event.data.choices[0].delta.content) for event in fim.stream(**asked)) == 20
    else:
        fim.complete(**asked)
    assert world.provider.bills[0].asked_output == 20
    world.exact()


def test_what_the_answer_or_the_request_does_not_count_is_refused(world):
    client = world.client()
    page = {"type": "document_url", "document_url": "https://example.com/a.pdf"}
    assert "by the page" in _refused(world, lambda: client.ocr.process(model="mistral-ocr-latest", document=page))
    assert "which model" in _refused(world, lambda: client.agents.complete(agent_id="ag_1", messages=MESSAGES))
    assert "agent" in _refused(world, lambda: client.beta.conversations.start(model="mistral-metered", inputs="hi"))
    assert "batch" in _refused(
        world, lambda: client.batch.jobs.create(endpoint="/v1/chat/completions", model="m", input_files=["f"])
    )
    assert "no usage" in _refused(world, lambda: client.classifiers.moderate(model="m", inputs=["hi"]))
    sound = {"role": "user", "content": [{"type": "input_audio", "input_audio": "UklGRg=="}]}
    assert "by the minute" in _refused(world, lambda: client.chat.complete(model="m", messages=[sound]))
    told = {"file_name": "a.mp3", "content": b"ID3"}
    assert "speech" in _refused(world, lambda: client.audio.transcriptions.complete(model="m", file=told))


def test_lists_of_models_are_free(world):
    assert world.client().models.list().data == []
    assert world.authority.requests == []


def test_sockets_are_refused(world, caplog):
    """Realtime transcription and speech send past the HTTP client; with `unknown="pass"` they do what the SDK does."""
    audio = world.client().audio
    names = [name for name in ("realtime", "realtime_speech") if hasattr(type(audio), name)]
    if not names:
        pytest.skip("this version of the SDK has none")
    for name in names:
        assert name in _refused(world, lambda name=name: getattr(audio, name).connect("m"))
    passing = world.client(unknown="pass").audio
    with caplog.at_level(logging.WARNING, "cycles.guard"):
        passing.realtime.connect("key", "m").close()  # begun, and not awaited
    assert [record.cycles_event for record in caplog.records] == ["sent without being counted"]


@pytest.mark.skipif(not find_spec("httpx2"), reason="this version of the SDK is on httpx")
def test_clients_that_the_user_gave_are_copied_and_stay_as_they_are(world):
    """Their hooks, headers and class are the copy's; closing the wrapped SDK leaves them open."""
    httpx = importlib.import_module("httpx2")
    seen = []

    class Client(httpx.Client):
        """A class of the user's."""

    async def noted(request):
        seen.append(request.headers["x-mine"])

    blocking = Client(
        headers={"x-mine": "1"}, event_hooks={"request": [lambda sent: seen.append(sent.headers["x-mine"])]}
    )
    both = httpx.AsyncClient(headers={"x-mine": "2"}, event_hooks={"request": [noted]})
    made = type(world.api.client("", asynchronous=False))(
        api_key="test", server_url=f"{world.provider.url}/mistral", client=blocking, async_client=both
    )
    transports = (blocking._transport, both._transport)
    wrapped = cycles.wrap(made, prices=prices())
    assert type(wrapped.sdk_configuration.client) is Client

    async def ask():
        async with wrapped:
            await wrapped.chat.complete_async(**ASKED, max_tokens=MOST)
        async with both:
            await made.chat.complete_async(**ASKED, max_tokens=MOST)

    with wrapped:
        wrapped.chat.complete(**ASKED, max_tokens=MOST)
    made.chat.complete(**ASKED, max_tokens=MOST)
    asyncio.run(ask())
    assert seen == ["1", "1", "2", "2"]
    assert (blocking._transport, both._transport) == transports
    assert made.sdk_configuration.client is blocking
    assert len(world.charged()) == 2
    assert not blocking.is_closed
    blocking.close()


def test_parts_that_were_made_before_are_made_anew(world):
    """`client.chat` is made when it is first asked for: the original's is the original's."""
    made = world.api.client(world.provider.url, asynchronous=False)
    chat = made.chat
    wrapped = cycles.wrap(made, prices=prices())
    assert made.chat is chat
    wrapped.chat.complete(**ASKED)
    assert len(world.charged()) == 1
    chat.complete(**ASKED)
    assert len(world.authority.requests) == 2
    made.sdk_configuration.client.close()


@pytest.mark.skipif(not find_spec("mistralai.azure"), reason="this version has it in a package of its own")
def test_at_azure_it_is_mistrals_wire(world):
    """Its host is Azure's; what is sent is what Mistral's models take there."""
    import httpx2  # noqa: PLC0415 - only this version has it

    azure = importlib.import_module("mistralai.azure.client").MistralAzure

    def answered(request):
        sent.append(json.loads(request.content))
        told = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
        choice = {"index": 0, "delta": {"content": "Fine."}, "finish_reason": "stop"}
        chunk = {"id": "c", "model": "azureai", "choices": [choice], "usage": told}
        text = f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n"
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, text=text)

    sent = []
    with httpx2.Client(transport=httpx2.MockTransport(answered)) as http:
        made = azure(api_key="test", server_url="https://mine.services.ai.azure.com", client=http)
        client = cycles.wrap(made, prices=cycles.Prices({"azureai": {"input": "1", "output": "3"}}))
        list(client.chat.stream(messages=MESSAGES))
    assert sent[0]["max_tokens"] == 4096
    assert not {"stream_options", "max_completion_tokens"} & set(sent[0])
    assert world.ledger == (100 * 1 + 10 * 3) * 100
