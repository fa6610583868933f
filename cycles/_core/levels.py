"""A subject's level out of any text: a name that people recognise and that no two texts share."""

from __future__ import annotations

import re
import unicodedata
from hashlib import sha256
from typing import Final

from cycles._core.requests import is_level, text

_UNFIT: Final = re.compile(r"[^a-z0-9_.]+")
_MOST_READABLE: Final = 48
_DIGITS: Final = 16
"""Hex digits of the digest, 64 bits: the odds that two texts of a million share one are 1 to 37 million."""


def level(name: str) -> str:
    """Return a value that names *name* at a level of the subject, such as an e-mail address or a title.

    The same text gives the same value, in every process and version. Text that is a valid value already (1 to 128
    letters, digits, `_`, `.` and `-`) comes back as it is, and so does what this function returned. Any other text
    becomes its readable part, in lower case, and a digest of the whole:
    `level("Zoë <z@x>")` is "zoe-z-x-5a70d4464ef7260b".

    An authority does not tell "Bob" from "bob". Two texts that differ in case get different digests; fold the case
    first if they mean the same. Whoever may choose a name freely may choose another's value: give ids of your own.

    Raises:
        InvalidRequest: when it is no text, or blank.

    Example:
        ```python
        import cycles

        print(cycles.level("zoe@example.com"))  # fits as a level of a subject
        ```
    """
    if is_level(name):
        return name
    whole = unicodedata.normalize("NFC", text("level", name, most=1_000_000))
    plain = unicodedata.normalize("NFKD", whole).encode("ascii", "ignore").decode("ascii").lower()
    readable = _UNFIT.sub("-", plain)[:_MOST_READABLE].strip("-_.")
    digest = sha256(whole.encode()).hexdigest()[:_DIGITS]
    return f"{readable}-{digest}" if readable else digest
