"""Errors: sorted by who must act, complete, picklable, and without secrets."""

from __future__ import annotations

import logging
import pickle
import traceback

import httpx
import pytest

import cycles
from cycles import errors, tokens, usd
from cycles._core.operations import COMMIT_RESERVATION, CREATE_RESERVATION
from cycles._core.outcomes import Answer, error_of
from cycles.config import Config
from cycles_api.models import ErrorCode, ErrorResponse

SECRET = "cyc_live_sekret_0123456789"


def refused(status, code, operation=CREATE_RESERVATION, headers=None, **said):
    body = ErrorResponse.from_dict({"error": code, "message": "why", "request_id": "req-1", **said})
    return error_of(operation, Answer(status=status, error=body, headers=headers or {}), unit="TOKENS")


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
