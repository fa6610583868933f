"""Siblings: a client that `with_options` makes sends, waits and keeps leases by what its parent has."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

R = TypeVar("R")

_parent: Final[ContextVar[Any]] = ContextVar("cycles_sibling_of", default=None)
"""The runtime of the client whose `with_options` is making another one; its constructor may be a subclass's own."""


@contextmanager
def siblings_of(parent: object) -> Iterator[None]:
    """Make the client that is made inside a sibling of the one whose runtime is *parent*."""
    token = _parent.set(parent)
    try:
        yield
    finally:
        _parent.reset(token)


def parent_of(kind: type[R]) -> R | None:
    """Return the parent of the client that is being made, if its runtime is of this *kind*."""
    parent = _parent.get()
    return parent if isinstance(parent, kind) else None
