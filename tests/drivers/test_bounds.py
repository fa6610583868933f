"""Answers through an http client that was given: within bounds, with all that its owner asked httpx for."""

from __future__ import annotations

import asyncio
import gzip

import httpx
import httpx2
import pytest

from cycles._drivers.bodies import LARGEST
from cycles._drivers.bounded_api import BoundedApi, BoundedPublicApi
from cycles._drivers.deadline import Deadline
from cycles_api.errors import DecodeError
from cycles_api.types import UNSET
from tests.drivers.sockets import answering

BOMB = gzip.compress(bytes(16 << 20))
PACKED = {"content-encoding": "gzip"}
TINY = gzip.compress(b"{}", mtime=0)


class Parts:
    """A body that is on its way until it is read, for blocking and for asynchronous clients."""

    def __init__(self, *parts):
        self.parts, self.is_closed = parts, False

    def __iter__(self):
        yield from self.parts

    async def __aiter__(self):
        for part in self.parts:
            yield part

    def close(self):
        self.is_closed = True

    async def aclose(self):
        self.is_closed = True


def on_its_way(http, *parts):
    return type("Body", (Parts, http.SyncByteStream, http.AsyncByteStream), {})(*parts)


@pytest.fixture(params=["httpx", "httpx2"])
def http(request):
    return {"httpx": httpx, "httpx2": httpx2}[request.param]


@pytest.fixture(params=["Client", "AsyncClient"])
def ask(http, request):
    """Send one GET through a client of *options* whose transport answers with *answer*; return the response."""

    def asked(answer, *, public=False, **options):
        client = getattr(http, request.param)(transport=http.MockTransport(answer), **options)
        url = "http://authority.example"
        api = BoundedPublicApi(url) if public else BoundedApi(url, "key")
        arguments = {"method": "GET", "url": "/v1"}, UNSET, None
        if request.param == "Client":
            return api.set_httpx_client(client)._request(*arguments, public=public)

        async def main():
            return await api.set_async_httpx_client(client)._arequest(*arguments, public=public)

        return asyncio.run(main())

    return asked


@pytest.mark.parametrize("public", [False, True])
def test_a_bomb_is_no_answer_and_its_stream_is_closed(http, ask, public):
    streams = []

    def answer(request):
        streams.append(on_its_way(http, BOMB))
        return http.Response(200, headers=PACKED, stream=streams[-1])

    with pytest.raises(DecodeError, match="larger than 4 MiB"):
        ask(answer, public=public)
    assert streams[0].is_closed


def test_what_is_sent_asks_for_what_can_be_decoded_step_by_step(http, ask):
    seen = []

    def answer(request):
        seen.append((request.headers["accept-encoding"], request.headers["x-cycles-api-key"]))
        return http.Response(200, headers=PACKED, stream=on_its_way(http, TINY[:9], TINY[9:]))

    assert ask(answer, headers={"accept-encoding": "br"}).json() == {}
    assert seen == [("gzip, deflate", "key")]


def test_redirects_are_followed_as_the_client_says_and_read_within_bounds(http, ask):
    seen = []

    def answer(request):
        seen.append(request.url.path)
        if request.url.path == "/there":
            return http.Response(200, stream=on_its_way(http, b"{}"))
        packed = request.url.path == "/bomb"
        head = {"location": "/there" if packed else "/bomb" if bomb else "/there", **(PACKED if packed else {})}
        return http.Response(302, headers=head, stream=on_its_way(http, BOMB if packed else b""))

    bomb = False
    assert ask(answer).status_code == 302
    followed = ask(answer, follow_redirects=True)
    assert (followed.content, len(followed.history)) == (b"{}", 1)
    assert seen == ["/v1", "/v1", "/there"]
    bomb = True
    with pytest.raises(DecodeError, match="larger than 4 MiB"):
        ask(answer, follow_redirects=True)
    assert seen[3:] == ["/v1", "/bomb"]


def test_redirects_without_end_are_given_up(http, ask):
    def answer(request):
        return http.Response(302, headers={"location": "/v1"}, stream=on_its_way(http))

    with pytest.raises(http.TooManyRedirects):
        ask(answer, follow_redirects=True, max_redirects=3)


def test_a_challenge_is_answered_and_read_within_bounds(http, ask):
    challenge = {"www-authenticate": 'Digest realm="r", nonce="n", qop="auth", algorithm=MD5'}

    def answer(request):
        if "authorization" in request.headers:
            return http.Response(200, stream=on_its_way(http, b"{}"))
        return http.Response(401, headers=challenge | head, stream=on_its_way(http, body))

    head, body = {}, b"who?"
    assert ask(answer, auth=http.DigestAuth("me", "secret")).content == b"{}"
    head, body = PACKED, BOMB
    with pytest.raises(DecodeError, match="larger than 4 MiB"):
        ask(answer, auth=http.DigestAuth("me", "secret"))


def test_what_is_there_from_the_beginning_has_the_same_bound(http, ask):
    """A transport that reads by itself, and a hook that has read: what is in memory is not decoded again."""
    assert ask(lambda request: http.Response(200, headers=PACKED, content=TINY)).content == b"{}"
    with pytest.raises(DecodeError, match="larger than 4 MiB"):
        ask(lambda request: http.Response(200, content=bytes(LARGEST + 1)))
    with pytest.raises(DecodeError, match="larger than 4 MiB"):
        ask(lambda request: http.Response(200, headers=PACKED, content=BOMB))


@pytest.mark.parametrize("kind", [httpx.Client, httpx2.Client])
def test_a_deadline_covers_the_reading(kind):
    """Each byte is in time for httpx; the deadline of the whole request ends it, at the next one."""
    with (
        answering(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", b"{") as url,
        kind() as client,
        Deadline(0.0, waiting_counts=True),
        pytest.raises(Exception, match="longer than its 0 s") as raised,
    ):
        BoundedApi(url, "key").set_httpx_client(client)._request({"method": "GET", "url": "/"}, UNSET, None)
    assert type(raised.value).__name__ == "ReadTimeout"
