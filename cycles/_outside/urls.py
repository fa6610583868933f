"""PostgreSQL's URLs, which may have a password in them that nobody else may see."""

from __future__ import annotations

import re
from typing import Final

_SCHEMES: Final = ("postgresql://", "postgres://")
_SECRET: Final = re.compile(r"(?<=[?&])[^&=]*(?:passw|secret|key)[^&=]*=[^&]*&?", re.IGNORECASE)
_USER: Final = re.compile(r"([^:/?#@]*)(:.*)?", re.DOTALL)

_PLACE: Final = frozenset({"host", "hostaddr", "port", "dbname", "user"})


def is_postgres(name: str) -> bool:
    """Whether *name* is a PostgreSQL URL."""
    return name.startswith(_SCHEMES)


def without_password(url: str) -> str:
    """Return a PostgreSQL *url* as it may be shown: the same but for what is secret in it.

    Whatever stands before the last "@" belongs to the user and the password, even where the password should have been
    percent-encoded and was not.
    """
    scheme, _, rest = url.partition("://")
    clean = _SECRET.sub("", rest)
    if "@" in rest and "@" not in clean:  # nobody can say what is what
        return f"{scheme}://…"
    user, at, where = clean.rpartition("@")
    match = _USER.match(user)
    return f"{scheme}://{match[1] if match is not None else ''}{at}{where.rstrip('?&')}"


def local_name(url: str) -> str:
    """Return a `local:` URL as it may be shown."""
    name = url.removeprefix("local:")
    return f"local:{without_password(name)}" if is_postgres(name) else url


def database_of(url: str) -> str:
    """Return which database a PostgreSQL *url* names, whatever else it says: the password and options may change."""
    place, _, query = without_password(url).partition("?")
    kept = [part for part in query.split("&") if part.partition("=")[0] in _PLACE]
    return "?".join((place, "&".join(kept))) if kept else place
