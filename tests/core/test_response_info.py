"""What the headers of an answer say."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cycles._core.response_info import ResponseInfo
from cycles._core.retry import RetryPolicy

POLICY = RetryPolicy(max_attempts=4)
NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def test_what_the_headers_say():
    headers = {
        "x-request-id": "req-1",
        "x-cycles-trace-id": "ab" * 16,
        "x-cycles-tenant": "acme",
        "x-ratelimit-remaining": "3",
        "x-ratelimit-reset": "1800000000",
    }
    info = ResponseInfo(headers)
    assert (info.request_id, info.trace_id, info.tenant) == ("req-1", "ab" * 16, "acme")
    assert (info.rate_limit_remaining, info.rate_limit_reset) == (3, 1_800_000_000)
    assert info == ResponseInfo(headers) == pickle.loads(pickle.dumps(info))
    assert hash(info) == hash(ResponseInfo(headers))
    assert info != ResponseInfo({})
    assert repr(ResponseInfo({})) == "<ResponseInfo>"
    assert "tenant='acme'" in repr(info)
    with pytest.raises(AttributeError, match="frozen"):
        info.tenant = "other"


@given(st.text(), st.text())
def test_any_header_is_read(identifier, number):
    info = ResponseInfo(
        dict.fromkeys(("x-request-id", "x-cycles-trace-id", "x-cycles-tenant"), identifier)
        | dict.fromkeys(("x-ratelimit-remaining", "x-ratelimit-reset"), number)
    )
    assert (
        info.rate_limit_reset is None or number.strip() == str(info.rate_limit_reset) or number.strip().startswith("0")
    )


@pytest.mark.parametrize("number", ["-1", "1.5", "٣", "9" * 40, "", "soon"])
def test_a_malformed_count_is_none(number):
    assert ResponseInfo({"x-ratelimit-remaining": number}).rate_limit_remaining is None


@pytest.mark.parametrize("trace_id", ["0" * 32, "AB" * 16, "ab", ""])
def test_a_malformed_trace_id_is_none(trace_id):
    assert ResponseInfo({"x-cycles-trace-id": trace_id}).trace_id is None
