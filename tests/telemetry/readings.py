"""Reading what was sent and what was measured."""

from __future__ import annotations

import re

TRACEPARENT = re.compile(r"00-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})")


def parts(headers):
    return TRACEPARENT.fullmatch(headers["traceparent"]).groupdict()


def span_ids(sent):
    """The span id in the traceparent of each request that was sent."""
    return [parts(headers)["span"] for headers in sent]


def of(**attributes):
    """The attributes of one point: their names without `cycles.`."""
    return frozenset((f"cycles.{name}", value) for name, value in attributes.items())
