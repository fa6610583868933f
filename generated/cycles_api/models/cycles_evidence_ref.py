# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from attrs import define as _attrs_define

from .. import _codec


@_attrs_define
class CyclesEvidenceRef:
    """Where the signed record of an answer is.

    Attributes:
        evidence_id: The envelope's id, 64 lower-case hex digits.
        cycles_evidence_url: Address of the envelope; may be on another host, so never send a key there.
    """

    evidence_id: str
    cycles_evidence_url: str

    def to_dict(self) -> dict[str, Any]:
        """Return what is sent for this: what is unset, or None without being nullable, is left out.

        Raises:
            TypeError: for a float or bool where an integer belongs.
            ValueError: for an integer out of its bounds.
        """
        _fields: dict[str, Any] = {
            "evidence_id": self.evidence_id,
            "cycles_evidence_url": self.cycles_evidence_url,
        }
        return _fields

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Return the model in *src_dict*, a decoded JSON object.

        Fields that are not described here are ignored.

        Raises:
            DecodeError: when it does not fit.
        """
        _d = _codec.mapping("CyclesEvidenceRef", src_dict)
        try:
            return cls(
                evidence_id=_codec.text("CyclesEvidenceRef.evidence_id", _d["evidence_id"]),
                cycles_evidence_url=_codec.text("CyclesEvidenceRef.cycles_evidence_url", _d["cycles_evidence_url"]),
            )
        except KeyError as error:
            raise _codec.missing("CyclesEvidenceRef", error) from None
