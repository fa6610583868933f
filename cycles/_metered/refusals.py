"""How a refused request comes out of an SDK's own call, after one attempt.

The SDKs of one generator (openai, anthropic, groq, together) send inside `except Exception`: whatever a transport
raises there is taken for the network's, tried again, and raised as a connection error. What they do with an answer
stands outside of that. So they get an answer, which raises the refusal when it is asked how it went. Older ones ask
`raise_for_status()`, newer ones of anthropic `is_success`. All others let a transport's exceptions through.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from cycles.errors import CyclesError


def takes_answers(request: Any) -> bool:
    """Return whether *request* is of an SDK that takes what a transport raises for the network's."""
    return any(name.startswith("x-stainless-") for name in request.headers)


class _Refusal:
    """An answer that raises an error when it is asked how it went."""

    refusal: CyclesError

    def raise_for_status(self) -> NoReturn:
        raise self.refusal

    @property
    def is_success(self) -> bool:
        raise self.refusal


@functools.cache
def _refusal(library: Any) -> type[Any]:
    return type("RefusedResponse", (_Refusal, library.Response), {})


def refused(library: Any, request: Any, error: CyclesError) -> Any:
    """Return the answer that raises *error* in the SDK that *request* is of; raise it in all others."""
    if not takes_answers(request):
        raise error
    response = _refusal(library)(403, headers={"x-should-retry": "false"}, content=b"")
    response.refusal = error
    return response
