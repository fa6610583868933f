# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from attrs import define as _attrs_define
from attrs import field as _attrs_field
from attrs import setters as _attrs_setters

from .. import _codec
from ..models.commit_status import CommitStatus, to_commit_status
from ..types import UNSET, Unset


@_attrs_define(on_setattr=_attrs_setters.NO_OP)
class CommitResponse:
    """The charge.

    Attributes:
        status: COMMITTED.
        charged: What was really charged, which the overage policy may have capped below `actual`.
        released: What went back of the hold; absent when nothing did.
        balances: The budgets charged, after the charge.
        cycles_evidence: Where the signed record of this answer is.
    """

    status: CommitStatus = _attrs_field(converter=to_commit_status)
    charged: Amount
    released: Amount | Unset = UNSET
    balances: list[Balance] | Unset = UNSET
    cycles_evidence: CyclesEvidenceRef | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        """Return what is sent for this: what is unset, or None without being nullable, is left out.

        Raises:
            TypeError: for a float or bool where an integer belongs.
            ValueError: for an integer out of its bounds.
        """
        _fields: dict[str, Any] = {
            "status": str(self.status),
            "charged": self.charged.to_dict(),
        }
        if (released := self.released) is not None and not isinstance(released, Unset):
            _fields["released"] = released.to_dict()
        if (balances := self.balances) is not None and not isinstance(balances, Unset):
            _fields["balances"] = [_item.to_dict() for _item in balances]
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
        _d = _codec.mapping("CommitResponse", src_dict)
        try:
            return cls(
                status=_codec.text("CommitResponse.status", _d["status"]),
                charged=Amount.from_dict(_d["charged"]),
                released=UNSET if (_v := _d.get("released")) is None else Amount.from_dict(_v),
                balances=UNSET
                if (_v := _d.get("balances")) is None
                else [Balance.from_dict(_item) for _item in _codec.array("CommitResponse.balances", _v)],
                cycles_evidence=UNSET if (_v := _d.get("cycles_evidence")) is None else CyclesEvidenceRef.from_dict(_v),
            )
        except KeyError as error:
            raise _codec.missing("CommitResponse", error) from None


# At the end, where a cycle of models would do no harm.
from ..models.amount import Amount
from ..models.balance import Balance
from ..models.cycles_evidence_ref import CyclesEvidenceRef
