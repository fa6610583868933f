# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from attrs import define as _attrs_define

from .. import _codec
from .. import shown as _shown
from ..types import UNSET, Unset


@_attrs_define
class Balance:
    """One budget in one unit. remaining = allocated - spent - reserved - debt. What is zero or false may be
    left out.

    Attributes:
        scope: The budget's own level, such as `agent:planner`.
        scope_path: All levels from the tenant down, such as `tenant:acme/agent:planner`.
        remaining: Left to reserve; negative in debt.
        reserved: Held by open reservations.
        spent: Charged so far.
        debt: Charged beyond what was left.
        allocated: Granted in all.
        overdraft_limit: Most debt allowed; 0 means none.
        is_over_limit: Whether the budget refuses new reservations until the operator settles it.
    """

    scope: str
    scope_path: str
    remaining: SignedAmount
    reserved: Amount | Unset = UNSET
    spent: Amount | Unset = UNSET
    debt: Amount | Unset = UNSET
    allocated: Amount | Unset = UNSET
    overdraft_limit: Amount | Unset = UNSET
    is_over_limit: bool | Unset = UNSET

    def __repr__(self) -> str:
        return _shown.balance_line(self)

    def _repr_html_(self) -> str:
        return _shown.balance_table(self)

    def to_dict(self) -> dict[str, Any]:
        """Return what is sent for this: what is unset, or None without being nullable, is left out.

        Raises:
            TypeError: for a float or bool where an integer belongs.
            ValueError: for an integer out of its bounds.
        """
        _fields: dict[str, Any] = {
            "scope": self.scope,
            "scope_path": self.scope_path,
            "remaining": self.remaining.to_dict(),
        }
        if (reserved := self.reserved) is not None and not isinstance(reserved, Unset):
            _fields["reserved"] = reserved.to_dict()
        if (spent := self.spent) is not None and not isinstance(spent, Unset):
            _fields["spent"] = spent.to_dict()
        if (debt := self.debt) is not None and not isinstance(debt, Unset):
            _fields["debt"] = debt.to_dict()
        if (allocated := self.allocated) is not None and not isinstance(allocated, Unset):
            _fields["allocated"] = allocated.to_dict()
        if (overdraft_limit := self.overdraft_limit) is not None and not isinstance(overdraft_limit, Unset):
            _fields["overdraft_limit"] = overdraft_limit.to_dict()
        if (is_over_limit := self.is_over_limit) is not None and not isinstance(is_over_limit, Unset):
            _fields["is_over_limit"] = is_over_limit
        return _fields

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Return the model in *src_dict*, a decoded JSON object.

        Fields that are not described here are ignored.

        Raises:
            DecodeError: when it does not fit.
        """
        _d = _codec.mapping("Balance", src_dict)
        try:
            return cls(
                scope=_codec.text("Balance.scope", _d["scope"]),
                scope_path=_codec.text("Balance.scope_path", _d["scope_path"]),
                remaining=SignedAmount.from_dict(_d["remaining"]),
                reserved=UNSET if (_v := _d.get("reserved")) is None else Amount.from_dict(_v),
                spent=UNSET if (_v := _d.get("spent")) is None else Amount.from_dict(_v),
                debt=UNSET if (_v := _d.get("debt")) is None else Amount.from_dict(_v),
                allocated=UNSET if (_v := _d.get("allocated")) is None else Amount.from_dict(_v),
                overdraft_limit=UNSET if (_v := _d.get("overdraft_limit")) is None else Amount.from_dict(_v),
                is_over_limit=UNSET
                if (_v := _d.get("is_over_limit")) is None
                else _codec.boolean("Balance.is_over_limit", _v),
            )
        except KeyError as error:
            raise _codec.missing("Balance", error) from None


# At the end, where a cycle of models would do no harm.
from ..models.amount import Amount
from ..models.signed_amount import SignedAmount
