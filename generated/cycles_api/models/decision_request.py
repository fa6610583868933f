# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from attrs import define as _attrs_define

from .. import _codec
from ..types import UNSET, Unset


@_attrs_define
class DecisionRequest:
    """A spend to be judged.

    Attributes:
        idempotency_key: Names this intention; every retry of it sends the same key.
        subject: Who would spend.
        action: On what.
        estimate: How much, at most.
        metadata: Kept with the decision; the server does not read it.
    """

    idempotency_key: str
    subject: Subject
    action: Action
    estimate: Amount
    metadata: Metadata | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        """Return what is sent for this: what is unset, or None without being nullable, is left out.

        Raises:
            TypeError: for a float or bool where an integer belongs.
            ValueError: for an integer out of its bounds.
        """
        _fields: dict[str, Any] = {
            "idempotency_key": self.idempotency_key,
            "subject": self.subject.to_dict(),
            "action": self.action.to_dict(),
            "estimate": self.estimate.to_dict(),
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
        _d = _codec.mapping("DecisionRequest", src_dict)
        try:
            return cls(
                idempotency_key=_codec.text("DecisionRequest.idempotency_key", _d["idempotency_key"]),
                subject=Subject.from_dict(_d["subject"]),
                action=Action.from_dict(_d["action"]),
                estimate=Amount.from_dict(_d["estimate"]),
                metadata=UNSET if (_v := _d.get("metadata")) is None else _codec.free("DecisionRequest.metadata", _v),
            )
        except KeyError as error:
            raise _codec.missing("DecisionRequest", error) from None


# At the end, where a cycle of models would do no harm.
from ..models.action import Action
from ..models.amount import Amount
from ..models.metadata import Metadata
from ..models.subject import Subject
