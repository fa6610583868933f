# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from attrs import define as _attrs_define
from attrs import field as _attrs_field
from attrs import setters as _attrs_setters

from .. import _codec
from .. import shown as _shown
from ..models.unit_enum import UnitEnum, to_unit_enum


@_attrs_define(on_setattr=_attrs_setters.NO_OP)
class Amount:
    """A whole, non-negative number of a unit.

    Attributes:
        unit: What is counted.
        amount: How many, 0 to 2^63-1.

    Example:
        ```python
        from cycles import Amount, usd

        amount = usd("0.05")  # or tokens(1_200)
        print(amount)  # Amount($0.05)
        assert amount == Amount(unit="USD_MICROCENTS", amount=5_000_000)
        ```
    """

    unit: UnitEnum = _attrs_field(converter=to_unit_enum)
    amount: int

    def __repr__(self) -> str:
        return _shown.amount_line(self)

    def to_dict(self) -> dict[str, Any]:
        """Return what is sent for this: what is unset, or None without being nullable, is left out.

        Raises:
            TypeError: for a float or bool where an integer belongs.
            ValueError: for an integer out of its bounds.
        """
        _fields: dict[str, Any] = {
            "unit": str(self.unit),
            "amount": _codec.exact("Amount.amount", self.amount, low=0),
        }
        return _fields

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Return the model in *src_dict*, a decoded JSON object.

        Fields that are not described here are ignored.

        Raises:
            DecodeError: when it does not fit.
        """
        _d = _codec.mapping("Amount", src_dict)
        try:
            return cls(
                unit=_codec.text("Amount.unit", _d["unit"]),
                amount=_codec.integer("Amount.amount", _d["amount"], low=0),
            )
        except KeyError as error:
            raise _codec.missing("Amount", error) from None
