# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from attrs import define as _attrs_define

from .. import _codec
from ..types import UNSET, Unset


@_attrs_define
class StandardMetrics:
    """What the work used, for reports; it does not change the charge.

    Attributes:
        tokens_input: Tokens read.
        tokens_output: Tokens generated.
        latency_ms: Milliseconds that the work took.
        model_version: Exact model that answered; at most 128 characters.
        custom: Measures of the caller's own.

    Example:
        ```python
        import cycles
        from cycles import Metrics, usd

        with cycles.Guard(usd("0.05"), action=("llm.completion", "gpt-4o")):
            cycles.report(actual=usd("0.02"), metrics=Metrics(tokens_input=800, tokens_output=120))
        ```
    """

    tokens_input: int | Unset = UNSET
    tokens_output: int | Unset = UNSET
    latency_ms: int | Unset = UNSET
    model_version: str | Unset = UNSET
    custom: CustomMetrics | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        """Return what is sent for this: what is unset, or None without being nullable, is left out.

        Raises:
            TypeError: for a float or bool where an integer belongs.
            ValueError: for an integer out of its bounds.
        """
        _fields: dict[str, Any] = {}
        if (tokens_input := self.tokens_input) is not None and not isinstance(tokens_input, Unset):
            _fields["tokens_input"] = _codec.exact("StandardMetrics.tokens_input", tokens_input, low=0)
        if (tokens_output := self.tokens_output) is not None and not isinstance(tokens_output, Unset):
            _fields["tokens_output"] = _codec.exact("StandardMetrics.tokens_output", tokens_output, low=0)
        if (latency_ms := self.latency_ms) is not None and not isinstance(latency_ms, Unset):
            _fields["latency_ms"] = _codec.exact("StandardMetrics.latency_ms", latency_ms, low=0)
        if (model_version := self.model_version) is not None and not isinstance(model_version, Unset):
            _fields["model_version"] = model_version
        if (custom := self.custom) is not None and not isinstance(custom, Unset):
            _fields["custom"] = dict(custom)
        return _fields

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Return the model in *src_dict*, a decoded JSON object.

        Fields that are not described here are ignored.

        Raises:
            DecodeError: when it does not fit.
        """
        _d = _codec.mapping("StandardMetrics", src_dict)
        try:
            return cls(
                tokens_input=UNSET
                if (_v := _d.get("tokens_input")) is None
                else _codec.integer("StandardMetrics.tokens_input", _v, low=0),
                tokens_output=UNSET
                if (_v := _d.get("tokens_output")) is None
                else _codec.integer("StandardMetrics.tokens_output", _v, low=0),
                latency_ms=UNSET
                if (_v := _d.get("latency_ms")) is None
                else _codec.integer("StandardMetrics.latency_ms", _v, low=0),
                model_version=UNSET
                if (_v := _d.get("model_version")) is None
                else _codec.text("StandardMetrics.model_version", _v),
                custom=UNSET if (_v := _d.get("custom")) is None else _codec.free("StandardMetrics.custom", _v),
            )
        except KeyError as error:
            raise _codec.missing("StandardMetrics", error) from None


# At the end, where a cycle of models would do no harm.
from ..models.custom_metrics import CustomMetrics
