# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from attrs import define as _attrs_define

from .. import _codec
from ..types import UNSET, Unset


@_attrs_define
class ReservationExtendRequest:
    """Time to be added to a lease.

    Attributes:
        idempotency_key: Names this extension; every retry of it sends the same key.
        extend_by_ms: Milliseconds to add to the current expiry, 1 to 86400000.
        metadata: Accepted and not returned.
    """

    idempotency_key: str
    extend_by_ms: int
    metadata: Metadata | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        """Return what is sent for this: what is unset, or None without being nullable, is left out.

        Raises:
            TypeError: for a float or bool where an integer belongs.
            ValueError: for an integer out of its bounds.
        """
        _fields: dict[str, Any] = {
            "idempotency_key": self.idempotency_key,
            "extend_by_ms": _codec.exact(
                "ReservationExtendRequest.extend_by_ms", self.extend_by_ms, low=1, high=86400000
            ),
        }
        if (metadata := self.metadata) is not None and not isinstance(metadata, Unset):
            _fields["metadata"] = dict(metadata)
        return _fields

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Return the model in *src_dict*, a decoded JSON object.

        Fields that are not described here are ignored.

        Raises:
            DecodeError: when it does not fit.
        """
        _d = _codec.mapping("ReservationExtendRequest", src_dict)
        try:
            return cls(
                idempotency_key=_codec.text("ReservationExtendRequest.idempotency_key", _d["idempotency_key"]),
                extend_by_ms=_codec.integer(
                    "ReservationExtendRequest.extend_by_ms", _d["extend_by_ms"], low=1, high=86400000
                ),
                metadata=UNSET
                if (_v := _d.get("metadata")) is None
                else _codec.free("ReservationExtendRequest.metadata", _v),
            )
        except KeyError as error:
            raise _codec.missing("ReservationExtendRequest", error) from None


# At the end, where a cycle of models would do no harm.
from ..models.metadata import Metadata
