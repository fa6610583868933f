"""Errors that answers are raised as: their tracebacks end where a person called, not where the request was made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cycles.errors import AuthorityError, AuthorityUnavailable, Denied

if TYPE_CHECKING:
    from types import TracebackType

ANSWERS: Final = (Denied, AuthorityError, AuthorityUnavailable)
"""What an authority's answer, or its silence, is raised as. A mistake in the call keeps its whole traceback."""


class _RaisedHere:
    """Forget the frames in which an answer became an error: they are the same for all, and a page long."""

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, ANSWERS):
            error.__traceback__ = None


raised_here: Final = _RaisedHere()
"""The block in which a public call asks the authority. Where each microsecond counts, a `try` does the same."""
