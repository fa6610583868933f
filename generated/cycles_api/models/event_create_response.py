# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from attrs import define as _attrs_define
from attrs import field as _attrs_field
from attrs import setters as _attrs_setters

from .. import _codec
from ..models.event_status import EventStatus, to_event_status
from ..types import UNSET, Unset


@_attrs_define(on_setattr=_attrs_setters.NO_OP)
class EventCreateResponse:
    """The debit.

    Attributes:
        status: APPLIED.
        event_id: Names the event; opaque.
        charged: What was really charged; present when it is less than `actual`.
        balances: The budgets charged, after the charge.
    """

    status: EventStatus = _attrs_field(converter=to_event_status)
    event_id: str
    charged: Amount | Unset = UNSET
    balances: list[Balance] | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        """Return what is sent for this: what is unset, or None without being nullable, is left out.

        Raises:
            TypeError: for a float or bool where an integer belongs.
            ValueError: for an integer out of its bounds.
        """
        _fields: dict[str, Any] = {
            "status": str(self.status),
            "event_id": self.event_id,
        }
        if (charged := self.charged) is not None and not isinstance(charged, Unset):
            _fields["charged"] = charged.to_dict()
        if (balances := self.balances) is not None and not isinstance(balances, Unset):
            _fields["balances"] = [_item.to_dict() for _item in balances]
        return _fields

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Return the model in *src_dict*, a decoded JSON object.

        Fields that are not described here are ignored.

        Raises:
            DecodeError: when it does not fit.
        """
        _d = _codec.mapping("EventCreateResponse", src_dict)
        try:
            return cls(
                status=_codec.text("EventCreateResponse.status", _d["status"]),
                event_id=_codec.text("EventCreateResponse.event_id", _d["event_id"]),
                charged=UNSET if (_v := _d.get("charged")) is None else Amount.from_dict(_v),
                balances=UNSET
                if (_v := _d.get("balances")) is None
                else [Balance.from_dict(_item) for _item in _codec.array("EventCreateResponse.balances", _v)],
            )
        except KeyError as error:
            raise _codec.missing("EventCreateResponse", error) from None


# At the end, where a cycle of models would do no harm.
from ..models.amount import Amount
from ..models.balance import Balance
