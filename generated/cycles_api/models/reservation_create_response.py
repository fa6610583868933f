# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from attrs import define as _attrs_define
from attrs import field as _attrs_field
from attrs import setters as _attrs_setters

from .. import _codec
from ..models.decision_enum import DecisionEnum, to_decision_enum
from ..types import UNSET, Unset


@_attrs_define(on_setattr=_attrs_setters.NO_OP)
class ReservationCreateResponse:
    """The hold; or, with `dry_run`, what would happen.

    Attributes:
        decision: Whether it is allowed. DENY comes only with `dry_run`, or with OBSERVE.
        affected_scopes: Scope paths that the subject falls under, widest first.
        reservation_id: Names the reservation; opaque. Absent with `dry_run`, and with OBSERVE.
        reserved: What is held.
        expires_at_ms: When the lease ends, by the server's clock. Absent with `dry_run`.
        remaining_ttl_ms: Milliseconds left of the lease when this was sent; what a heartbeat is timed by. A
            replay recomputes it and may give 0.
        scope_path: Narrowest scope path of the subject.
        caps: Limits to keep; only with ALLOW_WITH_CAPS.
        balances: The budgets held from, after the hold.
        reason_code: Why it is a DENY; an unknown reason is a plain denial.
        deny_detail: More about a DENY; absent otherwise.
        retry_after_ms: Milliseconds after which asking again may help; may come with a DENY.
        cycles_evidence: Where the signed record of this answer is.
    """

    decision: DecisionEnum = _attrs_field(converter=to_decision_enum)
    affected_scopes: list[str]
    reservation_id: str | Unset = UNSET
    reserved: Amount | Unset = UNSET
    expires_at_ms: int | Unset = UNSET
    remaining_ttl_ms: int | Unset = UNSET
    scope_path: str | Unset = UNSET
    caps: Caps | Unset = UNSET
    balances: list[Balance] | Unset = UNSET
    reason_code: str | Unset = UNSET
    deny_detail: DenyDetail | Unset = UNSET
    retry_after_ms: int | Unset = UNSET
    cycles_evidence: CyclesEvidenceRef | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        """Return what is sent for this: what is unset, or None without being nullable, is left out.

        Raises:
            TypeError: for a float or bool where an integer belongs.
            ValueError: for an integer out of its bounds.
        """
        _fields: dict[str, Any] = {
            "decision": str(self.decision),
            "affected_scopes": list(self.affected_scopes),
        }
        if (reservation_id := self.reservation_id) is not None and not isinstance(reservation_id, Unset):
            _fields["reservation_id"] = reservation_id
        if (reserved := self.reserved) is not None and not isinstance(reserved, Unset):
            _fields["reserved"] = reserved.to_dict()
        if (expires_at_ms := self.expires_at_ms) is not None and not isinstance(expires_at_ms, Unset):
            _fields["expires_at_ms"] = _codec.exact("ReservationCreateResponse.expires_at_ms", expires_at_ms, low=0)
        if (remaining_ttl_ms := self.remaining_ttl_ms) is not None and not isinstance(remaining_ttl_ms, Unset):
            _fields["remaining_ttl_ms"] = _codec.exact(
                "ReservationCreateResponse.remaining_ttl_ms", remaining_ttl_ms, low=0
            )
        if (scope_path := self.scope_path) is not None and not isinstance(scope_path, Unset):
            _fields["scope_path"] = scope_path
        if (caps := self.caps) is not None and not isinstance(caps, Unset):
            _fields["caps"] = caps.to_dict()
        if (balances := self.balances) is not None and not isinstance(balances, Unset):
            _fields["balances"] = [_item.to_dict() for _item in balances]
        if (reason_code := self.reason_code) is not None and not isinstance(reason_code, Unset):
            _fields["reason_code"] = reason_code
        if (deny_detail := self.deny_detail) is not None and not isinstance(deny_detail, Unset):
            _fields["deny_detail"] = deny_detail.to_dict()
        if (retry_after_ms := self.retry_after_ms) is not None and not isinstance(retry_after_ms, Unset):
            _fields["retry_after_ms"] = _codec.exact("ReservationCreateResponse.retry_after_ms", retry_after_ms, low=0)
        if (cycles_evidence := self.cycles_evidence) is not None and not isinstance(cycles_evidence, Unset):
            _fields["cycles_evidence"] = cycles_evidence.to_dict()
        return _fields

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Return the model in *src_dict*, a decoded JSON object.

        Fields that are not described here are ignored.

        Raises:
            DecodeError: when it does not fit.
        """
        _d = _codec.mapping("ReservationCreateResponse", src_dict)
        try:
            return cls(
                decision=_codec.text("ReservationCreateResponse.decision", _d["decision"]),
                affected_scopes=[
                    _codec.text("ReservationCreateResponse.affected_scopes[]", _item)
                    for _item in _codec.array("ReservationCreateResponse.affected_scopes", _d["affected_scopes"])
                ],
                reservation_id=UNSET
                if (_v := _d.get("reservation_id")) is None
                else _codec.text("ReservationCreateResponse.reservation_id", _v),
                reserved=UNSET if (_v := _d.get("reserved")) is None else Amount.from_dict(_v),
                expires_at_ms=UNSET
                if (_v := _d.get("expires_at_ms")) is None
                else _codec.integer("ReservationCreateResponse.expires_at_ms", _v, low=0),
                remaining_ttl_ms=UNSET
                if (_v := _d.get("remaining_ttl_ms")) is None
                else _codec.integer("ReservationCreateResponse.remaining_ttl_ms", _v, low=0),
                scope_path=UNSET
                if (_v := _d.get("scope_path")) is None
                else _codec.text("ReservationCreateResponse.scope_path", _v),
                caps=UNSET if (_v := _d.get("caps")) is None else Caps.from_dict(_v),
                balances=UNSET
                if (_v := _d.get("balances")) is None
                else [Balance.from_dict(_item) for _item in _codec.array("ReservationCreateResponse.balances", _v)],
                reason_code=UNSET
                if (_v := _d.get("reason_code")) is None
                else _codec.text("ReservationCreateResponse.reason_code", _v),
                deny_detail=UNSET if (_v := _d.get("deny_detail")) is None else DenyDetail.from_dict(_v),
                retry_after_ms=UNSET
                if (_v := _d.get("retry_after_ms")) is None
                else _codec.integer("ReservationCreateResponse.retry_after_ms", _v, low=0),
                cycles_evidence=UNSET if (_v := _d.get("cycles_evidence")) is None else CyclesEvidenceRef.from_dict(_v),
            )
        except KeyError as error:
            raise _codec.missing("ReservationCreateResponse", error) from None


# At the end, where a cycle of models would do no harm.
from ..models.amount import Amount
from ..models.balance import Balance
from ..models.caps import Caps
from ..models.cycles_evidence_ref import CyclesEvidenceRef
from ..models.deny_detail import DenyDetail
