"""Authorities that answer as few do: one that only observes, one without its database, one that signs."""

from __future__ import annotations

import asyncio
import json
from collections import deque

import httpx
import pytest

import cycles
from cycles import tokens
from tests.support.authorities import ACTION
from tests.support.net import Answer, error

EVIDENCE = {"evidence_id": "0" * 64, "cycles_evidence_url": "https://authority.invalid/v1/evidence/0"}
OUTAGE = Answer(401, {"error": "UNAUTHORIZED", "message": "INTERNAL_ERROR", "request_id": "req-1"})
CONFIG = cycles.Config("http://authority.invalid", api_key="key", tenant="acme", journal_enabled=False)


def answering(held, seen):
    """A transport whose authority allows everything, with an id or without, and signs it."""

    def answer(request):
        seen.append(request.url.path)
        amount = {"unit": "TOKENS", "amount": 5}
        body = {"cycles_evidence": EVIDENCE}
        if request.url.path.endswith("/commit"):
            body |= {"status": "COMMITTED", "charged": amount}
        elif request.url.path.endswith("/release"):
            body |= {"status": "RELEASED", "released": amount}
        else:
            body |= {"decision": "ALLOW", "affected_scopes": ["tenant:acme"]}
            body |= {"reservation_id": held} if held is not None else {}
        return httpx.Response(200, content=json.dumps(body))

    return httpx.MockTransport(answer)


@pytest.fixture
def seen():
    return []


@pytest.fixture(params=["sync", "async"])
def used(request, seen):
    """Runs `work(reservation)` in a guarded block of either kind of client, and returns the reservation."""

    def sync_block(held, work):
        with (
            httpx.Client(transport=answering(held, seen)) as http,
            cycles.Client(CONFIG, http_client=http) as client,
            cycles.Guard(tokens(10), action=ACTION, client=client) as reservation,
        ):
            for name, arguments in work:
                getattr(reservation, name)(**arguments)
        return reservation

    async def async_block(held, work):
        async with (
            httpx.AsyncClient(transport=answering(held, seen)) as http,
            cycles.AsyncClient(CONFIG, http_client=http) as client,
            cycles.Guard(tokens(10), action=ACTION, client=client) as reservation,
        ):
            for name, arguments in work:
                done = getattr(reservation, name)(**arguments)
                if done is not None:
                    await done
        return reservation

    if request.param == "sync":
        return sync_block
    return lambda held, work: asyncio.run(async_block(held, work))


def test_an_authority_that_only_observes_lets_the_section_run_and_is_sent_nothing_more(used, seen):
    for work in (
        [],
        [("report", {"actual": tokens(3)})],
        [("extend", {"seconds": 5}), ("commit", {"actual": tokens(3)}), ("commit", {"actual": tokens(3)})],
        [("release", {})],
    ):
        seen.clear()
        reservation = used(None, work)
        assert (reservation.state, reservation.id, reservation.settlement) == ("OBSERVED", None, None)
        assert reservation.evidence == EVIDENCE
        assert seen == ["/v1/reservations"]


def test_a_decorated_function_runs_and_gives_its_result(seen):
    with (
        httpx.Client(transport=answering(None, seen)) as http,
        cycles.Client(CONFIG, http_client=http) as client,
    ):

        @cycles.Guard(tokens(10), action=ACTION, client=client, actual=tokens)
        def work():
            assert cycles.current().state == "OBSERVED"
            return 7

        assert work() == 7
    assert seen == ["/v1/reservations"]


def test_an_extension_of_what_is_only_observed_is_checked_all_the_same(seen):
    with (
        httpx.Client(transport=answering(None, seen)) as http,
        cycles.Client(CONFIG, http_client=http) as client,
        pytest.raises(cycles.InvalidRequest, match="seconds=-1"),
    ):
        client.reserve(tokens(10), action=ACTION).extend(-1)


@pytest.mark.parametrize("work", [("commit", {"actual": tokens(5)}), ("release", {})])
def test_the_evidence_of_what_went_well_is_kept(used, work):
    reservation = used("res-1", [work])
    assert reservation.evidence == EVIDENCE
    assert reservation.settlement.evidence == EVIDENCE


def test_without_evidence_there_is_none(authority):
    with authority.client(tenant="acme") as client:
        reservation = client.reserve(cycles.usd("0.01"), action=ACTION)
        assert reservation.evidence is None
        assert reservation.release().evidence is None


# -- without its database ----------------------------------------------------------------------------------------------
def test_a_reserve_without_the_authoritys_database_is_unavailable(server, client):
    server.always["reservations"] = OUTAGE
    with pytest.raises(cycles.AuthorityUnavailable, match="its own database") as caught:
        client.reserve(cycles.usd("0.10"), action=ACTION)
    assert caught.value.status == 401


def test_and_a_section_may_run_unguarded_where_that_is_allowed(server, config, kept):
    server.always["reservations"] = OUTAGE
    with cycles.Client(config.replace(unavailable="allow")) as client:
        held = client.reserve(cycles.usd("0.10"), action=ACTION)
        assert held.state == "UNRESERVED"
        settled = held.commit(cycles.usd("0.03"))
        assert (settled.via, settled.error) == ("event", None)
    assert server.spent() == 3
    assert [seen.body["metadata"] for seen in server.seen if seen.operation == "events"] == [
        {"recovery_reason": "authority_unavailable"}
    ]


def test_a_settlement_goes_on(server, client, kept):
    held = client.reserve(cycles.usd("0.10"), action=ACTION)
    server.plan["commit"] = deque([OUTAGE])
    assert held.commit(cycles.usd("0.03")).error is None
    assert server.spent() == 3
    assert kept() == []


# -- a person who says now ---------------------------------------------------------------------------------------------
def test_a_drain_now_does_not_wait_for_what_the_authority_asked(server, client):
    held = client.reserve(cycles.usd("0.10"), action=ACTION)
    server.plan["commit"] = deque([Answer(429, error("LIMIT_EXCEEDED"), {"retry-after": "999999999"})])
    with pytest.raises(cycles.SettlementPending):
        held.commit(cycles.usd("0.03"))
    assert client.drain(1).pending == 1
    assert client.drain(10, now=True).settled == 1
    assert server.spent() == 3
    with pytest.raises(cycles.InvalidRequest, match="now='yes'"):
        client.drain(1, now="yes")
