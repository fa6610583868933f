# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from .. import _codec

_DECLARED = frozenset(
    {
        "keys",
    }
)


@_attrs_define
class CyclesEvidenceJwks:
    """The public keys of a server.

    Attributes:
        keys: The keys; a key of another kind is to be skipped, not an error.
        additional_properties: Fields that are not described here, as they came.
    """

    keys: list[CyclesEvidenceJwk]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return what is sent for this: what is unset, or None without being nullable, is left out.

        Raises:
            TypeError: for a float or bool where an integer belongs.
            ValueError: for an integer out of its bounds.
        """
        _fields: dict[str, Any] = {
            **self.additional_properties,
            "keys": [_item.to_dict() for _item in self.keys],
        }
        return _fields

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Return the model in *src_dict*, a decoded JSON object.

        Fields that are not described here are kept in `additional_properties`.

        Raises:
            DecodeError: when it does not fit.
        """
        _d = _codec.mapping("CyclesEvidenceJwks", src_dict)
        try:
            _self = cls(
                keys=[
                    CyclesEvidenceJwk.from_dict(_item) for _item in _codec.array("CyclesEvidenceJwks.keys", _d["keys"])
                ],
            )
        except KeyError as error:
            raise _codec.missing("CyclesEvidenceJwks", error) from None
        _self.additional_properties = {key: value for key, value in _d.items() if key not in _DECLARED}
        return _self


# At the end, where a cycle of models would do no harm.
from ..models.cycles_evidence_jwk import CyclesEvidenceJwk
