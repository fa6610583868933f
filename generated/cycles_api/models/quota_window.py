# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
from ..types import OpenStrEnum


class QuotaWindow(OpenStrEnum):
    """Span in which a quota counts actions."""

    PER_RUN = "per_run"
    PER_MINUTE_TUMBLING = "per_minute_tumbling"
    PER_HOUR_TUMBLING = "per_hour_tumbling"
    PER_DAY_TUMBLING = "per_day_tumbling"
    PER_TENANT_PER_DAY = "per_tenant_per_day"


_KNOWN = {member.value: member for member in QuotaWindow}


def to_quota_window(value: str) -> QuotaWindow:
    """Return the member of *value*, known or not; much faster than calling the enum."""
    return _KNOWN.get(value) or QuotaWindow(value)
