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
class DecisionResponse:
    """Whether the spend would be allowed.

    Attributes:
        decision: Whether it would be allowed.
        caps: Limits to keep; only with ALLOW_WITH_CAPS.
        reason_code: Why it is a DENY; an unknown reason is a plain denial.
        deny_detail: More about a DENY; absent otherwise.
        retry_after_ms: Milliseconds after which asking again may help; may come with a DENY.
        affected_scopes: Scope paths that the subject falls under, widest first.
        cycles_evidence: Where the signed record of this answer is.
    """

    decision: DecisionEnum = _attrs_field(converter=to_decision_enum)
    caps: Caps | Unset = UNSET
    reason_code: str | Unset = UNSET
    deny_detail: DenyDetail | Unset = UNSET
    retry_after_ms: int | Unset = UNSET
    affected_scopes: list[str] | Unset = UNSET
    cycles_evidence: CyclesEvidenceRef | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        """Return what is sent for this: what is unset, or None without being nullable, is left out.

        Raises:
            TypeError: for a float or bool where an integer belongs.
            ValueError: for an integer out of its bounds.
        """
        _fields: dict[str, Any] = {
            "decision": str(self.decision),
        }
        if (caps := self.caps) is not None and not isinstance(caps, Unset):
            _fields["caps"] = caps.to_dict()
        if (reason_code := self.reason_code) is not None and not isinstance(reason_code, Unset):
            _fields["reason_code"] = reason_code
        if (deny_detail := self.deny_detail) is not None and not isinstance(deny_detail, Unset):
            _fields["deny_detail"] = deny_detail.to_dict()
        if (retry_after_ms := self.retry_after_ms) is not None and not isinstance(retry_after_ms, Unset):
            _fields["retry_after_ms"] = _codec.exact("DecisionResponse.retry_after_ms", retry_after_ms, low=0)
        if (affected_scopes := self.affected_scopes) is not None and not isinstance(affected_scopes, Unset):
            _fields["affected_scopes"] = list(affected_scopes)
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
        _d = _codec.mapping("DecisionResponse", src_dict)
        try:
            return cls(
                decision=_codec.text("DecisionResponse.decision", _d["decision"]),
                caps=UNSET if (_v := _d.get("caps")) is None else Caps.from_dict(_v),
                reason_code=UNSET
                if (_v := _d.get("reason_code")) is None
                else _codec.text("DecisionResponse.reason_code", _v),
                deny_detail=UNSET if (_v := _d.get("deny_detail")) is None else DenyDetail.from_dict(_v),
                retry_after_ms=UNSET
                if (_v := _d.get("retry_after_ms")) is None
                else _codec.integer("DecisionResponse.retry_after_ms", _v, low=0),
                affected_scopes=UNSET
                if (_v := _d.get("affected_scopes")) is None
                else [
                    _codec.text("DecisionResponse.affected_scopes[]", _item)
                    for _item in _codec.array("DecisionResponse.affected_scopes", _v)
                ],
                cycles_evidence=UNSET if (_v := _d.get("cycles_evidence")) is None else CyclesEvidenceRef.from_dict(_v),
            )
        except KeyError as error:
            raise _codec.missing("DecisionResponse", error) from None


# At the end, where a cycle of models would do no harm.
from ..models.caps import Caps
from ..models.cycles_evidence_ref import CyclesEvidenceRef
from ..models.deny_detail import DenyDetail
