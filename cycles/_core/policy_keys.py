"""Policy keys: where an action goes, for an authority whose rules look at that (docs/protocol.md, Extensions)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, TypedDict

from cycles._core.requests import text
from cycles.errors import InvalidRequest
from cycles_api import models
from cycles_api.types import Unset

_LONGEST: Final = {"host": 253, "recipient_domain": 253, "resource_type": 128, "path_prefix": 512}
_MOST_CUSTOM: Final = 8
_LONGEST_CUSTOM: Final = 256

_PORT: Final = re.compile(r"(?:[^:]*|\[.*\]):[0-9]*")


class PolicyKeys(TypedDict, total=False):
    """Where an action goes. All may be left out; an authority without policies keeps them, and ignores them.

    Example:
        ```python
        import cycles
        from cycles import usd

        with cycles.Guard(usd("0.01"), action=("http.get", "page"), policy_keys={"host": "example.com"}):
            pass  # your request
        ```
    """

    host: str
    """The host that is called, without scheme and port; at most 253 characters."""
    recipient_domain: str
    """The domain that a message goes to; at most 253 characters."""
    resource_type: str
    """What kind of thing is acted on; at most 128 characters."""
    path_prefix: str
    """The beginning of the path that is read or written; at most 512 characters."""
    custom: Mapping[str, str]
    """At most 8 keys of your own, with values of at most 256 characters."""


def policy_keys_of(given: PolicyKeys | models.ActionPolicyKeys) -> models.ActionPolicyKeys:
    """Return checked policy keys.

    Raises:
        InvalidRequest: naming the field, the value and what is allowed.
    """
    found: object = given.to_dict() if isinstance(given, models.ActionPolicyKeys) else given
    if not isinstance(found, Mapping):
        raise InvalidRequest(f'policy_keys={given!r}: give a mapping such as {{"host": "api.example.com"}}')
    keys = {name: value for name, value in found.items() if value is not None and not isinstance(value, Unset)}
    unknown = [name for name in keys if name not in PolicyKeys.__annotations__]
    if unknown:
        raise InvalidRequest(
            f"policy_keys: {unknown[0]!r} is none of {', '.join(PolicyKeys.__annotations__)}; put it into custom"
        )
    checked: dict[str, Any] = {
        name: text(f"policy_keys.{name}", keys[name], least=0, most=most)
        for name, most in _LONGEST.items()
        if name in keys
    }
    host = checked.get("host", "")
    if "/" in host or _PORT.fullmatch(host):
        raise InvalidRequest(f"policy_keys.host={host!r}: give the host alone, without scheme, port and path")
    made = models.ActionPolicyKeys(**checked)
    if "custom" in keys:
        made.custom = _custom(keys["custom"])
    return made


def _custom(given: object) -> models.CustomPolicyKeys:
    if not isinstance(given, Mapping):
        raise InvalidRequest(f"policy_keys.custom={given!r}: give a mapping from names to texts")
    if len(given) > _MOST_CUSTOM:
        raise InvalidRequest(f"policy_keys.custom: {len(given)} entries, at most {_MOST_CUSTOM} are allowed")
    return {
        text("policy_keys.custom", name, least=0, most=_LONGEST_CUSTOM): text(
            f"policy_keys.custom.{name}", value, least=0, most=_LONGEST_CUSTOM
        )
        for name, value in given.items()
    }
