"""How to install an extra: by the package's name, or from the folder or the wheel that it was installed from."""

from __future__ import annotations

import json
from typing import Any, Final
from urllib.parse import unquote, urlsplit

NAME: Final = "cycles-guard"
"""The name of the distribution."""


def install(*extras: str) -> str:
    """Return the command that adds *extras* to this installation."""
    return _command(_origin(), ",".join(extras))


def _origin() -> dict[str, Any]:
    """Return what the installer noted about where the package came from (PEP 610); empty for an index."""
    from importlib.metadata import PackageNotFoundError, distribution  # noqa: PLC0415 - half a hundredth of a second

    try:
        noted = json.loads(distribution(NAME).read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, ValueError):
        return {}
    return noted if isinstance(noted, dict) else {}


def _command(origin: dict[str, Any], extras: str) -> str:
    url = urlsplit(str(origin.get("url", "")))
    if url.scheme == "file":
        option = "-e " if (origin.get("dir_info") or {}).get("editable") else ""
        path = unquote(url.path)
        path = path[1:] if path[2:3] == ":" else path  # /C:/…
        return f"pip install {option}'{path}[{extras}]'"
    version_control = (origin.get("vcs_info") or {}).get("vcs")
    if version_control and url.hostname:
        host = url.netloc.rpartition("@")[2]  # whoever was logged in, with what password
        return f"pip install '{NAME}[{extras}] @ {version_control}+{url.scheme}://{host}{url.path}'"
    return f"pip install '{NAME}[{extras}]'"
