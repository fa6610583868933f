"""Requests that no wire understands: refused, or passed on with one warning."""

from __future__ import annotations

import itertools
import logging

import httpx
import pytest

import cycles
from tests.metering.metered import Metered, completion, told

IMAGES = "https://api.openai.com/v1/images/generations"


@pytest.fixture
def metered(side, authority):
    return Metered(side, authority)


def test_what_bills_and_is_not_understood_is_refused(metered):
    with pytest.raises(cycles.Unmeterable, match="images"):
        metered.post(metered.client(), url=IMAGES)
    with pytest.raises(cycles.Unmeterable, match="no known provider"):
        metered.post(metered.client(), url="https://models.example/v1/chat/completions")
    assert metered.sent == []


def test_it_may_pass_with_one_warning(metered, caplog):
    metered.answers = [httpx.Response(200), httpx.Response(200)]
    client = metered.client(unknown="pass")
    with caplog.at_level(logging.WARNING, "cycles.guard"):
        metered.post(client, url=IMAGES)
        metered.post(client, url=IMAGES)
    assert [record.cycles_event for record in caplog.records] == ["sent without being counted"]
    assert metered.figures == (0, 0)


def test_each_kind_of_path_is_logged_however_many_ids_there_are(metered, caplog):
    metered.answers = [httpx.Response(200) for _ in range(200)]
    client = metered.client(unknown="pass")
    with caplog.at_level(logging.WARNING, "cycles.guard"):
        for number in range(100):
            metered.post(client, url=f"https://api.openai.com/v1/threads/thread_{number}/runs")
        metered.post(client, url=IMAGES)
    assert [record.cycles_request.rpartition("/")[2] for record in caplog.records] == ["runs", "generations"]
    caplog.clear()
    with caplog.at_level(logging.WARNING, "cycles.guard"):
        for letters in itertools.islice(itertools.product("abcdefghi", repeat=2), 70):
            metered.post(client, url=f"https://api.openai.com/v1/{''.join(letters)}")
        metered.post(client, url=IMAGES)
    assert len(caplog.records) == 71, "what was logged long ago is logged again, and nothing passes in silence"


def test_an_unknown_host_is_asked_freely_by_get(metered):
    metered.answers = [httpx.Response(200)]
    assert metered.side.call(metered.client().get, "https://models.example/health").status_code == 200


def test_provider_says_whose_wire_it_is(metered):
    metered.answers = [completion(told(20, 5))]
    metered.post(metered.client(provider="openai"), url="http://127.0.0.1:8000/v1/chat/completions")
    assert metered.figures == (25, 0)


def test_an_upload_is_not_read(metered):
    metered.answers = [httpx.Response(200)]
    client = metered.client()
    metered.side.call(client.post, "https://api.openai.com/v1/files", files={"file": b"a" * 10})
    assert metered.figures == (0, 0)
