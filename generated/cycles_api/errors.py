# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
"""What endpoint functions and models raise, besides the exceptions of httpx or httpx2."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .http import HttpHeaders


class DecodeError(ValueError):
    """JSON does not fit its schema; as the answer of a call it proves nothing about what the server did.

    Its text never holds content.

    Attributes:
        where: The model or field, such as "Amount.amount", or "body" for what is not JSON.
        reason: What is wrong with it.
        status_code: Status of the answer, or None when a model was decoded outside a call.
        content: Body of the answer as it came, or None.
        headers: Headers of the answer, or None.
    """

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(where, reason)
        self.where = where
        self.reason = reason
        self.status_code: int | None = None
        self.content: bytes | None = None
        self.headers: HttpHeaders | None = None

    def __str__(self) -> str:
        status = "" if self.status_code is None else f" (status {self.status_code})"
        return f"{self.where}: {self.reason}{status}"


class UnexpectedStatus(Exception):
    """The operation does not list this status, and the client was made with `raise_on_unexpected_status=True`.

    Its text never holds content.

    Attributes:
        status_code: Status of the answer.
        content: Body of the answer as it came.
        headers: Headers of the answer.
    """

    def __init__(self, status_code: int, content: bytes, headers: HttpHeaders) -> None:
        super().__init__(status_code)
        self.status_code = status_code
        self.content = content
        self.headers = headers

    def __reduce__(self) -> tuple[type[UnexpectedStatus], tuple[int, bytes, HttpHeaders]]:
        return type(self), (self.status_code, self.content, self.headers)

    def __str__(self) -> str:
        return f"unexpected status {self.status_code}"


__all__ = ["DecodeError", "UnexpectedStatus"]
