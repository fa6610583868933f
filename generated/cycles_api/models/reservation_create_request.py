# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from attrs import define as _attrs_define
from attrs import field as _attrs_field
from attrs import setters as _attrs_setters

from .. import _codec
from ..models.commit_overage_policy import CommitOveragePolicy, to_commit_overage_policy
from ..models.observe_mode import ObserveMode, to_observe_mode
from ..types import UNSET, Unset


def _to_overage_policy(value: str | Unset | None) -> CommitOveragePolicy | Unset:
    return UNSET if value is None or isinstance(value, Unset) else to_commit_overage_policy(value)


def _to_observe_mode(value: str | Unset | None) -> ObserveMode | Unset:
    return UNSET if value is None or isinstance(value, Unset) else to_observe_mode(value)


@_attrs_define(on_setattr=_attrs_setters.NO_OP)
class ReservationCreateRequest:
    """An estimate to be held.

    Attributes:
        idempotency_key: Names this intention; every retry of it sends the same key.
        subject: Who spends.
        action: On what.
        estimate: How much to hold.
        ttl_ms: Length of the lease in milliseconds, 1000 to 86400000. The server takes 60000 when it is left
            out, and may grant less.
        grace_period_ms: Milliseconds after expiry in which commit and release are still accepted, 0 to 60000.
            The server takes 5000 when it is left out.
        overage_policy: What a commit above the estimate does. The server takes ALLOW_IF_AVAILABLE when it is
            left out.
        dry_run: Evaluate only; nothing is held.
        observe_mode: OBSERVE evaluates only, as `dry_run` does; the others reserve, as without it.
        metadata: Kept with the reservation; the server does not read it.
    """

    idempotency_key: str
    subject: Subject
    action: Action
    estimate: Amount
    ttl_ms: int | Unset = UNSET
    grace_period_ms: int | Unset = UNSET
    overage_policy: CommitOveragePolicy | Unset = _attrs_field(default=UNSET, converter=_to_overage_policy)
    dry_run: bool | Unset = UNSET
    observe_mode: ObserveMode | Unset = _attrs_field(default=UNSET, converter=_to_observe_mode)
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
        if (ttl_ms := self.ttl_ms) is not None and not isinstance(ttl_ms, Unset):
            _fields["ttl_ms"] = _codec.exact("ReservationCreateRequest.ttl_ms", ttl_ms, low=1000, high=86400000)
        if (grace_period_ms := self.grace_period_ms) is not None and not isinstance(grace_period_ms, Unset):
            _fields["grace_period_ms"] = _codec.exact(
                "ReservationCreateRequest.grace_period_ms", grace_period_ms, low=0, high=60000
            )
        if (overage_policy := self.overage_policy) is not None and not isinstance(overage_policy, Unset):
            _fields["overage_policy"] = str(overage_policy)
        if (dry_run := self.dry_run) is not None and not isinstance(dry_run, Unset):
            _fields["dry_run"] = dry_run
        if (observe_mode := self.observe_mode) is not None and not isinstance(observe_mode, Unset):
            _fields["observe_mode"] = str(observe_mode)
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
        _d = _codec.mapping("ReservationCreateRequest", src_dict)
        try:
            return cls(
                idempotency_key=_codec.text("ReservationCreateRequest.idempotency_key", _d["idempotency_key"]),
                subject=Subject.from_dict(_d["subject"]),
                action=Action.from_dict(_d["action"]),
                estimate=Amount.from_dict(_d["estimate"]),
                ttl_ms=UNSET
                if (_v := _d.get("ttl_ms")) is None
                else _codec.integer("ReservationCreateRequest.ttl_ms", _v, low=1000, high=86400000),
                grace_period_ms=UNSET
                if (_v := _d.get("grace_period_ms")) is None
                else _codec.integer("ReservationCreateRequest.grace_period_ms", _v, low=0, high=60000),
                overage_policy=UNSET
                if (_v := _d.get("overage_policy")) is None
                else _codec.text("ReservationCreateRequest.overage_policy", _v),
                dry_run=UNSET
                if (_v := _d.get("dry_run")) is None
                else _codec.boolean("ReservationCreateRequest.dry_run", _v),
                observe_mode=UNSET
                if (_v := _d.get("observe_mode")) is None
                else _codec.text("ReservationCreateRequest.observe_mode", _v),
                metadata=UNSET
                if (_v := _d.get("metadata")) is None
                else _codec.free("ReservationCreateRequest.metadata", _v),
            )
        except KeyError as error:
            raise _codec.missing("ReservationCreateRequest", error) from None


# At the end, where a cycle of models would do no harm.
from ..models.action import Action
from ..models.amount import Amount
from ..models.metadata import Metadata
from ..models.subject import Subject
