# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from attrs import define as _attrs_define

from .. import _codec
from ..types import UNSET, Unset


@_attrs_define
class BalanceResponse:
    """One page of budgets.

    Attributes:
        balances: The rows, one for each scope and unit.
        next_cursor: Where the next page starts; absent on the last one.
        has_more: Whether there is a next page.
    """

    balances: list[Balance]
    next_cursor: str | Unset = UNSET
    has_more: bool | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        """Return what is sent for this: what is unset, or None without being nullable, is left out.

        Raises:
            TypeError: for a float or bool where an integer belongs.
            ValueError: for an integer out of its bounds.
        """
        _fields: dict[str, Any] = {
            "balances": [_item.to_dict() for _item in self.balances],
        }
        if (next_cursor := self.next_cursor) is not None and not isinstance(next_cursor, Unset):
            _fields["next_cursor"] = next_cursor
        if (has_more := self.has_more) is not None and not isinstance(has_more, Unset):
            _fields["has_more"] = has_more
        return _fields

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Return the model in *src_dict*, a decoded JSON object.

        Fields that are not described here are ignored.

        Raises:
            DecodeError: when it does not fit.
        """
        _d = _codec.mapping("BalanceResponse", src_dict)
        try:
            return cls(
                balances=[
                    Balance.from_dict(_item) for _item in _codec.array("BalanceResponse.balances", _d["balances"])
                ],
                next_cursor=UNSET
                if (_v := _d.get("next_cursor")) is None
                else _codec.text("BalanceResponse.next_cursor", _v),
                has_more=UNSET
                if (_v := _d.get("has_more")) is None
                else _codec.boolean("BalanceResponse.has_more", _v),
            )
        except KeyError as error:
            raise _codec.missing("BalanceResponse", error) from None


# At the end, where a cycle of models would do no harm.
from ..models.balance import Balance
