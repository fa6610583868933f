# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from attrs import define as _attrs_define

from .. import _codec
from ..types import UNSET, Unset


@_attrs_define
class Caps:
    """Limits that come with ALLOW_WITH_CAPS, for the client to keep. A non-empty allowlist admits only its
    tools and the denylist is then ignored; else a non-empty denylist excludes its tools.

    Attributes:
        max_tokens: Most tokens to generate.
        max_steps_remaining: Most further steps to take.
        tool_allowlist: Names of the only tools to use; case-sensitive.
        tool_denylist: Names of tools not to use; case-sensitive.
        cooldown_ms: Milliseconds to wait before the next action.
    """

    max_tokens: int | Unset = UNSET
    max_steps_remaining: int | Unset = UNSET
    tool_allowlist: list[str] | Unset = UNSET
    tool_denylist: list[str] | Unset = UNSET
    cooldown_ms: int | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        """Return what is sent for this: what is unset, or None without being nullable, is left out.

        Raises:
            TypeError: for a float or bool where an integer belongs.
            ValueError: for an integer out of its bounds.
        """
        _fields: dict[str, Any] = {}
        if (max_tokens := self.max_tokens) is not None and not isinstance(max_tokens, Unset):
            _fields["max_tokens"] = _codec.exact("Caps.max_tokens", max_tokens, low=0)
        if (max_steps_remaining := self.max_steps_remaining) is not None and not isinstance(max_steps_remaining, Unset):
            _fields["max_steps_remaining"] = _codec.exact("Caps.max_steps_remaining", max_steps_remaining, low=0)
        if (tool_allowlist := self.tool_allowlist) is not None and not isinstance(tool_allowlist, Unset):
            _fields["tool_allowlist"] = list(tool_allowlist)
        if (tool_denylist := self.tool_denylist) is not None and not isinstance(tool_denylist, Unset):
            _fields["tool_denylist"] = list(tool_denylist)
        if (cooldown_ms := self.cooldown_ms) is not None and not isinstance(cooldown_ms, Unset):
            _fields["cooldown_ms"] = _codec.exact("Caps.cooldown_ms", cooldown_ms, low=0)
        return _fields

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Return the model in *src_dict*, a decoded JSON object.

        Fields that are not described here are ignored.

        Raises:
            DecodeError: when it does not fit.
        """
        _d = _codec.mapping("Caps", src_dict)
        try:
            return cls(
                max_tokens=UNSET
                if (_v := _d.get("max_tokens")) is None
                else _codec.integer("Caps.max_tokens", _v, low=0),
                max_steps_remaining=UNSET
                if (_v := _d.get("max_steps_remaining")) is None
                else _codec.integer("Caps.max_steps_remaining", _v, low=0),
                tool_allowlist=UNSET
                if (_v := _d.get("tool_allowlist")) is None
                else [_codec.text("Caps.tool_allowlist[]", _item) for _item in _codec.array("Caps.tool_allowlist", _v)],
                tool_denylist=UNSET
                if (_v := _d.get("tool_denylist")) is None
                else [_codec.text("Caps.tool_denylist[]", _item) for _item in _codec.array("Caps.tool_denylist", _v)],
                cooldown_ms=UNSET
                if (_v := _d.get("cooldown_ms")) is None
                else _codec.integer("Caps.cooldown_ms", _v, low=0),
            )
        except KeyError as error:
            raise _codec.missing("Caps", error) from None
