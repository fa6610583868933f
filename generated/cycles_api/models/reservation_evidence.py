# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from attrs import define as _attrs_define

from .. import _codec
from ..types import UNSET, Unset


@_attrs_define
class ReservationEvidence:
    """Signed records of a reservation's life.

    Attributes:
        reserve: Record of the hold.
        commit: Record of the commit.
        release: Record of the release.
    """

    reserve: CyclesEvidenceRef | Unset = UNSET
    commit: CyclesEvidenceRef | Unset = UNSET
    release: CyclesEvidenceRef | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        """Return what is sent for this: what is unset, or None without being nullable, is left out.

        Raises:
            TypeError: for a float or bool where an integer belongs.
            ValueError: for an integer out of its bounds.
        """
        _fields: dict[str, Any] = {}
        if (reserve := self.reserve) is not None and not isinstance(reserve, Unset):
            _fields["reserve"] = reserve.to_dict()
        if (commit := self.commit) is not None and not isinstance(commit, Unset):
            _fields["commit"] = commit.to_dict()
        if (release := self.release) is not None and not isinstance(release, Unset):
            _fields["release"] = release.to_dict()
        return _fields

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Return the model in *src_dict*, a decoded JSON object.

        Fields that are not described here are ignored.

        Raises:
            DecodeError: when it does not fit.
        """
        _d = _codec.mapping("ReservationEvidence", src_dict)
        try:
            return cls(
                reserve=UNSET if (_v := _d.get("reserve")) is None else CyclesEvidenceRef.from_dict(_v),
                commit=UNSET if (_v := _d.get("commit")) is None else CyclesEvidenceRef.from_dict(_v),
                release=UNSET if (_v := _d.get("release")) is None else CyclesEvidenceRef.from_dict(_v),
            )
        except KeyError as error:
            raise _codec.missing("ReservationEvidence", error) from None


# At the end, where a cycle of models would do no harm.
from ..models.cycles_evidence_ref import CyclesEvidenceRef
