"""What the wires have in common: what was asked, what the model says to it, and how JSON becomes bytes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.metering.bill import Counts


class Refusal(Exception):
    """The provider refuses a request before its model sees it."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Asked:
    """One request, in the words that all providers share."""

    model: str
    input: int  # tokens
    most: int | None = None  # output tokens of one candidate
    candidates: int = 1
    streamed: bool = False
    wants_usage: bool = True  # in a stream
    tool: str | None = None  # the first one on offer: the model calls it
    schema: dict[str, Any] | None = None
    texts: int = 0  # of an embedding
    sent: dict[str, Any] = field(default_factory=dict)


@dataclass
class Called:
    """A tool call that the model makes: its arguments are the text of its tokens."""

    id: str
    name: str
    tokens: list[str]

    @property
    def text(self) -> str:
        return "".join(self.tokens)


@dataclass
class Reply:
    """What the model says to a request: each candidate the same *tokens*.

    `tokens` are all that it generates after `reasoning`, which nobody sees. `cut` says that it would have said more.
    Where there are `calls`, the tokens are theirs.
    """

    asked: Asked
    counts: Counts  # the whole usage; what has been generated until now is in the bill
    tokens: list[str]
    cut: bool
    reasoning: int
    tells: bool  # whether it tells the usage
    number: int
    calls: list[Called] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.tokens)

    @property
    def arguments(self) -> dict[str, Any]:
        """Return what a tool is called with; none where the call was cut off, or is none."""
        return json.loads(self.text) if self.asked.tool and not self.cut else {}


class Wire(Protocol):
    """How one API of one provider speaks."""

    name: str

    def reads(self, path: str) -> bool:
        """Return whether a POST to *path* is a request of this wire that bills."""

    def asked(self, path: str, query: str, body: dict[str, Any]) -> Asked:
        """Return what a request asks for."""

    def body(self, reply: Reply) -> dict[str, Any]:
        """Return the whole answer."""

    def events(self, reply: Reply) -> Iterator[bytes | None]:
        """Yield the events of a stream; None where the model generates a token."""

    def error(self, status: int, message: str) -> dict[str, Any]:
        """Return the body of an error."""

    def failure(self) -> bytes:
        """Return the event that says, in a stream, that the model failed."""


def compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def size(value: Any) -> int:
    """Return the tokens of *value*: the worst case, in which each byte of UTF-8 is one."""
    return len((value if isinstance(value, str) else compact(value)).encode())


def event(data: Any, name: str | None = None) -> bytes:
    """Return one server-sent event."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {data if isinstance(data, str) else compact(data)}\n\n".encode()


def example(schema: dict[str, Any], root: dict[str, Any] | None = None) -> Any:
    """Return a value that fits *schema*."""
    root = root or schema
    if "$ref" in schema:
        return example(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    kind = str(schema.get("type", "object")).lower()
    if kind == "object":
        return {name: example(part, root) for name, part in schema.get("properties", {}).items()}
    if kind == "array":
        return [example(schema["items"], root)]
    return {"string": "déjà vu", "integer": 41, "number": 1.5, "boolean": True}[kind]


def pieces(text: str, length: int = 4) -> list[str]:
    return [text[start : start + length] for start in range(0, len(text), length)]
