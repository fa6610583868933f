"""The configuration: read once, checked, frozen; each value knows where it came from.

`SETTINGS` is the one table (`_core.settings` has it, with its parsers); `Config`, `Config.from_env` and
docs/configuration.md are made from it or tested against it. A bad value is a ConfigError that names the variable, the
value (unless secret) and what is allowed; nothing falls back silently.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from cycles._core.retry import NO_RETRY, RetryPolicy
from cycles._core.settings import BY_NAME, LOCAL_SCHEME, SETTINGS, label_of, values_of
from cycles.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

__all__ = ["SETTINGS", "Config", "table"]


class Config:
    """How to reach an authority, and whom to spend for. Frozen.

    Args:
        base_url: Where the authority is; the one setting without a default.
        **settings: See docs/configuration.md for names, defaults and meanings.

    Raises:
        ConfigError: naming the setting, its value (unless secret) and what is allowed.
    """

    base_url: str
    api_key: str | None
    tenant: str | None
    workspace: str | None
    app: str | None
    workflow: str | None
    agent: str | None
    toolset: str | None
    connect_timeout: float
    read_timeout: float
    retry_enabled: bool
    retry_max_attempts: int
    retry_initial_delay: float
    retry_multiplier: float
    retry_max_delay: float
    retry_flush_timeout: float
    journal_enabled: bool
    journal_dir: str | None
    journal_fsync: bool
    unavailable: str
    heartbeat: str
    http_engine: str
    sources: Mapping[str, str]
    """Where each value came from: "default", "argument", or the variable's name."""

    __slots__ = (*(setting.name for setting in SETTINGS), "sources")

    def __init__(self, base_url: str, **settings: Any) -> None:
        given = {"base_url": base_url, **settings}
        _fill(self, given, dict.fromkeys(given, "argument"))

    @classmethod
    def _made(cls, given: Mapping[str, Any], sources: Mapping[str, str]) -> Config:
        config = cls.__new__(cls)
        _fill(config, given, sources)
        return config

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, prefix: str = "CYCLES_", **settings: Any) -> Config:
        """Return the settings of the environment's variables.

        Args:
            environ: The variables; os.environ when None. A variable that is empty counts as not set.
            prefix: What their names begin with.
            **settings: What wins over the variables, as in `Config(…)`; None counts as not given.

        Raises:
            ConfigError: naming the variable, its value (unless secret) and what is allowed.
        """
        environ = os.environ if environ is None else environ
        given: dict[str, Any] = {}
        sources: dict[str, str] = {}
        for setting in SETTINGS:
            variable = prefix + setting.name.upper()
            value = environ.get(variable, "")
            if value:
                given[setting.name], sources[setting.name] = value, variable
        over = {name: value for name, value in settings.items() if value is not None}
        given, sources = {**given, **over}, {**sources, **dict.fromkeys(over, "argument")}
        if "base_url" not in given:
            raise ConfigError(
                f"{prefix}BASE_URL is not set: give the authority's URL, or try local:?usd=1.00 "
                "(an authority inside this process with a budget of one dollar)"
            )
        return cls._made(given, sources)

    def replace(self, **settings: Any) -> Config:
        """Return a copy with other *settings*."""
        kept = {name: getattr(self, name) for name in BY_NAME}
        sources = {name: source for name, source in self.sources.items() if source != "default"}
        return self._made({**kept, **settings}, {**sources, **dict.fromkeys(settings, "argument")})

    @property
    def is_local(self) -> bool:
        """Whether the authority is inside this process."""
        return self.base_url.startswith(LOCAL_SCHEME)

    @property
    def is_in_memory(self) -> bool:
        """Whether the authority is inside this process and ends with it."""
        return self.is_local and not self.base_url[len(LOCAL_SCHEME) :].partition("?")[0]

    @property
    def retry(self) -> RetryPolicy:
        """The retry settings as a policy."""
        if not self.retry_enabled:
            return NO_RETRY
        return RetryPolicy(
            max_attempts=self.retry_max_attempts,
            initial_delay=self.retry_initial_delay,
            multiplier=self.retry_multiplier,
            max_delay=self.retry_max_delay,
        )

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Config is frozen; use replace({name}=…)")

    def __delattr__(self, name: str) -> None:
        raise AttributeError("a Config is frozen")

    def _values(self) -> tuple[Any, ...]:
        return tuple(getattr(self, setting.name) for setting in SETTINGS)

    def __eq__(self, other: object) -> bool:
        return self._values() == other._values() if isinstance(other, Config) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._values())

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Return what a pickle holds: a key from the environment is read again, and `local:` needs none."""
        settings = {setting.name: getattr(self, setting.name) for setting in SETTINGS}
        sources = dict(self.sources)
        if self.is_local:
            sources["api_key"] = "default"
        if sources["api_key"] != "argument":
            del settings["api_key"]
        return _unpickled, (type(self), settings, sources)

    def __repr__(self) -> str:
        shown = []
        for setting in SETTINGS:
            value = getattr(self, setting.name)
            if value is not None and (value != setting.default or setting.default is None):
                shown.append(f"{setting.name}={'***' if setting.secret else repr(value)}")
        return f"Config({', '.join(shown)})"


def _unpickled(kind: type[Config], settings: dict[str, Any], sources: dict[str, str]) -> Config:
    """Return the configuration of a pickle; its key is this process's own, if it came from a variable."""
    if key := os.environ.get(sources["api_key"], ""):
        settings["api_key"] = key
    return kind._made(settings, sources)  # noqa: SLF001 - the constructor knows no sources


def _fill(config: Config, given: Mapping[str, Any], sources: Mapping[str, str]) -> None:
    """Set what a new *config* holds, the only time before it is frozen."""
    for name, value in values_of(given, sources).items():
        object.__setattr__(config, name, value)
    came_from = {setting.name: sources.get(setting.name, "default") for setting in SETTINGS}
    object.__setattr__(config, "sources", came_from)
    _check(config)


def _check(config: Config) -> None:
    """Refuse settings that do not fit each other."""
    if config.api_key is None and not config.is_local:
        variable = config.sources["base_url"]
        prefix = variable.removesuffix("BASE_URL") if variable.endswith("BASE_URL") else "CYCLES_"
        raise ConfigError(
            f'no API key for {config.base_url}: set {prefix}API_KEY, or use base_url "local:", which needs none'
        )
    if config.unavailable == "allow" and not config.journal_enabled:
        label = label_of("unavailable", config.sources["unavailable"])
        raise ConfigError(
            f"{label}='allow': spend without a hold lives in the journal until it is charged; "
            "set journal_enabled to true, or unavailable to deny"
        )


def table(prefix: str = "CYCLES_") -> str:
    """Return the settings as a Markdown table: what docs/configuration.md shows."""
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for setting in SETTINGS:
        default = "" if setting.default is None else str(setting.default).lower()
        rows.append(f"| `{prefix}{setting.name.upper()}` | {default} | {setting.meaning} |")
    return "\n".join(rows)
