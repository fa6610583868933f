"""Answers are read within bounds, and what comes after one is not the next one's."""

from __future__ import annotations

import asyncio
import gzip
import socket
import threading
import zlib
from collections import deque
from contextlib import contextmanager, suppress
from functools import partial
from types import SimpleNamespace

import httpx
import httpx2
import pytest
from httpx_aiohttp import AiohttpTransport

from cycles._drivers import httpx2_engine, httpx_engine
from cycles._drivers.aiohttp_engine import AiohttpClient
from cycles._drivers.bodies import LARGEST, Body, close_surplus
from cycles._drivers.bounded_api import BoundedApi
from cycles_api.errors import DecodeError
from cycles_api.types import UNSET

from .sockets import answering

BODY = b'{"balances": []}'


def body_of(content, encoding, *, step=7):
    body = Body(200, httpx.Headers({"content-encoding": encoding} if encoding else {}))
    for start in range(0, len(content), step):
        body.feed(content[start : start + step])
    return body.end()


def raw_deflate(content):
    packing = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packing.compress(content) + packing.flush()


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        (None, BODY),
        ("identity", BODY),
        ("gzip", gzip.compress(BODY, mtime=0)),
        ("x-gzip", gzip.compress(BODY, mtime=0)),
        (" GZip ", gzip.compress(BODY, mtime=0)),
        ("deflate", zlib.compress(BODY)),
        ("deflate", raw_deflate(BODY)),
        ("gzip", b""),
    ],
)
@pytest.mark.parametrize("step", [1, 100])
def test_what_was_asked_for_is_decoded(encoding, packed, step):
    assert body_of(packed, encoding, step=step) == (BODY if packed else b"")


@pytest.mark.parametrize(
    ("encoding", "packed", "reason"),
    [
        ("br", BODY, "was not asked for"),
        ("zstd", BODY, "was not asked for"),
        ("gzip, gzip", gzip.compress(gzip.compress(BODY, mtime=0), mtime=0), "was not asked for"),
        ("gzip", BODY, "badly encoded"),
        ("deflate", b"\xff" * 9, "badly encoded"),
        ("gzip", gzip.compress(BODY, mtime=0)[:-9], "cut off"),
        ("gzip", gzip.compress(BODY, mtime=0) + gzip.compress(BODY, mtime=0), "goes on after its end"),
    ],
)
def test_what_can_not_be_decoded_is_no_answer(encoding, packed, reason):
    with pytest.raises(DecodeError, match=reason) as caught:
        body_of(packed, encoding, step=1000)
    assert caught.value.status_code == 200


@pytest.mark.parametrize("encoding", [None, "gzip", "deflate"])
def test_a_body_has_a_largest_size_as_it_comes_and_decoded(encoding):
    pack = {None: bytes, "gzip": gzip.compress, "deflate": zlib.compress}[encoding]
    whole = bytes(LARGEST)
    assert len(body_of(pack(whole), encoding, step=65536)) == LARGEST
    with pytest.raises(DecodeError, match="larger than 4 MiB"):
        body_of(pack(whole + b"x"), encoding, step=65536)


def test_no_more_is_decoded_than_is_kept(monkeypatch):
    """16 MiB of zeros are 16 KiB: no step of decoding may return them."""
    given = []
    inflate = Body.feed.__globals__["_Inflater"].inflate
    monkeypatch.setattr(
        "cycles._drivers.bodies._Inflater.inflate",
        lambda self, chunk, most: given.append(inflate(self, chunk, most)) or given[-1],
    )
    with pytest.raises(DecodeError, match="larger"):
        body_of(gzip.compress(bytes(16 << 20)), "gzip", step=1 << 20)
    assert sum(map(len, given)) == LARGEST + 1


@pytest.mark.parametrize("length", [str(LARGEST + 1), "9" * 400])
def test_a_length_that_is_too_much_is_believed_at_once(length):
    with pytest.raises(DecodeError, match="larger"):
        Body(200, httpx.Headers({"content-length": length}))


# -- on the wire -------------------------------------------------------------------------------------------------------
def over_aiohttp():
    return httpx.AsyncClient(transport=AiohttpTransport())


OURS = [
    httpx_engine.DirectClient,
    httpx_engine.AsyncDirectClient,
    httpx2_engine.DirectClient,
    httpx2_engine.AsyncDirectClient,
    AiohttpClient,
]
GIVEN = [httpx.Client, httpx.AsyncClient, httpx2.Client, httpx2.AsyncClient, over_aiohttp]
KINDS = [pytest.param(kind, id=f"{kind.__module__.rpartition('.')[2]}.{kind.__name__}") for kind in (*OURS, *GIVEN)]


def asked(kind, url, times=1, between=lambda: None):
    """Send GETs one after the other through one client, our own or one that was given; return the bodies."""
    request = {"method": "GET", "url": "/"}
    http, api = kind(), BoundedApi(url, "key")
    if hasattr(http, "close"):
        found = []
        with http:
            api.set_httpx_client(http)
            for _ in range(times):
                found.append(api._request(dict(request), UNSET, None).content)
                between()
        return found

    async def main():
        found = []
        async with http:
            api.set_async_httpx_client(http)
            for _ in range(times):
                found.append((await api._arequest(dict(request), UNSET, None)).content)
                await asyncio.to_thread(between)
                for _ in range(5):  # the loop reads what has arrived
                    await asyncio.sleep(0)
        return found

    return asyncio.run(main())


@pytest.mark.parametrize("kind", KINDS)
def test_a_bomb_is_no_answer(kind):
    packed = gzip.compress(bytes(16 << 20))
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(packed)
    with answering(head, packed) as url, pytest.raises(DecodeError, match="larger than 4 MiB"):
        asked(kind, url)


@pytest.mark.parametrize("kind", KINDS)
def test_a_packed_answer_is_unpacked_once(kind):
    packed = gzip.compress(BODY, mtime=0)
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(packed)
    with answering(head, packed) as url:
        assert asked(kind, url) == [BODY]


@contextmanager
def generous(*, later: bool):
    """A server that answers each request on a connection by its number, and its first one twice.

    Yields its URL, how many connections it has had, and an event: the surplus has been sent.
    """
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n%d"
    surplus, sent, connections = answer % 9, threading.Event(), []

    def serve(connection):
        with connection, suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # what is sent has arrived, on loopback
            for number in range(1, 9):
                if not connection.recv(65536):
                    return
                first = len(connections) == 1 and number == 1
                connection.sendall(answer % number + (surplus if first and not later else b""))
                if first and later:
                    connection.sendall(surplus)
                sent.set()

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                connections.append(connection)
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", connections, sent
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("later", [False, True], ids=["at once", "in another segment"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_surplus_answer_is_not_the_next_ones(kind, later):
    with generous(later=later) as (url, connections, sent):
        assert asked(kind, url, 2, sent.wait) == [b"1", b"1"]
    assert len(connections) == 2, "the second request has a connection of its own"


def test_an_idle_connection_of_aiohttp_on_which_more_has_come_is_closed():
    good, bad = SimpleNamespace(should_close=False), SimpleNamespace(should_close=True)
    closed = []
    for protocol in (good, bad):
        protocol.close = partial(closed.append, protocol)
    connections = {"a": deque([(good, 0.0)]), "b": deque([(bad, 0.0), (good, 0.0)])}
    close_surplus(SimpleNamespace(connector=SimpleNamespace(_conns=connections)))
    close_surplus(None)
    assert closed == [bad]
