# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from attrs import define as _attrs_define

from .. import _codec
from ..types import UNSET, Unset


@_attrs_define
class DenyDetail:
    """Why it is a DENY, and what helps.

    Attributes:
        reason_code: Why it is a DENY; an open list.
        quota_violation: The quota that is used up.
        blocked_by_scope: Scope path of the budget, or of the rule, that refused.
        blocked_by_policy: The rule that refused.
        suggested_fix: What a person can do about it.
        budget_remaining: What the budget that refused has left, in its unit; may be negative.
    """

    reason_code: str
    quota_violation: ActionQuotaViolation | Unset = UNSET
    blocked_by_scope: str | Unset = UNSET
    blocked_by_policy: str | Unset = UNSET
    suggested_fix: str | Unset = UNSET
    budget_remaining: int | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        """Return what is sent for this: what is unset, or None without being nullable, is left out.

        Raises:
            TypeError: for a float or bool where an integer belongs.
            ValueError: for an integer out of its bounds.
        """
        _fields: dict[str, Any] = {
            "reason_code": self.reason_code,
        }
        if (quota_violation := self.quota_violation) is not None and not isinstance(quota_violation, Unset):
            _fields["quota_violation"] = quota_violation.to_dict()
        if (blocked_by_scope := self.blocked_by_scope) is not None and not isinstance(blocked_by_scope, Unset):
            _fields["blocked_by_scope"] = blocked_by_scope
        if (blocked_by_policy := self.blocked_by_policy) is not None and not isinstance(blocked_by_policy, Unset):
            _fields["blocked_by_policy"] = blocked_by_policy
        if (suggested_fix := self.suggested_fix) is not None and not isinstance(suggested_fix, Unset):
            _fields["suggested_fix"] = suggested_fix
        if (budget_remaining := self.budget_remaining) is not None and not isinstance(budget_remaining, Unset):
            _fields["budget_remaining"] = _codec.exact("DenyDetail.budget_remaining", budget_remaining)
        return _fields

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Return the model in *src_dict*, a decoded JSON object.

        Fields that are not described here are ignored.

        Raises:
            DecodeError: when it does not fit.
        """
        _d = _codec.mapping("DenyDetail", src_dict)
        try:
            return cls(
                reason_code=_codec.text("DenyDetail.reason_code", _d["reason_code"]),
                quota_violation=UNSET
                if (_v := _d.get("quota_violation")) is None
                else ActionQuotaViolation.from_dict(_v),
                blocked_by_scope=UNSET
                if (_v := _d.get("blocked_by_scope")) is None
                else _codec.text("DenyDetail.blocked_by_scope", _v),
                blocked_by_policy=UNSET
                if (_v := _d.get("blocked_by_policy")) is None
                else _codec.text("DenyDetail.blocked_by_policy", _v),
                suggested_fix=UNSET
                if (_v := _d.get("suggested_fix")) is None
                else _codec.text("DenyDetail.suggested_fix", _v),
                budget_remaining=UNSET
                if (_v := _d.get("budget_remaining")) is None
                else _codec.integer("DenyDetail.budget_remaining", _v),
            )
        except KeyError as error:
            raise _codec.missing("DenyDetail", error) from None


# At the end, where a cycle of models would do no harm.
from ..models.action_quota_violation import ActionQuotaViolation
