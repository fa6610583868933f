# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from attrs import define as _attrs_define

from .. import _codec
from ..types import UNSET, Unset


@_attrs_define
class CommitRequest:
    """What the work really cost.

    Attributes:
        idempotency_key: Names this intention; every retry of it sends the same key, the event that replaces it
            too.
        actual: What was spent, in the unit of the reservation; may be above the estimate.
        metrics: What the work used, for reports.
        metadata: Kept with the commit; the server does not read it.
    """

    idempotency_key: str
    actual: Amount
    metrics: StandardMetrics | Unset = UNSET
    metadata: Metadata | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        """Return what is sent for this: what is unset, or None without being nullable, is left out.

        Raises:
            TypeError: for a float or bool where an integer belongs.
            ValueError: for an integer out of its bounds.
        """
        _fields: dict[str, Any] = {
            "idempotency_key": self.idempotency_key,
            "actual": self.actual.to_dict(),
        }
        if (metrics := self.metrics) is not None and not isinstance(metrics, Unset):
            _fields["metrics"] = metrics.to_dict()
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
        _d = _codec.mapping("CommitRequest", src_dict)
        try:
            return cls(
                idempotency_key=_codec.text("CommitRequest.idempotency_key", _d["idempotency_key"]),
                actual=Amount.from_dict(_d["actual"]),
                metrics=UNSET if (_v := _d.get("metrics")) is None else StandardMetrics.from_dict(_v),
                metadata=UNSET if (_v := _d.get("metadata")) is None else _codec.free("CommitRequest.metadata", _v),
            )
        except KeyError as error:
            raise _codec.missing("CommitRequest", error) from None


# At the end, where a cycle of models would do no harm.
from ..models.amount import Amount
from ..models.metadata import Metadata
from ..models.standard_metrics import StandardMetrics
