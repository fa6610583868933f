# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from attrs import define as _attrs_define
from attrs import field as _attrs_field
from attrs import setters as _attrs_setters

from .. import _codec
from ..models.jwk_status import JwkStatus, to_jwk_status
from ..types import UNSET, Unset


def _to_status(value: str | Unset | None) -> JwkStatus | Unset:
    return UNSET if value is None or isinstance(value, Unset) else to_jwk_status(value)


_DECLARED = frozenset(
    {
        "kty",
        "crv",
        "x",
        "kid",
        "cycles_nbf_ms",
        "alg",
        "cycles_exp_ms",
        "status",
    }
)


@_attrs_define(on_setattr=_attrs_setters.NO_OP)
class CyclesEvidenceJwk:
    """One public key, valid for what was signed in [cycles_nbf_ms, cycles_exp_ms).

    Attributes:
        kty: `OKP`; skip the key otherwise.
        crv: `Ed25519`; skip the key otherwise.
        x: The 32 bytes of the public key, base64url without padding.
        kid: Names the key in `signer_did`.
        cycles_nbf_ms: Start of the window, inclusive.
        alg: `EdDSA` when present; skip the key otherwise.
        cycles_exp_ms: End of the window, exclusive; null or absent leaves it open.
        status: Advisory only.
        additional_properties: Fields that are not described here, as they came.
    """

    kty: str
    crv: str
    x: str
    kid: str
    cycles_nbf_ms: int
    alg: str | Unset = UNSET
    cycles_exp_ms: int | None | Unset = UNSET
    status: JwkStatus | Unset = _attrs_field(default=UNSET, converter=_to_status)
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return what is sent for this: what is unset, or None without being nullable, is left out.

        Raises:
            TypeError: for a float or bool where an integer belongs.
            ValueError: for an integer out of its bounds.
        """
        _fields: dict[str, Any] = {
            **self.additional_properties,
            "kty": self.kty,
            "crv": self.crv,
            "x": self.x,
            "kid": self.kid,
            "cycles_nbf_ms": _codec.exact("CyclesEvidenceJwk.cycles_nbf_ms", self.cycles_nbf_ms),
        }
        if (alg := self.alg) is not None and not isinstance(alg, Unset):
            _fields["alg"] = alg
        if not isinstance(cycles_exp_ms := self.cycles_exp_ms, Unset):
            _fields["cycles_exp_ms"] = (
                None if cycles_exp_ms is None else _codec.exact("CyclesEvidenceJwk.cycles_exp_ms", cycles_exp_ms)
            )
        if (status := self.status) is not None and not isinstance(status, Unset):
            _fields["status"] = str(status)
        return _fields

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Return the model in *src_dict*, a decoded JSON object.

        Fields that are not described here are kept in `additional_properties`.

        Raises:
            DecodeError: when it does not fit.
        """
        _d = _codec.mapping("CyclesEvidenceJwk", src_dict)
        try:
            _self = cls(
                kty=_codec.text("CyclesEvidenceJwk.kty", _d["kty"]),
                crv=_codec.text("CyclesEvidenceJwk.crv", _d["crv"]),
                x=_codec.text("CyclesEvidenceJwk.x", _d["x"]),
                kid=_codec.text("CyclesEvidenceJwk.kid", _d["kid"]),
                cycles_nbf_ms=_codec.integer("CyclesEvidenceJwk.cycles_nbf_ms", _d["cycles_nbf_ms"]),
                alg=UNSET if (_v := _d.get("alg")) is None else _codec.text("CyclesEvidenceJwk.alg", _v),
                cycles_exp_ms=UNSET
                if (_v := _d.get("cycles_exp_ms", UNSET)) is UNSET
                else None
                if _v is None
                else _codec.integer("CyclesEvidenceJwk.cycles_exp_ms", _v),
                status=UNSET if (_v := _d.get("status")) is None else _codec.text("CyclesEvidenceJwk.status", _v),
            )
        except KeyError as error:
            raise _codec.missing("CyclesEvidenceJwk", error) from None
        _self.additional_properties = {key: value for key, value in _d.items() if key not in _DECLARED}
        return _self
