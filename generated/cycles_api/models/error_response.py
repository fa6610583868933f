# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from attrs import define as _attrs_define
from attrs import field as _attrs_field
from attrs import setters as _attrs_setters

from .. import _codec
from ..models.error_code import ErrorCode, to_error_code
from ..types import UNSET, Unset


@_attrs_define(on_setattr=_attrs_setters.NO_OP)
class ErrorResponse:
    """Body of every answer that is not a success.

    Attributes:
        error: Why, for programs.
        message: Why, for people.
        request_id: Names this request to the operator.
        trace_id: Trace of this request, 32 lower-case hex digits.
        details: Facts about the error. UNIT_MISMATCH has scope, requested_unit and expected_units. A denial may
            have deny_detail, as a DENY has it.
        cycles_evidence: Where the signed record of this answer is.
    """

    error: ErrorCode = _attrs_field(converter=to_error_code)
    message: str
    request_id: str
    trace_id: str | Unset = UNSET
    details: ErrorDetails | Unset = UNSET
    cycles_evidence: CyclesEvidenceRef | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        """Return what is sent for this: what is unset, or None without being nullable, is left out.

        Raises:
            TypeError: for a float or bool where an integer belongs.
            ValueError: for an integer out of its bounds.
        """
        _fields: dict[str, Any] = {
            "error": str(self.error),
            "message": self.message,
            "request_id": self.request_id,
        }
        if (trace_id := self.trace_id) is not None and not isinstance(trace_id, Unset):
            _fields["trace_id"] = trace_id
        if (details := self.details) is not None and not isinstance(details, Unset):
            _fields["details"] = dict(details)
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
        _d = _codec.mapping("ErrorResponse", src_dict)
        try:
            return cls(
                error=_codec.text("ErrorResponse.error", _d["error"]),
                message=_codec.text("ErrorResponse.message", _d["message"]),
                request_id=_codec.text("ErrorResponse.request_id", _d["request_id"]),
                trace_id=UNSET if (_v := _d.get("trace_id")) is None else _codec.text("ErrorResponse.trace_id", _v),
                details=UNSET if (_v := _d.get("details")) is None else _codec.free("ErrorResponse.details", _v),
                cycles_evidence=UNSET if (_v := _d.get("cycles_evidence")) is None else CyclesEvidenceRef.from_dict(_v),
            )
        except KeyError as error:
            raise _codec.missing("ErrorResponse", error) from None


# At the end, where a cycle of models would do no harm.
from ..models.cycles_evidence_ref import CyclesEvidenceRef
from ..models.error_details import ErrorDetails
