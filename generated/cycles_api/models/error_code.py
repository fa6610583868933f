# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
from ..types import OpenStrEnum


class ErrorCode(OpenStrEnum):
    """Why a request did not succeed. An unknown code is kept; go by the status then."""

    INVALID_REQUEST = "INVALID_REQUEST"
    UNAUTHORIZED = "UNAUTHORIZED"
    FORBIDDEN = "FORBIDDEN"
    NOT_FOUND = "NOT_FOUND"
    BUDGET_EXCEEDED = "BUDGET_EXCEEDED"
    BUDGET_FROZEN = "BUDGET_FROZEN"
    BUDGET_CLOSED = "BUDGET_CLOSED"
    RESERVATION_EXPIRED = "RESERVATION_EXPIRED"
    RESERVATION_FINALIZED = "RESERVATION_FINALIZED"
    IDEMPOTENCY_MISMATCH = "IDEMPOTENCY_MISMATCH"
    UNIT_MISMATCH = "UNIT_MISMATCH"
    OVERDRAFT_LIMIT_EXCEEDED = "OVERDRAFT_LIMIT_EXCEEDED"
    DEBT_OUTSTANDING = "DEBT_OUTSTANDING"
    MAX_EXTENSIONS_EXCEEDED = "MAX_EXTENSIONS_EXCEEDED"
    LIMIT_EXCEEDED = "LIMIT_EXCEEDED"
    TENANT_CLOSED = "TENANT_CLOSED"
    ACTION_QUOTA_EXCEEDED = "ACTION_QUOTA_EXCEEDED"
    ACTION_KIND_NOT_ALLOWED = "ACTION_KIND_NOT_ALLOWED"
    ACTION_KIND_DENIED = "ACTION_KIND_DENIED"
    INTERNAL_ERROR = "INTERNAL_ERROR"


_KNOWN = {member.value: member for member in ErrorCode}


def to_error_code(value: str) -> ErrorCode:
    """Return the member of *value*, known or not; much faster than calling the enum."""
    return _KNOWN.get(value) or ErrorCode(value)
