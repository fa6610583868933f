# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from attrs import define as _attrs_define
from attrs import field as _attrs_field
from attrs import setters as _attrs_setters

from .. import _codec
from .. import shown as _shown
from ..models.reservation_status import ReservationStatus, to_reservation_status
from ..types import UNSET, Unset


@_attrs_define(on_setattr=_attrs_setters.NO_OP)
class ReservationSummary:
    """One reservation in a list. The metadata and evidence come only when `include` asks for them.

    Attributes:
        reservation_id: Names the reservation; opaque.
        status: Its state.
        subject: Who spends.
        action: On what.
        reserved: What was held.
        created_at_ms: When it was made.
        expires_at_ms: When the lease ends or ended.
        scope_path: Narrowest scope path of the subject.
        affected_scopes: Scope paths that the subject falls under, widest first.
        idempotency_key: Key that it was made with.
        finalized_at_ms: When it was committed or released.
        committed: What was charged; only when COMMITTED.
        metadata: Sent with the reservation.
        committed_metadata: Sent with the commit.
        evidence: Signed records of its life.
    """

    reservation_id: str
    status: ReservationStatus = _attrs_field(converter=to_reservation_status)
    subject: Subject
    action: Action
    reserved: Amount
    created_at_ms: int
    expires_at_ms: int
    scope_path: str
    affected_scopes: list[str]
    idempotency_key: str | Unset = UNSET
    finalized_at_ms: int | Unset = UNSET
    committed: Amount | Unset = UNSET
    metadata: Metadata | Unset = UNSET
    committed_metadata: Metadata | Unset = UNSET
    evidence: ReservationEvidence | Unset = UNSET

    def __repr__(self) -> str:
        return _shown.reservation_line(self)

    def _repr_html_(self) -> str:
        return _shown.reservation_table(self)

    def to_dict(self) -> dict[str, Any]:
        """Return what is sent for this: what is unset, or None without being nullable, is left out.

        Raises:
            TypeError: for a float or bool where an integer belongs.
            ValueError: for an integer out of its bounds.
        """
        _fields: dict[str, Any] = {
            "reservation_id": self.reservation_id,
            "status": str(self.status),
            "subject": self.subject.to_dict(),
            "action": self.action.to_dict(),
            "reserved": self.reserved.to_dict(),
            "created_at_ms": _codec.exact("ReservationSummary.created_at_ms", self.created_at_ms, low=0),
            "expires_at_ms": _codec.exact("ReservationSummary.expires_at_ms", self.expires_at_ms, low=0),
            "scope_path": self.scope_path,
            "affected_scopes": list(self.affected_scopes),
        }
        if (idempotency_key := self.idempotency_key) is not None and not isinstance(idempotency_key, Unset):
            _fields["idempotency_key"] = idempotency_key
        if (finalized_at_ms := self.finalized_at_ms) is not None and not isinstance(finalized_at_ms, Unset):
            _fields["finalized_at_ms"] = _codec.exact("ReservationSummary.finalized_at_ms", finalized_at_ms, low=0)
        if (committed := self.committed) is not None and not isinstance(committed, Unset):
            _fields["committed"] = committed.to_dict()
        if (metadata := self.metadata) is not None and not isinstance(metadata, Unset):
            _fields["metadata"] = dict(metadata)
        if (committed_metadata := self.committed_metadata) is not None and not isinstance(committed_metadata, Unset):
            _fields["committed_metadata"] = dict(committed_metadata)
        if (evidence := self.evidence) is not None and not isinstance(evidence, Unset):
            _fields["evidence"] = evidence.to_dict()
        return _fields

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Return the model in *src_dict*, a decoded JSON object.

        Fields that are not described here are ignored.

        Raises:
            DecodeError: when it does not fit.
        """
        _d = _codec.mapping("ReservationSummary", src_dict)
        try:
            return cls(
                reservation_id=_codec.text("ReservationSummary.reservation_id", _d["reservation_id"]),
                status=_codec.text("ReservationSummary.status", _d["status"]),
                subject=Subject.from_dict(_d["subject"]),
                action=Action.from_dict(_d["action"]),
                reserved=Amount.from_dict(_d["reserved"]),
                created_at_ms=_codec.integer("ReservationSummary.created_at_ms", _d["created_at_ms"], low=0),
                expires_at_ms=_codec.integer("ReservationSummary.expires_at_ms", _d["expires_at_ms"], low=0),
                scope_path=_codec.text("ReservationSummary.scope_path", _d["scope_path"]),
                affected_scopes=[
                    _codec.text("ReservationSummary.affected_scopes[]", _item)
                    for _item in _codec.array("ReservationSummary.affected_scopes", _d["affected_scopes"])
                ],
                idempotency_key=UNSET
                if (_v := _d.get("idempotency_key")) is None
                else _codec.text("ReservationSummary.idempotency_key", _v),
                finalized_at_ms=UNSET
                if (_v := _d.get("finalized_at_ms")) is None
                else _codec.integer("ReservationSummary.finalized_at_ms", _v, low=0),
                committed=UNSET if (_v := _d.get("committed")) is None else Amount.from_dict(_v),
                metadata=UNSET
                if (_v := _d.get("metadata")) is None
                else _codec.free("ReservationSummary.metadata", _v),
                committed_metadata=UNSET
                if (_v := _d.get("committed_metadata")) is None
                else _codec.free("ReservationSummary.committed_metadata", _v),
                evidence=UNSET if (_v := _d.get("evidence")) is None else ReservationEvidence.from_dict(_v),
            )
        except KeyError as error:
            raise _codec.missing("ReservationSummary", error) from None


# At the end, where a cycle of models would do no harm.
from ..models.action import Action
from ..models.amount import Amount
from ..models.metadata import Metadata
from ..models.reservation_evidence import ReservationEvidence
from ..models.subject import Subject
