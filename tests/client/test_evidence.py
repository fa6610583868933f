"""`client.evidence`, in both kinds of client: what is fetched, from where, and how often."""

from __future__ import annotations

import asyncio
import gzip
import json

import httpx
import pytest

import cycles
from cycles import evidence, usd
from cycles.evidence import Outcome
from cycles.local import LocalAuthority
from cycles.local.wire import signing_keys
from tests.support.authorities import ACTION, SCOPE

SEED = bytes(range(32))
JWKS = "/v1/.well-known/cycles-jwks.json"
HOST = "http://authority.invalid"


@pytest.fixture
def authority(clock):
    """One that signs."""
    with LocalAuthority(clock=clock, signing_key=SEED) as authority:
        authority.budget(SCOPE, usd("1.00"))
        yield authority


def asked(authority, operation):
    return [seen for seen in authority.requests if seen.operation == operation]


@pytest.fixture
def held(side):
    reservation = side.call(side.client.reserve, usd("0.10"), action=ACTION)
    side.call(reservation.commit, usd("0.03"))
    return reservation


def test_what_answers_refer_to_is_fetched_and_verified(side, held, authority):
    for reference, artifact in ((held.evidence, "reserve"), (held.settlement.evidence, "commit")):
        found = side.call(side.client.evidence, reference)
        assert (found.outcome, found.artifact_type) == (Outcome.AUTHENTIC, artifact)
        assert found.evidence_id == reference["evidence_id"]
    assert found.content["charged"] == usd("0.03").to_dict()
    assert len(asked(authority, "jwks")) == 1  # it is fetched once
    detail = side.call(side.client.reservation, held.id)
    assert side.call(side.client.evidence, detail.evidence.commit)
    assert side.call(side.client.evidence, held.evidence["evidence_id"])


def test_decisions_and_errors_have_theirs(side, authority):
    decision = side.call(side.client.decide, usd("2"), action=ACTION)
    with pytest.raises(cycles.Denied) as denied:
        side.call(side.client.reserve, usd("2"), action=ACTION)
    for reference, artifact in ((decision.evidence, "decide"), (denied.value.evidence, "error")):
        assert side.call(side.client.evidence, reference).artifact_type == artifact


def test_an_envelope_is_not_fetched(side, held, authority):
    envelope = authority.http_client().get(held.evidence["cycles_evidence_url"])
    before = len(asked(authority, "evidence"))
    assert side.call(side.client.evidence, envelope.content)
    assert side.call(side.client.evidence, envelope.json())
    changed = envelope.json() | {"issued_at_ms": 1}
    assert side.call(side.client.evidence, changed).outcome is Outcome.SIGNATURE_INVALID
    assert len(asked(authority, "evidence")) == before


def test_given_keys_are_used_and_no_key_set_is_fetched(side, held, authority, tmp_path):
    jwks = authority.http_client().get(JWKS).json()
    file = tmp_path / "keys.json"
    file.write_text(json.dumps(jwks))
    before = len(asked(authority, "jwks"))
    for keys in (jwks, file, evidence.KeySet.of(jwks)):
        assert side.call(side.client.evidence, held.evidence, keys)
    pinned = side.call(side.client.evidence, held.evidence, "00" * 32)
    assert pinned.outcome is Outcome.SIGNATURE_INVALID
    other = side.call(side.client.evidence, held.evidence, server_id="urn:another")
    assert other.outcome is Outcome.SIGNER_AUTHORITY_FAILED
    assert len(asked(authority, "jwks")) - before <= 2


def test_after_a_rotation_the_key_set_is_fetched_anew(clock, tmp_path):
    path = tmp_path / "keys.json"
    signing_keys.generate(path, server_id=None, now_ms=clock())
    with LocalAuthority(clock=clock, signing_key=path) as authority, authority.client(tenant="acme") as client:
        authority.budget(SCOPE, usd("1.00"))
        first = client.decide(usd("0.01"), action=ACTION).evidence
        assert client.evidence(first)
        signing_keys.rotate(path, begins_ms=clock() + 1000, now_ms=clock())
        clock.advance(2)
        second = client.decide(usd("0.01"), action=ACTION).evidence
        assert client.evidence(second)
        assert client.evidence(first)
        assert len(asked(authority, "jwks")) == 2


def test_a_server_that_publishes_no_keys(side, held, authority, monkeypatch):
    authority.faults.fail(500, operation="jwks", times=None)
    found = side.call(side.client.with_options(retry_max_attempts=1).evidence, held.evidence)
    assert found.outcome is Outcome.SIGNER_RESOLUTION_FAILED
    assert "no key set could be fetched" in found.reason


def test_nothing_there(side):
    client = side.client.with_options(retry_max_attempts=1)
    with pytest.raises(cycles.NotFound):
        side.call(client.evidence, "0" * 64)


@pytest.mark.parametrize(
    "what",
    [
        None,
        7,
        "0" * 63,
        {},
        {"evidence_id": "x"},
        {"evidence_id": "0" * 64, "cycles_evidence_url": "ftp://x/v1/evidence/" + "0" * 64},
        {"evidence_id": "0" * 64, "cycles_evidence_url": "https://x/other/" + "0" * 64},
        {"evidence_id": "0" * 64, "cycles_evidence_url": "https://x/v1/evidence/" + "1" * 64},
        {"evidence_id": "0" * 64, "cycles_evidence_url": "https://elsewhere.example/v1/evidence/" + "0" * 64},
    ],
)
def test_what_is_no_reference_is_refused(side, what):
    with pytest.raises(cycles.InvalidRequest, match="evidence"):
        side.call(side.client.evidence, what)
    with pytest.raises(cycles.InvalidRequest, match="keys"):
        side.call(side.client.evidence, "0" * 64, "https://elsewhere.example/keys.json")


# -- over HTTP, to more than one server --------------------------------------------------------------------------------
def answering(authority, seen):
    """A transport to an authority, under every name; it notes each request."""
    local = authority.http_client()

    def answer(request):
        seen.append(request)
        response = local.request(request.method, request.url.path, content=request.content, headers=request.headers)
        return httpx.Response(response.status_code, content=response.content)

    return httpx.MockTransport(answer)


def fetched(kind, transport, *arguments, **options):
    config = cycles.Config(HOST, api_key="cyc_live_secret", tenant="acme", journal_enabled=False, **options)

    async def asynchronously():
        async with (
            httpx.AsyncClient(transport=transport, headers={"X-Cycles-API-Key": "cyc_live_secret"}) as http,
            cycles.AsyncClient(config, http_client=http) as client,
        ):
            return await client.evidence(*arguments)

    if kind == "async":
        return asyncio.run(asynchronously())
    with (
        httpx.Client(transport=transport, headers={"X-Cycles-API-Key": "cyc_live_secret"}) as http,
        cycles.Client(config, http_client=http) as client,
    ):
        return client.evidence(*arguments)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_evidence_and_keys_elsewhere_are_fetched_there_without_a_key(kind, authority):
    seen = []
    with authority.client(tenant="acme") as client:
        found = client.decide(usd("0.01"), action=ACTION).evidence["evidence_id"]
    there = {"evidence_id": found, "cycles_evidence_url": f"https://archive.example/of/acme/v1/evidence/{found}"}
    assert fetched(kind, answering_below(authority, seen), there, f"https://keys.example{JWKS}")
    assert [str(request.url) for request in seen] == [
        there["cycles_evidence_url"],
        f"https://keys.example{JWKS}",
    ]
    assert fetched(kind, answering(authority, seen), found)
    assert [request.url.host for request in seen[2:]] == ["authority.invalid"] * 2
    assert not any("cyc_live_secret" in str(request.headers) for request in seen)


def answering_below(authority, seen):
    inner = answering(authority, [])

    def answer(request):
        seen.append(request)
        request = httpx.Request(request.method, HOST + request.url.path.removeprefix("/of/acme"))
        return inner.handle_request(request)

    return httpx.MockTransport(answer)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_another_envelope_than_the_one_asked_for_is_not_taken(kind, authority):
    with authority.client(tenant="acme") as client:
        ids = [client.decide(usd("0.01"), action=ACTION).evidence["evidence_id"] for _ in "ab"]
    local = authority.http_client()

    def answer(request):
        path = request.url.path.replace(ids[0], ids[1])
        return httpx.Response(200, content=local.get(path).content)

    found = fetched(kind, httpx.MockTransport(answer), ids[0])
    assert (found.outcome, bool(found)) == (Outcome.SIGNATURE_INVALID, False)
    assert "another envelope" in found.reason


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_an_envelope_that_does_not_fit_its_schema_is_judged(kind):
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json={"keys": []}))
    found = fetched(kind, transport, "0" * 64)
    assert found.outcome is Outcome.SIGNATURE_INVALID


class Packed(httpx.SyncByteStream, httpx.AsyncByteStream):
    """16 MiB of zeros, packed, on their way."""

    content = gzip.compress(bytes(16 << 20))

    def __iter__(self):
        yield self.content

    async def __aiter__(self):
        yield self.content


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_what_comes_from_elsewhere_through_a_given_client_is_read_within_bounds(kind):
    seen = []

    def answer(request):
        seen.append(request.headers["accept-encoding"])
        return httpx.Response(200, headers={"content-encoding": "gzip"}, stream=Packed())

    there = {"evidence_id": "0" * 64, "cycles_evidence_url": "https://archive.example/v1/evidence/" + "0" * 64}
    with pytest.raises(cycles.CyclesError, match="larger than 4 MiB"):
        fetched(kind, httpx.MockTransport(answer), there, retry_enabled=False)
    assert set(seen) == {"gzip, deflate"}
