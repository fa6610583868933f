"""Adapters to frameworks and services: one module each, imported only when a program uses it.

`cycles.integrations.NAME` needs the extra NAME of this package; this module itself needs none. An adapter adds to a
framework what `cycles.wrap` can't see: tools, who spends, and what a denial means to a run. Model calls are metered by
`cycles.wrap`, so that each is priced in one place. No adapter imports another one.
"""

from cycles.integrations._denials import OnDenied, Refusal
from cycles.integrations._tool_calls import ToolCall, ToolCallReplayed, tool_call_key
from cycles.integrations.retries import is_retryable

__all__ = ["OnDenied", "Refusal", "ToolCall", "ToolCallReplayed", "is_retryable", "tool_call_key"]
