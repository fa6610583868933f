"""Reading what was sent and what was measured."""

from __future__ import annotations

import re

from opentelemetry import trace as otel

TRACEPARENT = re.compile(r"00-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})")


def parts(headers):
    return TRACEPARENT.fullmatch(headers["traceparent"]).groupdict()


def span_ids(sent):
    """The span id in the traceparent of each request that was sent."""
    return [parts(headers)["span"] for headers in sent]


def of(**attributes):
    """The attributes of one point: their names without `cycles.`."""
    return frozenset((f"cycles.{name}", value) for name, value in attributes.items())


def ids(*spans):
    """The ids of *spans*, as a traceparent has them."""
    return [f"{span.get_span_context().span_id:016x}" for span in spans]


def parent(span):
    return None if span.parent is None else f"{span.parent.span_id:016x}"


def current_id():
    return ids(otel.get_current_span())[0]
