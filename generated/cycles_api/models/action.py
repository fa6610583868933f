# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from attrs import define as _attrs_define

from .. import _codec
from ..types import UNSET, Unset


@_attrs_define
class Action:
    """What is about to be done.

    Attributes:
        kind: Family of the action, such as `llm.completion`; at most 64 characters.
        name: Model or tool, such as `openai:gpt-4o`; at most 256 characters. Caps name tools by it.
        tags: Up to 10 tags of up to 64 characters.
        policy_keys: What rules of an authority may go by; an authority without rules ignores it.

    Example:
        ```python
        import cycles
        from cycles import Action, usd

        action = Action(kind="tool.search", name="web", tags=["nightly"])
        with cycles.Guard(usd("0.05"), action=action):
            pass  # your work
        ```
    """

    kind: str
    name: str
    tags: list[str] | Unset = UNSET
    policy_keys: ActionPolicyKeys | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        """Return what is sent for this: what is unset, or None without being nullable, is left out.

        Raises:
            TypeError: for a float or bool where an integer belongs.
            ValueError: for an integer out of its bounds.
        """
        _fields: dict[str, Any] = {
            "kind": self.kind,
            "name": self.name,
        }
        if (tags := self.tags) is not None and not isinstance(tags, Unset):
            _fields["tags"] = list(tags)
        if (policy_keys := self.policy_keys) is not None and not isinstance(policy_keys, Unset):
            _fields["policy_keys"] = policy_keys.to_dict()
        return _fields

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Return the model in *src_dict*, a decoded JSON object.

        Fields that are not described here are ignored.

        Raises:
            DecodeError: when it does not fit.
        """
        _d = _codec.mapping("Action", src_dict)
        try:
            return cls(
                kind=_codec.text("Action.kind", _d["kind"]),
                name=_codec.text("Action.name", _d["name"]),
                tags=UNSET
                if (_v := _d.get("tags")) is None
                else [_codec.text("Action.tags[]", _item) for _item in _codec.array("Action.tags", _v)],
                policy_keys=UNSET if (_v := _d.get("policy_keys")) is None else ActionPolicyKeys.from_dict(_v),
            )
        except KeyError as error:
            raise _codec.missing("Action", error) from None


# At the end, where a cycle of models would do no harm.
from ..models.action_policy_keys import ActionPolicyKeys
