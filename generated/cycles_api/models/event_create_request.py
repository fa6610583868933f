# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from attrs import define as _attrs_define
from attrs import field as _attrs_field
from attrs import setters as _attrs_setters

from .. import _codec
from ..models.commit_overage_policy import CommitOveragePolicy, to_commit_overage_policy
from ..types import UNSET, Unset


def _to_overage_policy(value: str | Unset | None) -> CommitOveragePolicy | Unset:
    return UNSET if value is None or isinstance(value, Unset) else to_commit_overage_policy(value)


@_attrs_define(on_setattr=_attrs_setters.NO_OP)
class EventCreateRequest:
    """A spend that already happened.

    Attributes:
        idempotency_key: Names this intention; every retry of it sends the same key.
        subject: Who spent.
        action: On what.
        actual: How much.
        overage_policy: What happens when too little is left. The server takes ALLOW_IF_AVAILABLE when it is
            left out.
        metrics: What the work used, for reports.
        client_time_ms: When it happened, by the caller's clock; kept, not used.
        metadata: Kept with the event; the server does not read it.
    """

    idempotency_key: str
    subject: Subject
    action: Action
    actual: Amount
    overage_policy: CommitOveragePolicy | Unset = _attrs_field(default=UNSET, converter=_to_overage_policy)
    metrics: StandardMetrics | Unset = UNSET
    client_time_ms: int | Unset = UNSET
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
            "actual": self.actual.to_dict(),
        }
        if (overage_policy := self.overage_policy) is not None and not isinstance(overage_policy, Unset):
            _fields["overage_policy"] = str(overage_policy)
        if (metrics := self.metrics) is not None and not isinstance(metrics, Unset):
            _fields["metrics"] = metrics.to_dict()
        if (client_time_ms := self.client_time_ms) is not None and not isinstance(client_time_ms, Unset):
            _fields["client_time_ms"] = _codec.exact("EventCreateRequest.client_time_ms", client_time_ms, low=0)
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
        _d = _codec.mapping("EventCreateRequest", src_dict)
        try:
            return cls(
                idempotency_key=_codec.text("EventCreateRequest.idempotency_key", _d["idempotency_key"]),
                subject=Subject.from_dict(_d["subject"]),
                action=Action.from_dict(_d["action"]),
                actual=Amount.from_dict(_d["actual"]),
                overage_policy=UNSET
                if (_v := _d.get("overage_policy")) is None
                else _codec.text("EventCreateRequest.overage_policy", _v),
                metrics=UNSET if (_v := _d.get("metrics")) is None else StandardMetrics.from_dict(_v),
                client_time_ms=UNSET
                if (_v := _d.get("client_time_ms")) is None
                else _codec.integer("EventCreateRequest.client_time_ms", _v, low=0),
                metadata=UNSET
                if (_v := _d.get("metadata")) is None
                else _codec.free("EventCreateRequest.metadata", _v),
            )
        except KeyError as error:
            raise _codec.missing("EventCreateRequest", error) from None


# At the end, where a cycle of models would do no harm.
from ..models.action import Action
from ..models.amount import Amount
from ..models.metadata import Metadata
from ..models.standard_metrics import StandardMetrics
from ..models.subject import Subject
