"""Names of the databases that tests look into."""

from __future__ import annotations


def name_of(url: str) -> str:
    """Return the name of the database that *url* leads to."""
    return url.partition("?")[0].rpartition("/")[2]
