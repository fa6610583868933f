"""Errors: sorted by who must act, complete, picklable, and without secrets."""

from __future__ import annotations

import logging
import pickle
import traceback

import httpx
import pytest

import cycles
from cycles import errors, tokens, usd
from cycles._core.flows import denial_of
from cycles._core.operations import COMMIT_RESERVATION, CREATE_RESERVATION
from cycles._core.outcomes import Answer, error_of
from cycles.config import Config
from cycles.errors import DENIALS
from cycles.local import LocalAuthority
from cycles_api.models import DecisionEnum, ErrorCode, ErrorResponse, ReservationCreateResponse

SECRET = "cyc_live_sekret_0123456789"


def refused(status, code, operation=CREATE_RESERVATION, headers=None, **said):
    body = ErrorResponse.from_dict({"error": code, "message": "why", "request_id": "req-1", **said})
    return error_of(operation, Answer(status=status, error=body, headers=headers or {}), asked=tokens(1_200))


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (409, "BUDGET_EXCEEDED", cycles.BudgetExceeded),
        (409, "BUDGET_FROZEN", cycles.BudgetFrozen),
        (409, "BUDGET_CLOSED", cycles.BudgetClosed),
        (409, "DEBT_OUTSTANDING", cycles.DebtOutstanding),
        (409, "OVERDRAFT_LIMIT_EXCEEDED", cycles.OverdraftLimitExceeded),
        (409, "TENANT_CLOSED", cycles.TenantClosed),
        (409, "A_REASON_OF_TOMORROW", cycles.Denied),
        (404, "NOT_FOUND", cycles.BudgetNotFound),
        (400, "UNIT_MISMATCH", cycles.UnitMismatch),
        (400, "INVALID_REQUEST", cycles.AuthorityError),
        (401, "UNAUTHORIZED", cycles.Unauthorized),
        (403, "FORBIDDEN", cycles.Forbidden),
        (409, "IDEMPOTENCY_MISMATCH", cycles.IdempotencyMismatch),
        (429, "LIMIT_EXCEEDED", cycles.RateLimited),
        (500, "INTERNAL_ERROR", cycles.InternalError),
        (599, "WHATEVER", cycles.InternalError),
        (418, "TEAPOT", cycles.AuthorityError),
    ],
)
def test_each_code_has_its_class(status, code, kind):
    assert type(refused(status, code)) is kind


def test_outside_reserve_the_same_codes_mean_other_things():
    assert type(refused(404, "NOT_FOUND", COMMIT_RESERVATION)) is cycles.NotFound
    assert type(refused(409, "A_CODE_OF_TOMORROW", COMMIT_RESERVATION)) is cycles.AuthorityError
    assert type(refused(410, "RESERVATION_EXPIRED", COMMIT_RESERVATION)) is cycles.ReservationExpired
    assert type(refused(409, "MAX_EXTENSIONS_EXCEEDED", COMMIT_RESERVATION)) is cycles.MaxExtensionsExceeded


def test_every_code_of_the_protocol_is_known_here():
    """A code that the document gains must be given a class, or be left to AuthorityError on purpose."""
    assert {str(code) for code in ErrorCode} - set(errors.DENIALS) - set(errors.ERRORS) == {"INVALID_REQUEST"}


def test_an_error_carries_what_the_authority_said():
    evidence = {"evidence_id": "0" * 64, "cycles_evidence_url": "https://x/1"}
    error = refused(
        409,
        "BUDGET_EXCEEDED",
        headers={"retry-after": "7", "x-cycles-trace-id": "a" * 32},
        details={"scope": "tenant:acme", "remaining": 3},
        cycles_evidence=evidence,
    )
    assert (error.status, error.code, error.request_id, error.trace_id) == (409, "BUDGET_EXCEEDED", "req-1", "a" * 32)
    assert error.details == {"scope": "tenant:acme", "remaining": 3}
    assert (error.scope, error.retry_after, error.evidence) == ("tenant:acme", 7.0, evidence)
    assert "why" in str(error)
    assert "req-1" in str(error)


@pytest.mark.parametrize("header", ["Wed, 21 Oct 2026 07:28:00 GMT", "-1", "1.5", "", "٣"])
def test_retry_after_is_whole_seconds_or_nothing(header):
    assert refused(429, "LIMIT_EXCEEDED", headers={"retry-after": header}).retry_after is None


def test_what_is_worth_another_try():
    assert refused(429, "LIMIT_EXCEEDED").is_retryable
    assert refused(500, "INTERNAL_ERROR").is_retryable
    assert not refused(409, "BUDGET_EXCEEDED").is_retryable
    assert refused(409, "BUDGET_EXCEEDED", headers={"retry-after": "1"}).is_retryable
    assert error_of(CREATE_RESERVATION, Answer()).is_retryable


EVERY = [getattr(errors, name) for name in errors.__all__]


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
def test_errors_pickle_with_all_they_carry(kind):
    error = kind("what and how to mend it", status=409, code="X", details={"a": 1}, retry_after=1.5)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert vars(again) == vars(error)
    assert str(again) == str(error)
    assert again.args == error.args


def test_the_tree_in_the_docstring_is_the_tree():
    for name in errors.__all__:
        assert name in (errors.__doc__ or ""), name


def failing_clients():
    def refuse(request):
        raise httpx.ConnectError(f"refused; the key was {request.headers['X-Cycles-API-Key']}", request=request)

    def cut(request):
        raise httpx.ReadError("cut off", request=request)

    yield "refused", httpx.MockTransport(refuse)
    yield "cut", httpx.MockTransport(cut)
    yield "html", httpx.MockTransport(lambda request: httpx.Response(200, text=f"<html>{SECRET}"))
    yield "teapot", httpx.MockTransport(lambda request: httpx.Response(418, text=SECRET))
    yield "echo", httpx.MockTransport(lambda request: httpx.Response(500, json=dict(request.headers)))


@pytest.mark.parametrize(("name", "transport"), list(failing_clients()), ids=lambda value: str(value)[:10])
def test_no_key_is_ever_part_of_an_error(name, transport, caplog):
    caplog.set_level(logging.DEBUG, "cycles")
    config = Config("https://cycles.example", api_key=SECRET, tenant="acme", retry_enabled=False)
    with httpx.Client(transport=transport) as http_client, cycles.Client(config, http_client=http_client) as client:
        with pytest.raises(cycles.CyclesError) as caught:
            client.reserve(usd("1"), action=("k", "n"))
        error = caught.value
        shown = [str(error), repr(error), repr(vars(error)), pickle.dumps(error).decode("latin-1"), caplog.text]
        shown += [repr(vars(record)) for record in caplog.records]
        shown += [repr(client), repr(client.config), repr(client.api), *traceback.format_exception(error)]
    for text in shown:
        assert SECRET not in text
    while error is not None:  # nothing that is chained holds the request
        assert not isinstance(error, httpx.HTTPError)
        error = error.__cause__ or error.__context__


def test_amounts_of_no_unit_are_invalid_requests():
    with pytest.raises(ValueError, match="tokens"):
        tokens(-1)


def test_a_denial_says_what_was_asked_what_is_left_and_what_to_do():
    with LocalAuthority() as authority, authority.client(tenant="acme") as client:
        authority.budget("tenant:acme", cycles.usd("1.00"))
        authority.budget("tenant:acme", cycles.tokens(2_500))
        client.record(cycles.usd("0.96"), action=("k", "n"))
        with pytest.raises(cycles.BudgetExceeded) as denied:
            client.reserve(cycles.usd("0.05"), action=("k", "n"))
        with pytest.raises(
            cycles.BudgetExceeded, match=r"asked for 10,000 tokens, 2,500 tokens left of 2,500 tokens at"
        ):
            client.reserve(cycles.tokens(10_000), action=("k", "n"))
    error = denied.value
    assert error.message == "asked for $0.05, $0.04 left of $1.00 at tenant:acme"
    advice = "ask for at most $0.04, wait until reservations end, or have this budget raised"
    assert str(error).startswith(f"{error.message}; {advice} (status")
    asked = {"scope": "tenant:acme", "remaining": 4_000_000, "requested": 5_000_000, "unit": "USD_MICROCENTS"}
    assert error.details.items() >= asked.items()
    assert error.scope == "tenant:acme"


def test_facts_are_for_the_operator():
    error = cycles.NotFound("no such reservation", status=404, code="NOT_FOUND", request_id="r1")
    assert error.facts == "status 404, code NOT_FOUND, request_id r1"
    assert str(error) == f"no such reservation ({error.facts})"
    silent = cycles.AuthorityUnavailable("nobody answers")
    assert silent.facts == ""
    assert str(silent).startswith("nobody answers; check CYCLES_BASE_URL")
    assert "cycles doctor" in str(silent)


@pytest.mark.parametrize("kind", [*DENIALS.values(), cycles.Unauthorized, cycles.UnexpectedResponse])
def test_who_must_act_is_told_how(kind):
    assert kind.remedy
    assert "cycles local" not in kind.remedy, "it may be the ledger of another machine"
    assert str(kind("m")) == f"m; {kind.remedy}"


def test_a_message_that_names_no_amount_gets_it():
    """The protocol's reference server repeats its code, and sends no details."""
    error = refused(409, "BUDGET_EXCEEDED")
    assert error.message == "asked for 1,200 tokens: why"
    assert refused(409, "BUDGET_EXCEEDED", details={"requested": 1_200}).message == "why"
    assert refused(409, "BUDGET_EXCEEDED", operation=COMMIT_RESERVATION).message.endswith("why")
    missing = refused(404, "NOT_FOUND")
    assert missing.message == "why; the unit sent was TOKENS"


@pytest.mark.parametrize("status", [200, 301, 401, 404, 409, 502])
def test_an_answer_of_something_else_names_the_doctor(status):
    error = error_of(CREATE_RESERVATION, Answer(status=status))
    assert "cycles doctor" in str(error)
    assert "create_reservation" in error.message


def test_a_denial_by_decision_names_the_amount_and_the_scope():
    response = ReservationCreateResponse(
        decision=DecisionEnum.DENY, reason_code="BUDGET_EXCEEDED", affected_scopes=["tenant:acme"]
    )
    error = denial_of(response, Answer(status=200), usd("0.05"))
    assert error.message == "asked for $0.05 at tenant:acme: BUDGET_EXCEEDED"
    assert isinstance(error, cycles.BudgetExceeded)
