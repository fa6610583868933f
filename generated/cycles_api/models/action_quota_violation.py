# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from attrs import define as _attrs_define
from attrs import field as _attrs_field
from attrs import setters as _attrs_setters

from .. import _codec
from ..models.quota_window import QuotaWindow, to_quota_window
from ..models.risk_class import RiskClass, to_risk_class
from ..types import UNSET, Unset


def _to_risk_class(value: str | Unset | None) -> RiskClass | Unset:
    return UNSET if value is None or isinstance(value, Unset) else to_risk_class(value)


@_attrs_define(on_setattr=_attrs_setters.NO_OP)
class ActionQuotaViolation:
    """A quota of actions that is used up.

    Attributes:
        action_kind: Family of the actions that the quota counts.
        window: The span that it counts in.
        used: Actions counted in this span.
        limit: Actions allowed in a span.
        scope: Scope path that the quota is kept at.
        window_key: The present span, as the server names it.
        policy_id: The rule that set the quota.
        risk_class: How much harm such an action can do.
    """

    action_kind: str
    window: QuotaWindow = _attrs_field(converter=to_quota_window)
    used: int
    limit: int
    scope: str
    window_key: str | Unset = UNSET
    policy_id: str | Unset = UNSET
    risk_class: RiskClass | Unset = _attrs_field(default=UNSET, converter=_to_risk_class)

    def to_dict(self) -> dict[str, Any]:
        """Return what is sent for this: what is unset, or None without being nullable, is left out.

        Raises:
            TypeError: for a float or bool where an integer belongs.
            ValueError: for an integer out of its bounds.
        """
        _fields: dict[str, Any] = {
            "action_kind": self.action_kind,
            "window": str(self.window),
            "used": _codec.exact("ActionQuotaViolation.used", self.used),
            "limit": _codec.exact("ActionQuotaViolation.limit", self.limit),
            "scope": self.scope,
        }
        if (window_key := self.window_key) is not None and not isinstance(window_key, Unset):
            _fields["window_key"] = window_key
        if (policy_id := self.policy_id) is not None and not isinstance(policy_id, Unset):
            _fields["policy_id"] = policy_id
        if (risk_class := self.risk_class) is not None and not isinstance(risk_class, Unset):
            _fields["risk_class"] = str(risk_class)
        return _fields

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Return the model in *src_dict*, a decoded JSON object.

        Fields that are not described here are ignored.

        Raises:
            DecodeError: when it does not fit.
        """
        _d = _codec.mapping("ActionQuotaViolation", src_dict)
        try:
            return cls(
                action_kind=_codec.text("ActionQuotaViolation.action_kind", _d["action_kind"]),
                window=_codec.text("ActionQuotaViolation.window", _d["window"]),
                used=_codec.integer("ActionQuotaViolation.used", _d["used"]),
                limit=_codec.integer("ActionQuotaViolation.limit", _d["limit"]),
                scope=_codec.text("ActionQuotaViolation.scope", _d["scope"]),
                window_key=UNSET
                if (_v := _d.get("window_key")) is None
                else _codec.text("ActionQuotaViolation.window_key", _v),
                policy_id=UNSET
                if (_v := _d.get("policy_id")) is None
                else _codec.text("ActionQuotaViolation.policy_id", _v),
                risk_class=UNSET
                if (_v := _d.get("risk_class")) is None
                else _codec.text("ActionQuotaViolation.risk_class", _v),
            )
        except KeyError as error:
            raise _codec.missing("ActionQuotaViolation", error) from None
