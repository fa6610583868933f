"""Addresses of requests: all begin with the same base address, and most go on with a few plain words.

httpx parses each address anew, checks the scheme, the host and the port of it, and looks at each character three times:
a tenth of what building and sending a request costs. The base address has passed all that, and a path of plain words
needs none of it.
"""

from __future__ import annotations

import re
from typing import Any, Final

_PLAIN: Final = re.compile(r"(?:/[A-Za-z0-9_-][A-Za-z0-9._-]{0,255}){1,16}")
"""A path that is the same after parsing: no character to be escaped, and no segment `.` or `..`."""

_EXAMPLE: Final = "/v1/reservations/019ab7f0-7c3e-7d5a-9c0e-3f1d5b7a9c0e/commit"


class Targets:
    """The addresses below one base address.

    Args:
        base: The base address, a URL of httpx or httpx2.
    """

    __slots__ = ("_base", "_parts", "_prefix")

    def __init__(self, base: Any) -> None:
        self._base: Final = base
        self._prefix: Final = base.raw_path.rstrip(b"/").decode("ascii")
        # What the library keeps of a parsed URL; there is no public way to change a part without parsing all of them.
        self._parts: Any = getattr(base, "_uri_reference", None)
        if self._parts is not None and not self._is_known():
            self._parts = None

    def at(self, path: str) -> Any:
        """Return the address of *path*, which begins with a slash."""
        if self._parts is None or _PLAIN.fullmatch(path) is None:
            return self._base.copy_with(raw_path=(self._prefix + path).encode())
        return self._joined(path)

    def _joined(self, path: str) -> Any:
        joined = object.__new__(type(self._base))
        joined._uri_reference = self._parts._replace(path=self._prefix + path)
        return joined

    def _is_known(self) -> bool:
        """Return whether an address made the quick way is the library's own: another version may keep other things."""
        parsed = self._base.copy_with(raw_path=(self._prefix + _EXAMPLE).encode())
        try:
            joined = self._joined(_EXAMPLE)
            return vars(joined) == vars(parsed) and str(joined) == str(parsed)
        except (AttributeError, TypeError, ValueError):
            return False
