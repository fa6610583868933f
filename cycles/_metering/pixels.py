"""How many pixels an image in base64 has, from its first bytes: PNG, JPEG, GIF, WebP."""

from __future__ import annotations

import binascii
from typing import Final

__all__ = ["size_of"]

_HEAD: Final = 262_144
"""Letters of base64 that are looked at: a JPEG's size stands behind its EXIF data and colour profile."""
_SIZES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of a JPEG that tell its size."""
_ALONE: Final = frozenset({0x01, *range(0xD0, 0xD9)})
"""Markers of a JPEG without a length."""


def size_of(inline: str) -> tuple[int, int] | None:
    """Return (width, height) of an image; None when its first bytes do not tell.

    Args:
        inline: Its base64, with or without `data:image/png;base64,` in front.
    """
    start = inline.find(",") + 1 if inline.startswith("data:") else 0
    head = inline[start : start + _HEAD]
    try:
        data = binascii.a2b_base64(head[: len(head) // 4 * 4])
    except (binascii.Error, ValueError):
        return None
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return _known(data[16:20], data[20:24])
    if data.startswith((b"GIF87a", b"GIF89a")):
        return _known(data[6:8][::-1], data[8:10][::-1])
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _webp(data)
    return _jpeg(data) if data.startswith(b"\xff\xd8") else None


def _known(width: bytes, height: bytes) -> tuple[int, int] | None:
    """Return big-endian numbers, or None where the bytes are cut off."""
    found = int.from_bytes(width, "big"), int.from_bytes(height, "big")
    return found if all(found) else None


def _webp(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X" and len(data) >= 30:
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if kind == b"VP8L" and len(data) >= 25:
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 " and len(data) >= 30:
        width, height = (int.from_bytes(data[at : at + 2], "little") & 0x3FFF for at in (26, 28))
        return (width, height) if width and height else None
    return None


def _jpeg(data: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in _SIZES:
            return _known(data[at + 7 : at + 9], data[at + 5 : at + 7])
        if marker == 0xFF or marker in _ALONE:
            at += 1 if marker == 0xFF else 2
            continue
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None
