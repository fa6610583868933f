"""The configuration: read once, checked, frozen; each value knows where it came from.

`SETTINGS` is the one table (`_core.settings` has it, with its parsers); `Config`, `Config.from_env` and
docs/configuration.md are made from it or tested against it. A bad value is a ConfigError that names the variable, the
value (unless secret) and what is allowed; nothing falls back silently.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from cycles._core.retry import RetryPolicy
from cycles._core.settings import BY_NAME, LOCAL_SCHEME, SETTINGS, label_of, shown_url, values_of
from cycles._drivers.addresses import refusal_of
from cycles._outside.urls import is_postgres, local_name
from cycles.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

__all__ = ["SETTINGS", "Config", "table"]


class Config:
    """How to reach an authority, and who spends there. Frozen.

    Args:
        base_url: Where the authority is; the one setting without a default.
        **settings: See docs/configuration.md for names, defaults and meanings.

    Raises:
        ConfigError: naming the setting, its value (unless secret) and what is allowed.

    Example:
        ```python
        import cycles

        config = cycles.Config("local:?usd=1.00", tenant="default", read_timeout=10)
        with cycles.Client(config) as client:
            print(list(client.balances()))
        ```
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
    settle_wait: float
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
            environ: The variables; os.environ when None. White space around a value does not count, because values from
                files and secrets often end with a newline. A variable that is empty counts as not set.
            prefix: How their names begin.
            **settings: Settings that win over the variables, as in `Config(…)`; None counts as not given.

        Raises:
            ConfigError: naming the variable, its value (unless secret) and what is allowed.

        Example:
            ```python
            import cycles

            config = cycles.Config.from_env({"CYCLES_BASE_URL": "local:?usd=1.00", "CYCLES_AGENT": "planner"})
            print(config.base_url, config.agent)
            ```
        """
        environ = os.environ if environ is None else environ
        given: dict[str, Any] = {}
        sources: dict[str, str] = {}
        for setting in SETTINGS:
            variable = prefix + setting.name.upper()
            value = environ.get(variable, "").strip()
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
        """Return a copy with other *settings*.

        Example:
            ```python
            import cycles

            config = cycles.Config("local:?usd=1.00").replace(agent="planner", read_timeout=30.0)
            print(config)
            ```
        """
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

    def variable(self, name: str) -> str:
        """Return the variable that sets *name*, with the prefix of those that this configuration was read from.

        Example:
            ```python
            import cycles

            print(cycles.Config("local:").variable("read_timeout"))  # CYCLES_READ_TIMEOUT
            ```
        """
        found = (
            variable.removesuffix(setting.upper())
            for setting, variable in self.sources.items()
            if variable.endswith(setting.upper())
        )
        return f"{next(found, 'CYCLES_')}{name.upper()}"

    @property
    def retry(self) -> RetryPolicy:
        """The retry settings as a policy."""
        if not self.retry_enabled:
            return RetryPolicy(max_attempts=1, settle_wait=self.settle_wait, is_off=True)
        return RetryPolicy(
            max_attempts=self.retry_max_attempts,
            initial_delay=self.retry_initial_delay,
            multiplier=self.retry_multiplier,
            max_delay=self.retry_max_delay,
            settle_wait=self.settle_wait,
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
                told = local_name(value) if setting.name == "base_url" else value
                shown.append(f"{setting.name}={'***' if setting.secret else repr(told)}")
        return f"Config({', '.join(shown)})"


def _unpickled(kind: type[Config], settings: dict[str, Any], sources: dict[str, str]) -> Config:
    """Return the configuration of a pickle; its key is this process's own, if it came from a variable."""
    if key := os.environ.get(sources["api_key"], ""):
        settings["api_key"] = key
    return kind._made(settings, sources)  # noqa: SLF001 - the constructor knows no sources


def _fill(config: Config, given: Mapping[str, Any], sources: Mapping[str, str]) -> None:
    """Set what a new *config* holds, the only time before it is frozen."""
    values = values_of(given, sources)
    came_from = {setting.name: sources.get(setting.name, "default") for setting in SETTINGS}
    for name, value in {**values, **_anchored(values, came_from)}.items():
        object.__setattr__(config, name, value)
    object.__setattr__(config, "sources", came_from)
    _check(config)


def _anchored(values: Mapping[str, Any], sources: Mapping[str, str]) -> dict[str, str]:
    """Return the settings that are paths, absolute: the working directory and the home of later do not matter."""
    anchored = {}
    if values["journal_dir"] is not None:
        given: str = values["journal_dir"]
        anchored["journal_dir"] = _absolute(given, f"{label_of('journal_dir', sources['journal_dir'])}={given!r}")
    url: str = values["base_url"]
    path, mark, budgets = url.removeprefix(LOCAL_SCHEME).partition("?")
    if url.startswith(LOCAL_SCHEME) and path and not is_postgres(path):
        label = f"{label_of('base_url', sources['base_url'])}={url!r}"
        whole = _absolute(path, label)
        if "?" in whole:
            raise ConfigError(f"{label}: the folder {whole!r} has a '?' in its name; name another file")
        anchored["base_url"] = f"{LOCAL_SCHEME}{whole}{mark}{budgets}"
    return anchored


def _absolute(path: str, label: str) -> str:
    expanded = os.path.expanduser(path)  # noqa: PTH111 - pathlib raises when there is no home
    is_homeless = expanded.startswith("~") or (path.startswith("~/") and os.environ.get("HOME") == "")
    if is_homeless:
        raise ConfigError(f"{label}: this user has no home directory to find it in; give an absolute path")
    try:
        return os.path.abspath(expanded)  # noqa: PTH100 - links are not resolved
    except OSError as error:  # the working directory was removed
        raise ConfigError(
            f"{label}: can't be made absolute, for there is no working directory ({error.strerror}); "
            "give an absolute path"
        ) from None


def _check(config: Config) -> None:
    """Refuse an address that nothing can be sent to, and settings that do not fit each other."""
    allowed = None if config.is_local else refusal_of(config.base_url, config.http_engine)
    if allowed is not None:
        raise ConfigError(
            f"{label_of('base_url', config.sources['base_url'])}={shown_url(config.base_url)}: give {allowed}"
        )
    if config.api_key is None and not config.is_local:
        raise ConfigError(
            f"no API key for {shown_url(config.base_url)}: set {config.variable('api_key')}, or use base_url "
            '"local:", which needs none'
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
