"""One metered request: reserved at its bound, sent bounded, charged what the answer says."""

from __future__ import annotations

import gzip
import json
import logging
import types

import httpx
import pytest

import cycles
from cycles._core import section_flows
from cycles._metered import messages
from cycles._metering.billable import Billable
from tests.metering.metered import CHAT, DONE, URL, Metered, chunk, completion, told, usage_chunk
from tests.support.authorities import SCOPE


@pytest.fixture
def metered(side, authority):
    return Metered(side, authority)


def test_it_is_charged_what_the_answer_tells(metered):
    metered.answers = [completion(told(20, 5))]
    response = metered.post(metered.client())
    assert response.json()["choices"][0]["message"]["content"] == "Fine."
    assert metered.figures == (25, 0)
    assert metered.source is None


def test_it_reserves_the_bound_and_sends_it(metered):
    held = []
    metered.answers = [completion(told(20, 5))]
    plain = metered.plain(event_hooks={})
    client = metered.client(plain, max_output=300)
    answered = client._transport._inner.handler
    client._transport._inner.handler = lambda request: (held.append(metered.figures), answered(request))[1]
    metered.post(client)
    ((spent, reserved),) = held
    assert spent == 0
    assert 300 < reserved < 1000
    assert metered.body == {**CHAT, "max_completion_tokens": 300}
    assert metered.sent[0].headers["content-length"] == str(len(metered.sent[0].content))


def test_the_metrics_go_along(metered, monkeypatch):
    noted, real = [], section_flows.commit
    monkeypatch.setattr(section_flows, "commit", lambda *args: (noted.append(args[2]), real(*args))[1])
    metered.answers = [completion(told(20, 5))]
    metered.post(metered.client())
    (metrics,) = noted
    assert (metrics.tokens_input, metrics.tokens_output) == (20, 5)
    assert metrics.model_version == "gpt-4o-2024-08-06"
    assert metrics.latency_ms >= 0


def test_the_original_is_not_metered(metered):
    plain = metered.plain()
    metered.client(plain)
    metered.answers = [completion(told(20, 5))]
    metered.post(plain)
    assert metered.figures == (0, 0)
    assert metered.body == CHAT


def test_an_answer_without_usage_costs_the_estimate(metered):
    metered.answers = [completion()]
    metered.post(metered.client(estimate=lambda request: 100, max_output=300))
    assert metered.figures == (400, 0)
    assert metered.source == "estimate"


@pytest.mark.parametrize("input_tokens", ["many", -5, None, 10**30], ids=repr)
def test_an_answer_with_a_garbled_usage_costs_the_estimate(metered, input_tokens):
    metered.answers = [completion({"prompt_tokens": input_tokens, "completion_tokens": 5})]
    assert metered.post(metered.client(estimate=lambda request: 100, max_output=300)).status_code == 200
    assert metered.figures == (400, 0)
    assert metered.source == "estimate"


def test_an_answer_whose_usage_was_stripped_to_nothing_costs_the_estimate(metered):
    """Some proxies fill in zeros; no request has an input of no token."""
    metered.answers = [completion(told(0, 0)), completion(told(0, 7))]
    client = metered.client(max_output=100)
    metered.post(client)
    (estimate, _) = metered.figures
    assert metered.source == "estimate"
    metered.post(client)
    assert metered.figures == (2 * estimate, 0)


def test_an_answer_that_cannot_be_priced_costs_the_estimate(metered, caplog, monkeypatch):
    metered.answers = [completion(told(20, 5))]
    monkeypatch.setattr(Billable, "answer", lambda *_: 1 // 0)
    with caplog.at_level(logging.ERROR):
        assert metered.post(metered.client(estimate=lambda request: 100, max_output=300)).status_code == 200
    assert metered.figures == (400, 0)
    assert metered.source == "estimate"


@pytest.mark.parametrize("status", [307, 308])
def test_a_redirected_request_is_metered_as_what_it_goes_to(metered, status):
    elsewhere = {"location": "https://api.groq.com/openai/v1/chat/completions"}
    metered.answers = [httpx.Response(status, headers=elsewhere), completion(told(20, 5))]
    metered.post(metered.client(metered.plain(follow_redirects=True)))
    assert metered.only.action.name == "groq:gpt-4o"
    assert metered.figures == (25, 0)
    metered.answers = [httpx.Response(status, headers={"location": "/v1/images/generations"})]
    with pytest.raises(cycles.Unmeterable, match="images are billed"):
        metered.post(metered.client(metered.plain(follow_redirects=True)))
    assert metered.figures == (25, 0)
    assert len(metered.sent) == 3, "what is not understood is not sent"


@pytest.mark.parametrize("status", [302, 400, 401, 429, 500, 503])
def test_what_the_provider_refused_costs_nothing(metered, status):
    metered.answers = [httpx.Response(status, json={"error": {"message": "no"}})]
    assert metered.post(metered.client()).json() == {"error": {"message": "no"}}
    assert metered.figures == (0, 0)


def test_a_failure_of_the_provider_may_cost_the_estimate(metered):
    metered.answers = [httpx.Response(500), httpx.Response(429)]
    client = metered.client(on_5xx="estimate", estimate=lambda request: 100, max_output=300)
    metered.post(client)
    metered.post(client)
    assert metered.figures == (400, 0)


@pytest.mark.parametrize(
    ("status", "body", "spent"),
    [(400, {"error": {"code": "content_filter"}}, 400), (408, {}, 400), (400, {"error": {"code": "x"}}, 0)],
)
def test_what_azure_bills_of_its_refusals_costs_the_estimate(metered, status, body, spent):
    metered.answers = [httpx.Response(status, json=body)]
    client = metered.client(provider="azure", estimate=lambda request: 100, max_output=300)
    assert metered.post(client).json() == body
    assert metered.figures == (spent, 0)


TIERS = {
    "asked for": ({"service_tier": "priority"}, {}, 4.25),
    "told": ({"service_tier": "priority"}, {"service_tier": "default"}, 2.5),
    "neither": ({}, {}, 2.5),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", TIERS)
def test_a_tier_that_the_answer_does_not_tell_is_the_one_that_was_asked_for(side, authority, case):
    pytest.importorskip("genai_prices")
    asked, told_beside, dollars = TIERS[case]
    authority.budget(SCOPE, cycles.usd(100))
    metered = Metered(side, authority)
    answer = completion(told(1_000_000, 0))
    metered.answers = [httpx.Response(200, json=answer.json() | told_beside)]
    metered.post(metered.client(unit="USD_MICROCENTS"), body=CHAT | asked)
    assert authority.balance(SCOPE, "USD_MICROCENTS").spent == cycles.usd(str(dollars)).amount


@pytest.mark.parametrize("error", [httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError])
def test_what_was_never_sent_costs_nothing(metered, error):
    metered.answers = [error("no way")]
    with pytest.raises(error):
        metered.post(metered.client())
    assert metered.figures == (0, 0)


@pytest.mark.parametrize("error", [httpx.ReadTimeout, httpx.RemoteProtocolError, httpx.WriteError, KeyError])
def test_what_got_lost_costs_the_estimate(metered, error):
    metered.answers = [error("gone"), error("gone")]
    with pytest.raises(error):
        metered.post(metered.client(estimate=lambda request: 100, max_output=300))
    assert metered.figures == (400, 0)
    assert metered.source == "estimate"
    with pytest.raises(error):
        metered.post(metered.client(lost="release"))
    assert metered.figures == (400, 0)


@pytest.mark.parametrize("error", [httpx.ConnectError, httpx.PoolTimeout])
def test_what_a_transport_sent_and_could_not_send_again_costs_the_estimate(metered, error):
    """A user's transport may try again by itself: its last attempt says nothing of those before."""

    def tried_twice(request):
        metered.sent.append(b"".join(request.stream))  # it leaves, and the answer gets lost
        raise error("no way, the second time")

    client = metered.client(estimate=lambda request: 100, max_output=300)
    client._transport._inner.handler = tried_twice
    with pytest.raises(error):
        metered.post(client)
    assert metered.figures == (400, 0)
    assert metered.source == "estimate"


def test_a_transport_that_tries_again_by_itself_is_logged(metered, caplog):
    """Its earlier attempts are not seen, and may have been billed."""

    def tried_thrice(request):
        for _ in range(3):
            metered.sent.append(b"".join(request.stream))
        return completion(told(20, 5))

    client = metered.client()
    client._transport._inner.handler = tried_thrice
    with caplog.at_level(logging.WARNING, "cycles.guard"):
        metered.post(client)
        metered.post(client)
    (record,) = caplog.records
    assert record.cycles_event == "sent more than once"
    assert "3 times" in record.cycles_reason
    assert metered.figures == (50, 0)


def test_httpxs_own_transports_send_once():
    """They begin again where the provider has ended a connection of HTTP/2 before it read the request."""
    twice = types.SimpleNamespace(stream=types.SimpleNamespace(times=2))
    assert messages.times_sent(httpx, httpx.HTTPTransport(), twice) == 1

    class Retrying(httpx.HTTPTransport):
        pass

    assert messages.times_sent(httpx, Retrying(), twice) == 2


class Reading(httpx.MockTransport):
    """Reads each answer before it passes it on, to log it."""

    def handle_request(self, request):
        response = super().handle_request(request)
        response.read()
        return response

    async def handle_async_request(self, request):
        response = await super().handle_async_request(request)
        await response.aread()
        return response


class Once(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that can be read once, as those are that come from a connection."""

    def __init__(self, data):
        self.rest = [data]

    def __iter__(self):
        yield self.rest.pop()

    async def __aiter__(self):
        yield self.rest.pop()


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("is_streamed", [False, True], ids=["whole", "stream"])
def test_a_transport_may_have_read_the_answer(metered, is_streamed, packed):
    said = b"".join([chunk("Fine."), usage_chunk(20, 5), DONE]) if is_streamed else completion(told(20, 5)).content
    headers = {"content-type": "text/event-stream" if is_streamed else "application/json"}
    headers |= {"content-encoding": "gzip"} if packed else {}
    answers = [httpx.Response(200, headers=headers, stream=Once(gzip.compress(said) if packed else said))]
    plain = type(metered.plain())(transport=Reading(lambda request: answers.pop()))
    client = metered.client(plain)
    came = metered.stream(client) if is_streamed else metered.post(client).content
    assert came == (chunk("Fine.") + DONE if is_streamed else said)
    assert metered.figures == (25, 0)
    assert metered.source is None


def test_an_answer_that_breaks_off_costs_the_estimate(metered):
    class Broken(httpx.SyncByteStream, httpx.AsyncByteStream):
        def __iter__(self):
            yield b'{"id":'
            raise httpx.ReadError("gone")

        async def __aiter__(self):
            yield b'{"id":'
            raise httpx.ReadError("gone")

    metered.answers = [httpx.Response(200, stream=Broken()), httpx.Response(400, stream=Broken())]
    client = metered.client(estimate=lambda request: 100, max_output=300)
    for _ in range(2):
        with pytest.raises(httpx.ReadError):
            metered.post(client)
    assert metered.figures == (400, 0), "a refusal that breaks off is a refusal"


def test_a_compressed_answer_is_read_and_passed_on(metered):
    plain = completion(told(20, 5))
    headers = {"content-encoding": "gzip", "content-type": "application/json"}
    metered.answers = [httpx.Response(200, headers=headers, stream=httpx.ByteStream(gzip.compress(plain.content)))]
    response = metered.post(metered.client())
    assert response.json() == plain.json()
    assert response.headers["content-encoding"] == "gzip"
    assert metered.figures == (25, 0)


def test_a_body_that_can_not_be_decoded_costs_the_estimate(metered):
    metered.answers = [httpx.Response(200, headers={"content-encoding": "gzip"}, stream=httpx.ByteStream(b"no gzip"))]
    with pytest.raises(httpx.DecodingError):
        metered.post(metered.client(estimate=lambda request: 100, max_output=300))
    assert metered.figures == (400, 0)


def test_raw_bytes_stay_as_they_came(metered):
    packed = gzip.compress(completion(told(20, 5)).content)
    metered.answers = [httpx.Response(200, headers={"content-encoding": "gzip"}, stream=httpx.ByteStream(packed))]

    def read(client):
        with client.stream("POST", URL, json=CHAT) as response:
            return b"".join(response.iter_raw())

    async def read_async(client):
        async with client.stream("POST", URL, json=CHAT) as response:
            return b"".join([part async for part in response.aiter_raw()])

    client = metered.client()
    assert metered.side.call(read if metered.side.kind == "sync" else read_async, client) == packed


def test_free_requests_pass(metered):
    metered.answers = [httpx.Response(200, json={"data": []})]
    client = metered.client()
    assert metered.side.call(client.get, "https://api.openai.com/v1/models").status_code == 200
    assert metered.figures == (0, 0)


def test_a_denial_comes_before_the_request(side, authority):
    metered = Metered(side, authority, budget=100)
    with pytest.raises(cycles.BudgetExceeded):
        metered.post(metered.client())
    assert metered.sent == []
    assert metered.figures == (0, 0)


def test_a_denial_is_an_answer_to_sdks_that_would_try_again(side, authority):
    metered = Metered(side, authority, budget=100)
    response = metered.post(metered.client(), headers={"x-stainless-lang": "python"})
    assert (response.status_code, response.headers["x-should-retry"]) == (403, "false")
    with pytest.raises(cycles.BudgetExceeded):
        response.raise_for_status()
    with pytest.raises(cycles.BudgetExceeded):
        response.is_success  # noqa: B018 - asking raises
    assert metered.sent == []


def test_an_unreachable_authority_refuses(metered):
    metered.side.close()
    with pytest.raises(cycles.InvalidRequest, match="closed"):
        metered.post(metered.client())
    assert metered.sent == []


# -- around it ---------------------------------------------------------------------------------------------------------
def test_inside_a_limit_the_authority_is_not_asked(metered):
    metered.answers = [completion(told(20, 5)), completion(told(30, 5))]
    client = metered.client(estimate=lambda request: 100, max_output=300)
    limit = cycles.Limit(cycles.tokens(420), action=("agent.run", "test"), client=metered.side.client)

    def run():
        with limit:
            client.post(URL, json=CHAT)
            with pytest.raises(cycles.BudgetExceeded) as refused:
                client.post(URL, json=CHAT)
        return refused.value.limit, limit.sections

    async def run_async():
        async with limit:
            await client.post(URL, json=CHAT)
            with pytest.raises(cycles.BudgetExceeded) as refused:
                await client.post(URL, json=CHAT)
        return refused.value.limit, limit.sections

    assert metered.side.call(run if metered.side.kind == "sync" else run_async) == (limit, 1)
    assert metered.figures == (25, 0)
    assert limit.spent == cycles.tokens(25)


def test_subject_says_who_spends(metered):
    metered.answers = [completion(told(20, 5))]
    client = metered.client()

    def run():
        with cycles.subject(agent="planner"):
            client.post(URL, json=CHAT)

    async def run_async():
        with cycles.subject(agent="planner"):
            await client.post(URL, json=CHAT)

    metered.side.call(run if metered.side.kind == "sync" else run_async)
    assert metered.only.subject.agent == "planner"
    assert (metered.only.action.kind, metered.only.action.name) == ("llm.completion", "openai:gpt-4o")


def test_guards_fields_are_taken(metered):
    metered.answers = [completion(told(20, 5))]
    metered.post(metered.client(agent="planner", metadata={"case": 7}, tags=["a"]))
    assert metered.only.subject.agent == "planner"
    assert json.loads(json.dumps(metered.only.metadata)) == {"case": 7}
