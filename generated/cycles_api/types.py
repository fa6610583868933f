# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
"""Values that models and endpoint functions share."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, Generic, Literal, Self, TypeVar

from attrs import define

if TYPE_CHECKING:
    from .http import HttpHeaders

T = TypeVar("T")


class Unset:
    """The type of `UNSET`: what was left out, as opposed to null, zero or empty."""

    def __bool__(self) -> Literal[False]:
        return False

    def __repr__(self) -> str:
        return "UNSET"

    def __reduce__(self) -> str:
        return "UNSET"  # a copy or an unpickled one is the same object


UNSET: Final = Unset()


class OpenStrEnum(StrEnum):
    """An enum that keeps values it does not know, as the protocol demands of clients.

    `UnitEnum("GALLONS")` is a `UnitEnum` that equals "GALLONS", hashes and serialises like it, and whose `is_known` is
    False. Such values are not singletons: compare with `==`.
    """

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str):
            return None
        text = str.__str__(value)
        member = str.__new__(cls, text)
        member._name_ = member._value_ = text
        return member  # not kept: a server must not be able to fill the memory

    @property
    def is_known(self) -> bool:
        """Whether this value was in the protocol when these bindings were made."""
        return self._value_ in type(self)._value2member_map_

    def __repr__(self) -> str:
        known = "" if self.is_known else " (unknown)"
        return f"<{type(self).__name__} {self._value_!r}{known}>"


@define
class Response(Generic[T]):
    """An answer with its status and headers.

    Attributes:
        status_code: Any HTTP status.
        content: The body as it came.
        headers: The headers; names are case-insensitive.
        parsed: The decoded body; None for an error body that does not fit and for a success that the operation does
            not define.
    """

    status_code: int
    content: bytes
    headers: HttpHeaders
    parsed: T | None


__all__ = ["UNSET", "OpenStrEnum", "Response", "Unset"]
