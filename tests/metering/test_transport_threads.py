"""A blocking stream that one thread reads while another one closes it: charged once, and the reader hears of it."""

from __future__ import annotations

import threading

import httpx
import pytest

from tests.metering.metered import DONE, URL, Metered, chunk, usage_chunk
from tests.metering.test_transport_streams import STREAM, WORDS, Sideless
from tests.support.waiting import PATIENCE, until


class Awaited(httpx.SyncByteStream):
    """A body whose next part is awaited; a reader is told, as by a socket, when it was closed meanwhile.

    Attributes:
        is_awaited: Set as soon as a reader waits.
        may_come: Lets the rest come, or the reader hear that it was closed.
        ends_told: Whether what comes then tells the usage.
    """

    def __init__(self, *, ends_told: bool) -> None:
        self.is_awaited, self.may_come = threading.Event(), threading.Event()
        self.ends_told = ends_told
        self.closed = 0

    def __iter__(self):
        yield WORDS[0]
        self.is_awaited.set()
        assert self.may_come.wait(PATIENCE)
        if self.ends_told:
            yield chunk("more")
            yield usage_chunk(20, 5)
            yield DONE
        raise httpx.ReadError("closed")

    def close(self):
        self.closed += 1


@pytest.fixture
def metered(authority, monkeypatch):
    monkeypatch.setattr(Sideless, "kind", "sync")
    return Metered(Sideless(authority.client(tenant="acme")), authority)


def read_in_a_thread(metered, body, partial):
    """Return a response, the thread that reads it and waits for its next part, and what has come out of that."""
    metered.answers = [httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=body)]
    client = metered.client(partial=partial, estimate=lambda request: 100, max_output=300)
    response = client.send(client.build_request("POST", URL, json=STREAM), stream=True)
    came = []

    def read():
        try:
            came.extend(response.stream)
        except httpx.HTTPError as error:
            came.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    assert body.is_awaited.wait(PATIENCE)
    return response, reader, came


@pytest.mark.parametrize("partial", ["received", "drain", "estimate"])
@pytest.mark.parametrize("ends_told", [False, True], ids=["breaks", "goes on"])
def test_a_stream_that_another_thread_closes_is_charged_once(metered, partial, ends_told):
    """What comes after that changes nothing: it costs what had come, or the estimate."""
    body = Awaited(ends_told=ends_told)
    response, reader, came = read_in_a_thread(metered, body, partial)
    response.close()  # waits for nobody: not for the reader, nor for what it waits for
    until(lambda: metered.figures[1] == 0)
    spent, _ = metered.figures
    assert spent == 400 if partial == "estimate" else 100 < spent < 400
    body.may_come.set()
    reader.join(PATIENCE)
    assert not reader.is_alive()
    assert isinstance(came[-1], httpx.ReadError), "the reader hears that it was closed"
    response.close()
    assert metered.figures == (spent, 0)
    assert metered.source == ("estimate" if partial == "estimate" else "partial")
    assert body.closed >= 1


def test_threads_that_close_a_stream_at_once_end_it_once(metered):
    body = Awaited(ends_told=False)
    response, reader, _ = read_in_a_thread(metered, body, "received")
    at_once = threading.Barrier(4)
    raised = []

    def close():
        at_once.wait(PATIENCE)
        try:
            response.stream.close()
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=close) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    spent, reserved = metered.figures
    assert 100 < spent < 400
    assert (reserved, raised) == (0, [])
    body.may_come.set()
    reader.join(PATIENCE)
    assert metered.figures == (spent, 0)
