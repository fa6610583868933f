"""Injected faults: what the client sees of each, what the ledger knows, and on which request it is spent."""

from __future__ import annotations

import asyncio
import json
import sys
import threading

import httpx
import pytest

from cycles import tokens, usd
from cycles.errors import ConfigError, InvalidRequest
from cycles.local import LocalAuthority, ManualClock
from cycles.local.wire.fault_kinds import FaultKind
from cycles.local.wire.faults import Faults
from cycles.local.wire.server import serve
from cycles.testing.faults import REQUEST_FAULTS
from tests.support.authorities import SCOPE
from tests.support.wire import Wire

PATH = "/v1/reservations"


class Sync:
    """Asks through a blocking httpx client."""

    def __init__(self, authority: LocalAuthority) -> None:
        self.authority = authority
        self.wire = Wire(authority, authority.clock)
        self.wire.http.event_hooks = {}

    def post(self, body: object, **options: object) -> httpx.Response:
        return self.wire.http.post(PATH, json=body, **options)

    def reserve(self, amount: int = 1, **options: object) -> httpx.Response:
        return self.post(self.wire.ask(amount), **options)

    def spent_or_held(self) -> int:
        return self.authority.balance(SCOPE, "TOKENS").reserved


class Async(Sync):
    """Asks through an asynchronous one."""

    library = "asyncio"

    def post(self, body: object, **options: object) -> httpx.Response:
        async def asked() -> httpx.Response:
            headers = {"X-Cycles-API-Key": self.wire.secret}
            transport = self.authority.async_transport()
            async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers) as http:
                return await http.post(PATH, json=body, **options)

        if self.library == "trio":
            import trio  # noqa: PLC0415

            return trio.run(asked)
        return asyncio.run(asked())


class Trio(Async):
    library = "trio"


@pytest.fixture
def clock():
    """One that delays move on."""
    return ManualClock()


@pytest.fixture
def authority(authority):
    authority.budget(SCOPE, tokens(100))
    return authority


@pytest.fixture(params=[Sync, Async, Trio])
def caller(request, authority):
    made = request.param(authority)
    with made.wire.http:
        yield made


@pytest.fixture
def plain(authority):
    made = Sync(authority)
    with made.wire.http:
        yield made


# -- what each does ----------------------------------------------------------------------------------------------------
def test_a_refused_connection(caller):
    caller.authority.faults.refuse_connection()
    with pytest.raises(httpx.ConnectError, match="injected fault"):
        caller.reserve()
    assert caller.spent_or_held() == 0
    (seen,) = caller.authority.requests
    assert (seen.operation, seen.status, seen.fault) == ("reserve", None, "connect refused")
    assert caller.reserve().is_success


def test_a_lost_request(caller):
    caller.authority.faults.lose_request()
    with pytest.raises(httpx.ReadTimeout, match="lost request"):
        caller.reserve()
    assert caller.spent_or_held() == 0
    assert [(seen.status, seen.fault) for seen in caller.authority.requests] == [(None, "lost request")]


def test_a_lost_response(caller):
    caller.authority.faults.lose_response()
    with pytest.raises(httpx.ReadTimeout, match="lost response"):
        caller.reserve()
    assert caller.spent_or_held() == 1, "it was done all the same"
    (seen,) = caller.authority.requests
    assert (seen.status, seen.fault, seen.answer["decision"]) == (200, "lost response", "ALLOW")


@pytest.mark.parametrize(("after_effect", "held"), [(False, 0), (True, 1)])
def test_a_servers_error(caller, after_effect, held):
    caller.authority.faults.fail(599, after_effect=after_effect)
    answer = caller.reserve()
    assert (answer.status_code, answer.json()["error"]) == (599, "INTERNAL_ERROR")
    assert answer.json()["request_id"] == answer.headers["X-Request-Id"]
    assert caller.spent_or_held() == held
    assert caller.authority.requests[0].status == 599


@pytest.mark.parametrize("retry_after", [0, 7, None])
def test_throttling(caller, retry_after):
    caller.authority.faults.throttle(retry_after=retry_after)
    answer = caller.reserve()
    assert (answer.status_code, answer.json()["error"]) == (429, "LIMIT_EXCEEDED")
    assert answer.headers.get("Retry-After") == (None if retry_after is None else str(retry_after))
    assert caller.spent_or_held() == 0


def test_a_malformed_answer(caller):
    caller.authority.faults.malform(times=2)
    answer = caller.reserve()
    with pytest.raises(json.JSONDecodeError):
        answer.json()
    assert answer.status_code == 200
    assert caller.spent_or_held() == 1
    assert caller.reserve(1000).json()["error"] == "BUDGET_EXCEEDED", "an honest refusal stays readable"


def test_a_delay_moves_the_clock_and_nobody_waits(caller):
    before = caller.authority.clock()
    caller.authority.faults.delay(3)
    granted = caller.reserve()
    assert caller.authority.clock() == before + 3_000
    assert granted.json()["expires_at_ms"] == before + 3_000 + 60_000, "it arrived late"
    caller.authority.faults.delay(300)
    with pytest.raises(httpx.ReadTimeout, match="delay"):
        caller.reserve()
    assert caller.spent_or_held() == 1, "the client gave up; the second was done; the first has expired by then"


def test_a_delay_by_the_machines_clock_is_waited_out(monkeypatch):
    waited: list[float] = []
    monkeypatch.setattr("time.sleep", waited.append)
    with LocalAuthority() as authority:
        authority.budget(SCOPE, tokens(100))
        asking = Sync(authority)
        with asking.wire.http:
            authority.faults.delay(0.25)
            assert asking.reserve().is_success
            authority.faults.delay(9)
            with pytest.raises(httpx.ReadTimeout):
                asking.reserve(timeout=0.5)
            authority.faults.delay(9)
            assert asking.reserve(timeout=None).is_success
    assert [wait for wait in waited if wait] == [0.25, 0.5, 9], "no longer than the client waits"


# -- on whom -----------------------------------------------------------------------------------------------------------
def outcomes(caller, count):
    return [caller.reserve().status_code for _ in range(count)]


def test_the_nth_and_how_many(plain):
    plain.authority.faults.fail(nth=2, times=3)
    assert outcomes(plain, 6) == [200, 503, 503, 503, 200, 200]
    assert plain.authority.faults.pending == []


def test_faults_follow_each_other_in_the_order_of_declaration(plain):
    faults = plain.authority.faults
    faults.fail(501)
    faults.fail(502)
    faults.fail(503, nth=2)
    assert outcomes(plain, 5) == [501, 502, 200, 503, 200]


def test_one_that_is_not_due_counts_and_lets_others_act(plain):
    faults = plain.authority.faults
    faults.fail(501, nth=3)
    faults.fail(502)
    assert outcomes(plain, 4) == [502, 200, 501, 200]


def test_only_the_operation_that_is_meant(plain):
    faults = plain.authority.faults
    commit = faults.fail(operation="commit")
    held = plain.reserve()
    assert held.is_success
    assert plain.wire.decide(1).is_success
    assert commit.happened == 0
    assert plain.wire.commit(held, 1).status_code == 503
    assert plain.wire.commit(held, 1).is_success
    assert commit.happened == 1


def test_an_outage_lasts_as_long_as_its_block(plain):
    with plain.authority.faults.refuse_connection(times=None) as outage:
        for _ in range(3):
            with pytest.raises(httpx.ConnectError):
                plain.reserve()
        assert plain.authority.faults.pending == [outage]
        assert outage.left is None
    assert outage.happened == 3
    assert plain.reserve().is_success


def test_what_was_declared_can_be_taken_back(plain):
    faults = plain.authority.faults
    first, _ = faults.fail(501), faults.fail(502)
    first.cancel()
    assert outcomes(plain, 1) == [502]
    faults.fail(times=None)
    faults.clear()
    assert outcomes(plain, 1) == [200]


@pytest.fixture
def hectic():
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_threads_that_ask_at_once_spend_each_fault_once(hectic):
    faults = Faults()
    fault = faults.fail(nth=500, times=1000)
    met: list[object] = []

    def ask() -> None:
        met.extend(faults.next("commit") for _ in range(1000))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(met), met.count(fault), fault.happened) == (4000, 1000, 1000)


def test_many_threads_spend_each_fault_once(authority):
    fault = authority.faults.fail(times=37)
    statuses: list[int] = []

    def ask() -> None:
        asking = Sync(authority)
        with asking.wire.http:
            statuses.extend(asking.reserve(0, timeout=None).status_code for _ in range(20))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (statuses.count(503), len(statuses), fault.happened) == (37, 120, 37)
    assert sum(seen.fault is not None for seen in authority.requests) == 37


# -- wrong, and shown --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("declare", "named"),
    [
        (lambda faults: faults.fail(operation="comit"), "operation='comit': choose one of balances, commit"),
        (lambda faults: faults.fail(429), "status=429: give 500 to 599; throttle"),
        (lambda faults: faults.fail(True), "status=True"),
        (lambda faults: faults.fail(nth=0), "nth=0"),
        (lambda faults: faults.lose_response(times=0), "times=0"),
        (lambda faults: faults.lose_request(times=True), "times=True"),
        (lambda faults: faults.throttle(retry_after=1.5), "retry_after=1.5"),
        (lambda faults: faults.throttle(retry_after=-1), "retry_after=-1"),
        (lambda faults: faults.delay(-1), "by=-1"),
        (lambda faults: faults.delay("1"), "by='1'"),
    ],
)
def test_what_cant_be_declared(declare, named):
    faults = Faults()
    with pytest.raises(InvalidRequest) as refused:
        declare(faults)
    assert named in str(refused.value)
    assert not faults.pending


def test_a_fault_shows_what_it_is():
    faults = Faults()
    faults.lose_response(operation="commit", nth=2)
    assert repr(faults) == "<Faults [<Fault 'lost response' of commit after 1 more, 1 left, 0 happened>]>"


def test_the_words_are_the_simulators():
    ours = {str(kind) for kind in FaultKind} - {"delay"}
    assert ours < {str(fault) for fault in REQUEST_FAULTS}


# -- over HTTP ---------------------------------------------------------------------------------------------------------
@pytest.fixture
def served(authority):
    with serve(authority) as url:
        made = Sync(authority)
        headers = {"X-Cycles-API-Key": made.wire.secret}
        made.wire.http.close()
        made.wire.http = httpx.Client(base_url=url, headers=headers)
        with made.wire.http:
            yield made


@pytest.mark.parametrize(
    ("declare", "held"),
    [(Faults.refuse_connection, 0), (Faults.lose_request, 0), (Faults.lose_response, 1)],
)
def test_what_is_lost_over_http_is_a_connection_that_is_cut(served, declare, held, caplog):
    declare(served.authority.faults)
    with pytest.raises(httpx.TransportError):
        served.reserve()
    assert served.spent_or_held() == held
    assert served.reserve().is_success, "the server goes on"
    assert not caplog.records, "and has nothing to complain of"


def test_errors_and_delays_over_http(served):
    faults, clock = served.authority.faults, served.authority.clock
    faults.fail(502)
    faults.throttle(retry_after=3)
    faults.malform()
    faults.delay(2)
    assert served.reserve().status_code == 502
    assert served.reserve().headers["Retry-After"] == "3"
    with pytest.raises(json.JSONDecodeError):
        served.reserve().json()
    before = clock()
    assert served.reserve().is_success
    assert clock() == before + 2_000


# -- through the client ------------------------------------------------------------------------------------------------
def test_a_file_has_faults_as_well(tmp_path):
    with LocalAuthority(tmp_path / "ledger.db", history=10) as authority:
        authority.budget(SCOPE, usd("1.00"))
        with authority.client(tenant="acme").with_options(retry_initial_delay=0.0) as client:
            authority.faults.lose_response(operation="commit")
            held = client.reserve(usd("0.30"), action=("k", "n"))
            held.commit(usd("0.20"))
        commits = [seen for seen in authority.requests if seen.operation == "commit"]
        assert [seen.fault for seen in commits] == ["lost response", None]
        assert len({seen.idempotency_key for seen in commits}) == 1
        assert authority.balance(SCOPE, "USD_MICROCENTS").spent == usd("0.20").amount


def test_settings_name_themselves():
    with pytest.raises(ConfigError, match="history='many'"):
        LocalAuthority(history="many")
