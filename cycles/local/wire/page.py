"""The page that `cycles serve` answers at `/`: one file, and the headers that restrict the browser.

It holds no figure, so it needs no key: its script asks `/status.json` with the key that the user gives it.
"""

from __future__ import annotations

import base64
import hashlib
import re
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from cycles.local.wire.messages import Response

if TYPE_CHECKING:
    from cycles.local.wire.messages import Request

_INLINE: Final = re.compile(r"<(style|script)>(.*?)</\1>", re.DOTALL)


def is_asked_for(request: Request) -> bool:
    """Whether *request* is for the page; other methods are refused by the authority, as everywhere."""
    return request.path == "/" and request.method in ("GET", "HEAD")


def _policy(html: str) -> str:
    """Return the Content-Security-Policy under which nothing but the page's own style and script is used."""
    allowed: dict[str, list[str]] = {"style": [], "script": []}
    for kind, content in _INLINE.findall(html):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        allowed[kind].append(f"'sha256-{digest}'")
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {' '.join(allowed['script'])}",
            f"style-src {' '.join(allowed['style'])}",
            "connect-src 'self'",
            "img-src data:",  # the icon
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",  # no text from the ledger can become markup, even by mistake
            "trusted-types 'none'",
        )
    )


def _page() -> Response:
    html = files("cycles.local.wire").joinpath("page.html").read_text(encoding="utf-8")
    headers = [
        ("content-type", "text/html; charset=utf-8"),
        ("content-security-policy", _policy(html)),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("cache-control", "no-cache"),
    ]
    return Response(200, headers, html.encode())


PAGE: Final = _page()
