"""What an answer means: every status with every code, against the rules written down a second time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cycles
from cycles._core.operations import COMMIT_RESERVATION, CREATE_EVENT, CREATE_RESERVATION, EXTEND_RESERVATION
from cycles._core.outcomes import CODES, Answer, Trouble, Verdict, error_of, judge
from cycles_api.models.error_code import ErrorCode
from cycles_api.models.error_response import ErrorResponse

OPERATIONS = [CREATE_RESERVATION, COMMIT_RESERVATION, EXTEND_RESERVATION, CREATE_EVENT]


def said(status, code, message="no", headers=None):
    error = None if code is None else ErrorResponse(error=code, message=message, request_id="req-1")
    return Answer(status=status, error=error, headers=headers or {})


def expected(status, code):
    """docs/protocol.md, Errors and Settlement and recovery, as a person reads them."""
    if 200 <= status < 300 or status >= 500:
        return Verdict.AMBIGUOUS
    if status == 429:
        return Verdict.THROTTLED
    understood = code in CODES and CODES[code] == status
    contradicts = code in CODES and CODES[code] != status
    if status in (401, 403) and not contradicts:
        return Verdict.UNAUTHORIZED
    if not understood:
        return Verdict.UNINTELLIGIBLE
    return Verdict.EXPIRED if code == "RESERVATION_EXPIRED" else Verdict.REJECTED


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_every_status_with_every_code_means_what_the_protocol_says(operation):
    for status in range(100, 600):
        for code in (None, "", "A_CODE_OF_TOMORROW", "UNAUTHORIZED ", "unauthorized", *CODES):
            answer = said(status, code)
            assert judge(operation, answer) is expected(status, code), (status, code)
            assert isinstance(error_of(operation, answer), cycles.CyclesError)


@given(
    status=st.none() | st.integers(0, 10**6),
    code=st.none() | st.sampled_from(sorted(CODES)) | st.text(max_size=20),
    message=st.sampled_from(["no", "INTERNAL_ERROR", ""]),
    trouble=st.none() | st.sampled_from(list(Trouble)),
    retry_after=st.text("0123456789 -.", max_size=30),
)
def test_any_answer_has_a_verdict_an_error_and_a_bound(status, code, message, trouble, retry_after):
    error = None if code is None else ErrorResponse(error=code, message=message, request_id="r")
    answer = Answer(status=status, error=error, trouble=trouble, headers={"retry-after": retry_after})
    for operation in OPERATIONS:
        assert judge(operation, answer) in Verdict
        assert judge(operation, answer) is not Verdict.DONE
        assert isinstance(error_of(operation, answer), cycles.CyclesError)
    assert answer.retry_after is None or 0 <= answer.retry_after < 10**9


def test_every_code_of_the_document_has_its_status():
    assert set(CODES) == {str(code) for code in ErrorCode}


def test_a_401_for_want_of_a_database_is_an_outage():
    """And says nothing about the key."""
    answer = said(401, "UNAUTHORIZED", "INTERNAL_ERROR")
    for operation in OPERATIONS:
        assert judge(operation, answer) is Verdict.AMBIGUOUS
        error = error_of(operation, answer)
        assert type(error) is cycles.AuthorityUnavailable
        assert (error.status, error.code, error.is_retryable) == (401, "UNAUTHORIZED", True)
        assert "nothing about the key" in str(error)
    for other in (
        said(401, "UNAUTHORIZED", "KEY_REVOKED"),
        said(401, "INTERNAL_ERROR", "INTERNAL_ERROR"),
        said(403, "UNAUTHORIZED", "INTERNAL_ERROR"),
        said(401, None),
    ):
        assert judge(COMMIT_RESERVATION, other) is not Verdict.AMBIGUOUS


@pytest.mark.parametrize(("text", "seconds"), [("0", 0), ("007", 7), (" 5 ", 5), ("9" * 400, 999_999_999)])
def test_a_retry_after_is_read_within_bounds(text, seconds):
    assert said(429, "LIMIT_EXCEEDED", headers={"retry-after": text}).retry_after == seconds
