# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from attrs import define as _attrs_define

from .. import _codec
from ..types import UNSET, Unset


@_attrs_define
class ReleaseRequest:
    """A hold to be given back.

    Attributes:
        idempotency_key: Names this intention; every retry of it sends the same key.
        reason: Why nothing was spent; at most 256 characters.
    """

    idempotency_key: str
    reason: str | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        """Return what is sent for this: what is unset, or None without being nullable, is left out.

        Raises:
            TypeError: for a float or bool where an integer belongs.
            ValueError: for an integer out of its bounds.
        """
        _fields: dict[str, Any] = {
            "idempotency_key": self.idempotency_key,
        }
        if (reason := self.reason) is not None and not isinstance(reason, Unset):
            _fields["reason"] = reason
        return _fields

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Return the model in *src_dict*, a decoded JSON object.

        Fields that are not described here are ignored.

        Raises:
            DecodeError: when it does not fit.
        """
        _d = _codec.mapping("ReleaseRequest", src_dict)
        try:
            return cls(
                idempotency_key=_codec.text("ReleaseRequest.idempotency_key", _d["idempotency_key"]),
                reason=UNSET if (_v := _d.get("reason")) is None else _codec.text("ReleaseRequest.reason", _v),
            )
        except KeyError as error:
            raise _codec.missing("ReleaseRequest", error) from None
