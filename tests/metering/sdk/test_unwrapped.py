"""The SDKs are content with the endpoint: what it says reaches their users, and its usage is theirs."""

from __future__ import annotations

import asyncio
import inspect

import pytest

from tests.metering.provider import Gate, Turn
from tests.metering.sdk.apis import APIS, MOST, closed, half
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class Aiohttp:DeprecationWarning")  # google-genai's own

SAID = "".join(f"w{index:02} " for index in range(12))
CALLED = {"query": "tokens of a call"}


@pytest.fixture(params=APIS, ids=lambda api: api.name)
def api(request):
    return request.param


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def run(request, api, provider):
    """Run a question of one kind of client, and return its answer; of a stream the texts."""
    asynchronous = request.param

    def run(question, *, texts=False, retries=0, timeout=PATIENCE, leave_after=None):
        made = api.client(provider.url, asynchronous=asynchronous, retries=retries, timeout=timeout)
        client = half(made, asynchronous=asynchronous)

        async def asked():
            try:
                answer = question(client)
                answer = await answer if inspect.isawaitable(answer) else answer
                if not texts:
                    return answer
                found = []
                async for text in api.adeltas(answer):
                    found.append(text)
                    if len(found) == leave_after:
                        await api.close(answer)
                        break
                return found
            finally:
                await closed(client)

        if asynchronous:
            return asyncio.run(asked())
        try:
            answer = question(client)
            if not texts:
                return answer
            found = []
            for text in api.deltas(answer):
                found.append(text)
                if len(found) == leave_after:
                    api.close(answer)
                    break
            return found
        finally:
            closed(made)

    return run


def test_an_answer(api, run, provider):
    assert api.text(run(api.ask)) == SAID
    assert provider.bills[0].asked_output == MOST


def test_a_stream_in_small_compressed_pieces(api, run, provider):
    provider.plan(Turn(gzip=True, piece=5))
    assert "".join(run(api.open, texts=True)) == SAID
    assert len(provider.over()) == 1


def test_a_stream_that_is_left(api, run, provider):
    gate = Gate()
    gate.open(3)
    provider.plan(Turn(gate=gate))
    assert run(api.open, texts=True, leave_after=3) == ["w00 ", "w01 ", "w02 "]
    assert provider.over()[0].counts.output == 3


def test_a_tool_is_called(api, run):
    called = api.called(run(api.call))
    assert called in (CALLED, '{"query":"tokens of a call"}')


def test_structured_output(api, run):
    if not api.parses:
        pytest.skip("not in this version of the SDK")
    person = api.parsed(run(api.parse))
    assert (person.name, person.age) == ("déjà vu", 41)


def test_embeddings(api, run, provider):
    if not api.embeds:
        pytest.skip("this API has none")
    run(api.embed)
    assert provider.bills[0].counts.input >= len("onezwölf".encode())


def test_several_candidates(api, run, provider):
    if not api.candidates:
        pytest.skip("this API has none")
    run(lambda client: api.several(client, 3))
    assert provider.bills[0].counts.output == 36


def test_the_sdk_tries_again(api, run, provider):
    provider.plan(Turn(status=503), Turn(status=429))
    assert api.text(run(api.ask, retries=2)) == SAID
    assert [bill.status for bill in provider.over()] == [503, 429, 200]


def test_the_sdk_gives_up_in_time(api, run, provider):
    provider.plan(Turn(gate=Gate()))
    with pytest.raises(api.timed_out):
        run(api.ask, timeout=0.2)
    assert provider.over()[0].status is None


@pytest.mark.parametrize("drop", ["before", "after"])
def test_a_lost_answer_is_an_error(api, run, provider, drop):
    provider.plan(Turn(drop=drop))
    with pytest.raises(api.hurt):
        run(api.ask)


def test_a_stream_that_is_cut_is_an_error(api, run, provider):
    provider.plan(Turn(cut=2))
    with pytest.raises(api.hurt):
        run(api.open, texts=True)


def test_a_model_that_fails_in_a_stream_says_so(api, run, provider):
    provider.plan(Turn(fail=5))
    if api.name == "OpenAI responses":  # an event like others, for its user to look at
        assert run(api.open, texts=True) == ["w00 "]
        return
    with pytest.raises(api.hurt):
        run(api.open, texts=True)
