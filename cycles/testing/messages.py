"""What goes over the simulated wire: a request of a section, and the answer to it before it is decoded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cycles.testing.cases import Case

Body = dict[str, Any]


class Request(NamedTuple):
    """A request on the wire; `case` is the section that sent it."""

    operation: str
    arguments: Mapping[str, Any]
    body: Body
    case: Case


class Raw(NamedTuple):
    """An answer as it is on the wire; `body` is None where there is none that is JSON."""

    status: int
    body: Body | None
    retry_after: str | None = None
