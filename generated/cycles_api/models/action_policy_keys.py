# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from attrs import define as _attrs_define

from .. import _codec
from ..types import UNSET, Unset


@_attrs_define
class ActionPolicyKeys:
    """Where an action goes, for rules about actions. Budgets do not depend on it.

    Attributes:
        host: Host that is called, without scheme and port; at most 253 characters.
        recipient_domain: Domain that a message goes to, at most 253 characters.
        resource_type: Kind of the thing that is acted on, at most 128 characters.
        path_prefix: Beginning of the path that is read or written, at most 512 characters.
        custom: Up to 8 keys of one's own.
    """

    host: str | Unset = UNSET
    recipient_domain: str | Unset = UNSET
    resource_type: str | Unset = UNSET
    path_prefix: str | Unset = UNSET
    custom: CustomPolicyKeys | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        """Return what is sent for this: what is unset, or None without being nullable, is left out.

        Raises:
            TypeError: for a float or bool where an integer belongs.
            ValueError: for an integer out of its bounds.
        """
        _fields: dict[str, Any] = {}
        if (host := self.host) is not None and not isinstance(host, Unset):
            _fields["host"] = host
        if (recipient_domain := self.recipient_domain) is not None and not isinstance(recipient_domain, Unset):
            _fields["recipient_domain"] = recipient_domain
        if (resource_type := self.resource_type) is not None and not isinstance(resource_type, Unset):
            _fields["resource_type"] = resource_type
        if (path_prefix := self.path_prefix) is not None and not isinstance(path_prefix, Unset):
            _fields["path_prefix"] = path_prefix
        if (custom := self.custom) is not None and not isinstance(custom, Unset):
            _fields["custom"] = dict(custom)
        return _fields

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Return the model in *src_dict*, a decoded JSON object.

        Fields that are not described here are ignored.

        Raises:
            DecodeError: when it does not fit.
        """
        _d = _codec.mapping("ActionPolicyKeys", src_dict)
        try:
            return cls(
                host=UNSET if (_v := _d.get("host")) is None else _codec.text("ActionPolicyKeys.host", _v),
                recipient_domain=UNSET
                if (_v := _d.get("recipient_domain")) is None
                else _codec.text("ActionPolicyKeys.recipient_domain", _v),
                resource_type=UNSET
                if (_v := _d.get("resource_type")) is None
                else _codec.text("ActionPolicyKeys.resource_type", _v),
                path_prefix=UNSET
                if (_v := _d.get("path_prefix")) is None
                else _codec.text("ActionPolicyKeys.path_prefix", _v),
                custom=UNSET if (_v := _d.get("custom")) is None else _codec.free_texts("ActionPolicyKeys.custom", _v),
            )
        except KeyError as error:
            raise _codec.missing("ActionPolicyKeys", error) from None


# At the end, where a cycle of models would do no harm.
from ..models.custom_policy_keys import CustomPolicyKeys
