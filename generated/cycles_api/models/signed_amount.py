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
class SignedAmount:
    """A whole number of a unit that may be negative, as a budget in debt has it.

    Attributes:
        unit: What is counted.
        amount: How many, -2^63 to 2^63-1.
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
            "amount": _codec.exact("SignedAmount.amount", self.amount),
        }
        return _fields

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Return the model in *src_dict*, a decoded JSON object.

        Fields that are not described here are ignored.

        Raises:
            DecodeError: when it does not fit.
        """
        _d = _codec.mapping("SignedAmount", src_dict)
        try:
            return cls(
                unit=_codec.text("SignedAmount.unit", _d["unit"]),
                amount=_codec.integer("SignedAmount.amount", _d["amount"]),
            )
        except KeyError as error:
            raise _codec.missing("SignedAmount", error) from None
