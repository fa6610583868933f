# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from attrs import define as _attrs_define
from attrs import field as _attrs_field
from attrs import setters as _attrs_setters

from .. import _codec
from ..models.extend_status import ExtendStatus, to_extend_status
from ..types import UNSET, Unset


@_attrs_define(on_setattr=_attrs_setters.NO_OP)
class ReservationExtendResponse:
    """The prolonged lease.

    Attributes:
        status: ACTIVE.
        expires_at_ms: When the lease ends now, by the server's clock.
        remaining_ttl_ms: Milliseconds left of the lease when this was sent; what a heartbeat is timed by. A
            replay recomputes it and may give 0.
        balances: The budgets held from; an extension does not change them.
    """

    status: ExtendStatus = _attrs_field(converter=to_extend_status)
    expires_at_ms: int
    remaining_ttl_ms: int | Unset = UNSET
    balances: list[Balance] | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        """Return what is sent for this: what is unset, or None without being nullable, is left out.

        Raises:
            TypeError: for a float or bool where an integer belongs.
            ValueError: for an integer out of its bounds.
        """
        _fields: dict[str, Any] = {
            "status": str(self.status),
            "expires_at_ms": _codec.exact("ReservationExtendResponse.expires_at_ms", self.expires_at_ms, low=0),
        }
        if (remaining_ttl_ms := self.remaining_ttl_ms) is not None and not isinstance(remaining_ttl_ms, Unset):
            _fields["remaining_ttl_ms"] = _codec.exact(
                "ReservationExtendResponse.remaining_ttl_ms", remaining_ttl_ms, low=0
            )
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
        _d = _codec.mapping("ReservationExtendResponse", src_dict)
        try:
            return cls(
                status=_codec.text("ReservationExtendResponse.status", _d["status"]),
                expires_at_ms=_codec.integer("ReservationExtendResponse.expires_at_ms", _d["expires_at_ms"], low=0),
                remaining_ttl_ms=UNSET
                if (_v := _d.get("remaining_ttl_ms")) is None
                else _codec.integer("ReservationExtendResponse.remaining_ttl_ms", _v, low=0),
                balances=UNSET
                if (_v := _d.get("balances")) is None
                else [Balance.from_dict(_item) for _item in _codec.array("ReservationExtendResponse.balances", _v)],
            )
        except KeyError as error:
            raise _codec.missing("ReservationExtendResponse", error) from None


# At the end, where a cycle of models would do no harm.
from ..models.balance import Balance
