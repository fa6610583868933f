"""The endpoint itself: what it bills, to the token, whatever becomes of a request."""

from __future__ import annotations

import json
import re
import socket

import httpx
import pytest

from tests.metering.bill import TARIFFS, Counts, Tariff, microcents
from tests.metering.provider import Gate, Turn
from tests.support.waiting import PATIENCE

HELLO = [{"role": "user", "content": "héllo"}]  # six bytes, four for the message, three for the reply's beginning
CHAT = {"model": "gpt-metered", "messages": HELLO}
MESSAGES = {"model": "claude-metered", "messages": HELLO, "max_tokens": 100}
CONTENTS = {"contents": [{"role": "user", "parts": [{"text": "héllo"}]}]}
ASKED = {
    "/v1/chat/completions": CHAT,
    "/v1/responses": {"model": "gpt-metered", "input": "héllo"},
    "/v1/messages": MESSAGES,
    "/v1beta/models/gemini-metered:streamGenerateContent?alt=sse": CONTENTS,
}


@pytest.fixture
def http(provider):
    with httpx.Client(base_url=provider.url, timeout=PATIENCE, verify=False) as http:
        yield http


def test_the_arithmetic_agrees_with_a_real_bill(monkeypatch):
    """6 tokens in, 159,217 written to the cache and 2,745 out cost $1.06376125."""
    monkeypatch.setitem(TARIFFS, "real", Tariff("5", "0.5", "6.25", "25"))
    assert microcents("real", Counts(fresh=6, written=159_217, output=2_745)) == 106_376_125
    assert microcents("real", Counts(fresh=4, read=2_455)) == 124_750
    monkeypatch.setitem(TARIFFS, "odd", Tariff("0.001", "0", "0", "0"))
    assert microcents("odd", Counts(fresh=1)) == 1  # a tenth of a microcent is rounded up
    assert microcents("odd", Counts(fresh=11)) == 2


def test_what_is_told_is_what_is_billed(provider, http):
    provider.plan(Turn(reasoning=5, read=3))
    usage = http.post("/v1/chat/completions", json=CHAT).json()["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (13, 17)
    assert provider.bills[0].counts == Counts(fresh=10, read=3, output=17)
    provider.plan(Turn(read=3, written=2))
    usage = http.post("/v1/messages", json=MESSAGES).json()["usage"]
    assert (usage["input_tokens"], usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]) == (5, 3, 2)
    assert provider.bills[1].counts == Counts(fresh=5, read=3, written=2, output=12)
    assert all(bill.told for bill in provider.over())


def test_the_output_is_bounded_by_what_was_asked_for(provider, http):
    answer = http.post("/v1/chat/completions", json=CHAT | {"max_tokens": 3, "n": 2}).json()
    assert [choice["message"]["content"] for choice in answer["choices"]] == ["w00 w01 w02 "] * 2
    assert answer["choices"][0]["finish_reason"] == "length"
    assert provider.bills[0].counts.output == 6


def test_a_stream_that_is_left_has_cost_its_input_and_what_was_generated(provider, http):
    gate = Gate()
    provider.plan(Turn(gate=gate))
    with http.stream("POST", "/v1/chat/completions", json=CHAT | {"stream": True}) as response:
        gate.open(3)
        lines = response.iter_lines()
        while "w02" not in next(lines):
            pass
    (bill,) = provider.over()
    assert bill.counts == Counts(fresh=13, output=3)
    assert not bill.told


@pytest.mark.parametrize("path", ASKED)
def test_a_stream_can_be_cut_at_every_event(provider, http, path):
    body = ASKED[path] | ({} if "gemini" in path else {"stream": True})
    whole = http.post(path, json=body).text.split("\n\n")[:-1]
    assert whole
    for cut in range(len(whole)):
        provider.plan(Turn(cut=cut))
        received = b""
        with pytest.raises(httpx.RemoteProtocolError), http.stream("POST", path, json=body) as response:
            for part in response.iter_bytes():
                received += part
        assert received.decode().count("\n\n") == cut
        bill = provider.over()[-1]
        assert bill.counts.output == len(set(re.findall(rb"w\d\d ", received)))
        assert bill.counts.input > 0


def test_a_request_that_was_not_read_is_not_billed_and_one_that_was_is(provider, http):
    provider.plan(Turn(drop="before"), Turn(drop="after"), Turn(status=503), Turn(status=429))
    for _ in range(2):
        with pytest.raises(httpx.RemoteProtocolError):
            http.post("/v1/chat/completions", json=CHAT)
    assert [http.post("/v1/chat/completions", json=CHAT).status_code for _ in range(3)] == [503, 429, 200]
    assert [bill.counts for bill in provider.over()] == [
        Counts(fresh=13, output=12),
        Counts(),
        Counts(),
        Counts(fresh=13, output=12),
    ]


def test_a_client_that_leaves_before_the_answer_has_cost_what_was_generated(provider):
    gate = Gate()
    provider.plan(Turn(gate=gate))
    gate.open(2)
    body = json.dumps(CHAT).encode()
    with socket.create_connection(("127.0.0.1", provider.port)) as connection:
        connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        provider.wait(lambda provider: provider.bills and provider.bills[0].counts.output == 2)
    (bill,) = provider.over()
    assert bill.status is None
    assert bill.counts == Counts(fresh=13, output=2)


@pytest.mark.parametrize("path", ASKED)
def test_compressed_and_in_small_pieces_the_answer_is_the_same(provider, http, path):
    body = ASKED[path] | ({} if "gemini" in path else {"stream": True})
    plain = http.post(path, json=body).text
    provider.plan(Turn(gzip=True, piece=3))
    response = http.post(path, json=body)
    assert response.headers["content-encoding"] == "gzip"
    ids = re.compile(r"[a-z]+[-_][12]\b")
    assert ids.sub("id", response.text) == ids.sub("id", plain)


def test_usage_can_be_kept_back_and_chat_tells_it_in_a_stream_only_when_asked(provider, http):
    provider.plan(Turn(tells=False))
    assert "usage" not in http.post("/v1/chat/completions", json=CHAT).json()
    stream = CHAT | {"stream": True}
    assert '"usage"' not in http.post("/v1/chat/completions", json=stream).text
    asking = stream | {"stream_options": {"include_usage": True}}
    last = http.post("/v1/chat/completions", json=asking).text.split("\n\n")[-3]
    assert json.loads(last.removeprefix("data: "))["choices"] == []
    assert [bill.told for bill in provider.over()] == [False, False, True]


def test_free_paths_are_not_billed_and_bad_requests_are_refused(provider, http):
    assert http.get("/v1/models").status_code == 200
    assert http.post("/v1/messages/count_tokens", json=MESSAGES).json()["input_tokens"] == 7
    assert http.post("/v1/messages", json={"model": "claude-metered"}).status_code == 400
    assert http.post("/v1/elsewhere", json={}).status_code == 404
    assert provider.bills == []
