# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from attrs import define as _attrs_define
from attrs import field as _attrs_field
from attrs import setters as _attrs_setters

from .. import _codec
from ..models.evidence_artifact_type import EvidenceArtifactType, to_evidence_artifact_type
from ..types import UNSET, Unset

_DECLARED = frozenset(
    {
        "schema_version",
        "artifact_type",
        "server_id",
        "signer_did",
        "issued_at_ms",
        "payload",
        "evidence_id",
        "signature",
        "trace_id",
    }
)


@_attrs_define(on_setattr=_attrs_setters.NO_OP)
class CyclesEvidenceEnvelope:
    """The signed record of one answer. The id and the signature are computed over the envelope as it was sent,
    fields unknown here included.

    Attributes:
        schema_version: `cycles-evidence/v0.1`; a verifier rejects any other.
        artifact_type: Which answer this records.
        server_id: The server that answered.
        signer_did: The signing key, either 64 hex digits or `did:cycles:...#kid`.
        issued_at_ms: When it was signed; selects the key.
        payload: What was answered, under the artifact type's name.
        evidence_id: SHA-256 of the canonical envelope with this field and `signature` empty.
        signature: Ed25519 over the canonical envelope with this field empty.
        trace_id: Trace of the request.
        additional_properties: Fields that are not described here, as they came.
    """

    schema_version: str
    artifact_type: EvidenceArtifactType = _attrs_field(converter=to_evidence_artifact_type)
    server_id: str
    signer_did: str
    issued_at_ms: int
    payload: EvidencePayload
    evidence_id: str
    signature: str
    trace_id: str | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return what is sent for this: what is unset, or None without being nullable, is left out.

        Raises:
            TypeError: for a float or bool where an integer belongs.
            ValueError: for an integer out of its bounds.
        """
        _fields: dict[str, Any] = {
            **self.additional_properties,
            "schema_version": self.schema_version,
            "artifact_type": str(self.artifact_type),
            "server_id": self.server_id,
            "signer_did": self.signer_did,
            "issued_at_ms": _codec.exact("CyclesEvidenceEnvelope.issued_at_ms", self.issued_at_ms),
            "payload": dict(self.payload),
            "evidence_id": self.evidence_id,
            "signature": self.signature,
        }
        if (trace_id := self.trace_id) is not None and not isinstance(trace_id, Unset):
            _fields["trace_id"] = trace_id
        return _fields

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Return the model in *src_dict*, a decoded JSON object.

        Fields that are not described here are kept in `additional_properties`.

        Raises:
            DecodeError: when it does not fit.
        """
        _d = _codec.mapping("CyclesEvidenceEnvelope", src_dict)
        try:
            _self = cls(
                schema_version=_codec.text("CyclesEvidenceEnvelope.schema_version", _d["schema_version"]),
                artifact_type=_codec.text("CyclesEvidenceEnvelope.artifact_type", _d["artifact_type"]),
                server_id=_codec.text("CyclesEvidenceEnvelope.server_id", _d["server_id"]),
                signer_did=_codec.text("CyclesEvidenceEnvelope.signer_did", _d["signer_did"]),
                issued_at_ms=_codec.integer("CyclesEvidenceEnvelope.issued_at_ms", _d["issued_at_ms"]),
                payload=_codec.free("CyclesEvidenceEnvelope.payload", _d["payload"]),
                evidence_id=_codec.text("CyclesEvidenceEnvelope.evidence_id", _d["evidence_id"]),
                signature=_codec.text("CyclesEvidenceEnvelope.signature", _d["signature"]),
                trace_id=UNSET
                if (_v := _d.get("trace_id")) is None
                else _codec.text("CyclesEvidenceEnvelope.trace_id", _v),
            )
        except KeyError as error:
            raise _codec.missing("CyclesEvidenceEnvelope", error) from None
        _self.additional_properties = {key: value for key, value in _d.items() if key not in _DECLARED}
        return _self


# At the end, where a cycle of models would do no harm.
from ..models.evidence_payload import EvidencePayload
