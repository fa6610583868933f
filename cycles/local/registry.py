"""The authorities that `local:` URLs name in this process: one for each name."""

from __future__ import annotations

import atexit
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeVar

from cycles._outside.forks import in_forked_child
from cycles.errors import ConfigError, InvalidRequest
from cycles.local.admin.names import own_scope, read_url
from cycles.local.embedded import EmbeddedAuthority
from cycles.local.store.turns import SleepersLock

if TYPE_CHECKING:
    from collections.abc import Iterator

T = TypeVar("T", bound=EmbeddedAuthority)

MEMORY: Final = ""
"""The name of `local:`, the ledger in memory."""

DEFAULT_TENANT: Final = "default"
"""The tenant whose budget a `local:` URL makes when none is named."""

_registry: Final[dict[str, EmbeddedAuthority]] = {}
_registry_lock = SleepersLock()
_kind: type[EmbeddedAuthority] = EmbeddedAuthority


def named_by_urls(kind: type[T]) -> type[T]:
    """Make *kind* the class of the authorities that `local:` URLs name: the public one, which knows the client.

    The client gets its authority here, and must get the same one as callers of `LocalAuthority.from_url`.
    """
    global _kind  # noqa: PLW0603 - once, when the class is defined
    _kind = kind
    return kind


def authority_of(
    url: str, *, tenant: str | None = None, kind: type[EmbeddedAuthority] | None = None
) -> EmbeddedAuthority:
    """Return the authority that a `local:` URL names; it is made when none is open.

    Args:
        url: See `LocalAuthority.from_url`.
        tenant: The tenant of the budgets in the URL; DEFAULT_TENANT when None.
        kind: The class of an authority that is made here; None: the one that `named_by_urls` has set.

    Raises:
        ConfigError: naming what is wrong with the URL.
    """
    path, wanted = read_url(url)
    try:
        scope = own_scope(f"tenant:{DEFAULT_TENANT if tenant is None else tenant}")
    except InvalidRequest as error:
        raise ConfigError(error.message) from None
    with _registry_lock:
        known = _registry.get(path or MEMORY)
        if known is None or known.store.is_closed:
            known = _registry[path or MEMORY] = (kind or _kind)(path or None, history=0)
    for budget in wanted:
        known.ensure_budget(scope, budget.amount, period=budget.period, zone=budget.zone)
    return known


@contextmanager
def standing_in(authority: EmbeddedAuthority) -> Iterator[None]:
    """Let `local:` mean *authority* in this process while the block lasts, and then what it meant before.

    For tests: a client that is made from the environment's settings spends there.
    """
    with _registry_lock:
        before = _registry.get(MEMORY)
        _registry[MEMORY] = authority
    try:
        yield
    finally:
        with _registry_lock:
            if before is None:
                _registry.pop(MEMORY, None)
            else:
                _registry[MEMORY] = before


@atexit.register
def forget_shared() -> None:
    """Close and forget the authorities that `local:` URLs of this process share; the exit does so, too."""
    with _registry_lock:
        for authority in _registry.values():
            authority.close()
        _registry.clear()


@in_forked_child
def _renew_lock() -> None:
    global _registry_lock  # noqa: PLW0603 - another thread of the parent may have held it
    _registry_lock = SleepersLock()
