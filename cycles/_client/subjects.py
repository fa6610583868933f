"""Who spends for what happens inside a with-block: levels of the subject that reach into every call in it."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, NamedTuple, Unpack

from cycles._core.requests import LEVELS, checked_level
from cycles.errors import InvalidRequest
from cycles_api.types import UNSET, Unset

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager
    from types import TracebackType

    from cycles._client.options import Level, Levels
    from cycles.config import Config


class _Named(NamedTuple):
    """A block that the code here runs in.

    Attributes:
        block: The block.
        levels: What it and those around it name; None leaves a level out.
        outer: The one around it, or None.
    """

    block: _Block
    levels: Mapping[str, str | None]
    outer: _Named | None


_named: Final[ContextVar[_Named | None]] = ContextVar("cycles_subject", default=None)


def subject(**levels: Unpack[Levels]) -> AbstractContextManager[None]:
    """Name who spends for all that happens inside a with-block.

    Guards, and a client's `reserve`, `decide` and `record`, take each level from their own argument, else from the
    innermost block that names it, else from the configuration. Lists don't. Blocks inside blocks add their levels.
    Tasks that begin inside take them along, and so do threads whose context is a copy: `asyncio.to_thread` copies it,
    `contextvars.copy_context().run` runs in one. A guarded generator keeps the subject that its iteration began with;
    what it names itself is not seen by the code that iterates.

    Args:
        **levels: tenant, workspace, app, workflow, agent, toolset: texts of 1 to 128 letters, digits, `_`, `.` and `-`
            (`cycles.level` makes one of any text); None leaves a level out, also one that is configured.

    Raises:
        InvalidRequest: naming the level and what is allowed.

    Example:
        ```python
        import cycles
        from cycles import usd

        with cycles.subject(workspace="zoe"), cycles.Guard(usd("0.05"), action=("tool.search", "web")):
            pass  # spends for zoe
        ```
    """
    unknown = sorted(levels.keys() - set(LEVELS))
    if unknown:
        raise TypeError(f"subject() got an unexpected keyword argument {unknown[0]!r}")
    named: dict[str, str | None] = {}
    for name in LEVELS:
        value = levels.get(name, UNSET)
        if not isinstance(value, Unset):
            named[name] = None if value is None else checked_level(name, value)
    return _Block(named)


class _Block:
    """A block that names levels. It keeps no state of its own: it may be entered again, and in many tasks at once."""

    __slots__ = ("_levels",)

    def __init__(self, levels: Mapping[str, str | None]) -> None:
        self._levels: Final = levels

    def around(self, outer: _Named | None) -> _Named:
        """Return what is named inside this block, itself inside *outer*."""
        return _Named(self, {**(outer.levels if outer is not None else {}), **self._levels}, outer)

    def __enter__(self) -> None:
        _named.set(self.around(_named.get()))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Not reset(token): generators leave their blocks in any order, and in another context than they entered them.
        inner: list[_Block] = []
        named = _named.get()
        while named is not None and named.block is not self:
            inner.append(named.block)
            named = named.outer
        if named is None:
            return  # it was entered in another context
        left = named.outer
        for block in reversed(inner):
            left = block.around(left)
        _named.set(left)

    def __call__(self, function: object) -> object:
        raise InvalidRequest(
            f"subject: a with-block, and no decorator of {function!r}; write `with cycles.subject(…):` around the "
            "call, or name the levels in its Guard"
        )

    def __repr__(self) -> str:
        return f"<subject {' '.join(f'{name}={value!r}' for name, value in self._levels.items())}>"


def around() -> tuple[object, ...] | None:
    """Return what tells the levels that are named around the running code from others, or None without any."""
    named = _named.get()
    return None if named is None else tuple(named.levels.items())


def resolved(given: Mapping[str, Level], config: Config) -> dict[str, str | None]:
    """Return the levels of a request: those that are *given*, else those named around it, else the configured ones."""
    named = _named.get()
    around: Mapping[str, str | None] = {} if named is None else named.levels
    levels: dict[str, str | None] = {}
    for name in LEVELS:
        value = given.get(name, UNSET)
        if isinstance(value, Unset):
            value = around[name] if name in around else getattr(config, name)
        levels[name] = value
    return levels


class KeptSubject:
    """The subject that a generator's code runs for, from step to step."""

    __slots__ = ("_inside",)

    def __init__(self) -> None:
        self._inside = _named.get()

    @contextmanager
    def step(self) -> Iterator[None]:
        """Let one step of the generator run for its own subject, and the caller's code go on for the caller's."""
        outside = _named.get()
        _named.set(self._inside)
        try:
            yield
        finally:
            self._inside = _named.get()
            _named.set(outside)
