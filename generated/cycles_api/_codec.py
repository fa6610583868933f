# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
"""Between JSON and values, exactly: what the generated models and endpoint functions call.

Reading checks types, presence and the bounds of integers, and raises nothing but `DecodeError`. Lengths and patterns of
strings are not checked: a server may be right about them where this document is out of date.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar
from urllib.parse import quote

from .errors import DecodeError

if TYPE_CHECKING:
    import datetime
    from collections.abc import Callable

    from .http import HttpResponse

T = TypeVar("T")

INT64_MIN: Final = -(2**63)
INT64_MAX: Final = 2**63 - 1
_KINDS: Final = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a float",
    type(None): "null",
}


def mismatch(where: str, expected: str, value: object) -> DecodeError:
    """Return the error that says what was found, by kind only."""
    return DecodeError(where, f"expected {expected}, got {_KINDS.get(type(value), type(value).__name__)}")


def missing(where: str, error: KeyError) -> DecodeError:
    """Return the error for a required field that is not there."""
    return DecodeError(where, f"missing {error.args[0]!r}")


# -- reading ---------------------------------------------------------------------------------------------------------
def mapping(where: str, value: Any) -> Mapping[str, Any]:
    """Return *value* if it is an object."""
    if type(value) is dict or isinstance(value, Mapping):
        return value
    raise mismatch(where, "an object", value)


def free(where: str, value: Any) -> dict[str, Any]:
    """Return a copy of *value* if it is an object, whatever is in it."""
    return dict(mapping(where, value))


def free_texts(where: str, value: Any) -> dict[str, str]:
    """Return a copy of *value* if it is an object that holds strings only."""
    return {name: text(where, item) for name, item in mapping(where, value).items()}


def array(where: str, value: Any) -> list[Any]:
    """Return *value* if it is an array."""
    if isinstance(value, list):
        return value
    raise mismatch(where, "an array", value)


def text(where: str, value: Any) -> str:
    """Return *value* if it is a string."""
    if isinstance(value, str):
        return value
    raise mismatch(where, "a string", value)


def boolean(where: str, value: Any) -> bool:
    """Return *value* if it is a boolean."""
    if isinstance(value, bool):
        return value
    raise mismatch(where, "a boolean", value)


def integer(where: str, value: Any, low: int = INT64_MIN, high: int = INT64_MAX) -> int:
    """Return *value* if it is an integer in its bounds: no boolean, no float, no digits in a string."""
    if type(value) is not int:
        raise mismatch(where, "an integer", value)
    if not low <= value <= high:
        raise DecodeError(where, f"expected an integer from {low} to {high}, got one outside")
    return value


def _not_json(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


_decoder: Final = json.JSONDecoder(parse_constant=_not_json)


def load(content: bytes) -> Any:
    """Return the JSON value in *content*."""
    if not content:
        raise DecodeError("body", "empty")
    try:
        return _decoder.decode(content.decode())
    except UnicodeDecodeError:
        reason = "not UTF-8"
    except json.JSONDecodeError as error:
        reason = f"not JSON at character {error.pos}"
    except ValueError:
        reason = "a number that is no JSON or has too many digits"
    except RecursionError:
        reason = "nested too deeply"
    raise DecodeError("body", reason)


def success(response: HttpResponse, from_dict: Callable[[Any], T]) -> T:
    """Return the body of a success that the operation defines.

    Raises:
        DecodeError: with the status, headers and content of the answer, when the body does not fit.
    """
    try:
        return from_dict(load(response.content))
    except DecodeError as error:
        error.status_code = response.status_code
        error.content = response.content
        error.headers = response.headers
        raise


def failure(response: HttpResponse, from_dict: Callable[[Any], T]) -> T | None:
    """Return the body of an error, or None when it does not fit.

    Also None for any 2xx: one that the operation does not define proves nothing, whatever its body looks like.
    """
    if response.is_success:
        return None
    try:
        return from_dict(load(response.content))
    except DecodeError:
        return None


# -- writing ---------------------------------------------------------------------------------------------------------
def exact(where: str, value: Any, low: int = INT64_MIN, high: int = INT64_MAX) -> int:
    """Return *value* if it may be sent as an integer.

    Raises:
        TypeError: when it is no int; a float, Decimal or bool is never rounded into one.
        ValueError: when it is out of its bounds.
    """
    if type(value) is not int:
        raise TypeError(f"{where}: expected an int, got {type(value).__name__}")
    if not low <= value <= high:
        raise ValueError(f"{where}: {value} is not from {low} to {high}")
    return value


def instant(where: str, value: datetime.datetime) -> str:
    """Return *value* as the protocol writes instants.

    Raises:
        ValueError: when it has no offset, since the server would have to guess one.
    """
    if value.utcoffset() is None:
        raise ValueError(f"{where}: a datetime without an offset; give it one, such as tzinfo=datetime.UTC")
    return value.isoformat()


def segment(where: str, value: str) -> str:
    """Return *value* as one segment of a path, which it can neither leave nor end.

    Dots are escaped as well, for httpx resolves `..` in a path.

    Raises:
        ValueError: when it is empty, which would address another resource.
    """
    if not value:
        raise ValueError(f"{where}: must not be empty")
    return quote(str(value), safe="").replace(".", "%2E")
