"""Settings: read once, checked, frozen, and each able to say where it came from.

`SETTINGS` is the one table; `Config`, `Config.from_env` and docs/configuration.md are made from it or tested against
it. A bad value is a ConfigError that names the variable, the value (unless secret) and what is allowed; nothing falls
back silently.
"""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

from cycles._core.requests import LEVELS
from cycles._core.retry import NO_RETRY, RetryPolicy
from cycles.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LOCAL_SCHEME: Final = "local:"


def _base_url(value: str) -> str:
    if value.startswith(LOCAL_SCHEME):
        return value
    allowed = 'an http:// or https:// URL, or "local:" for an authority inside this process'
    try:
        parts = urlsplit(value)
        is_whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets, or a port that is none
        if "@" in value:
            raise SecretInUrl from None
        raise ValueError(allowed) from None
    if not is_whole:
        raise ValueError(allowed)
    if parts.username is not None or parts.password is not None:
        raise SecretInUrl
    if parts.query or parts.fragment:
        raise ValueError("a URL without query and fragment")
    return value.rstrip("/")


class SecretInUrl(ValueError):
    """A URL holds a password: its text must not be repeated in the error."""


def _key(value: str) -> str:
    if not value or not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("printable ASCII without spaces, as the authority issued it")
    return value


def _level(value: str) -> str:
    if not 1 <= len(value) <= 128 or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise ValueError("1 to 128 characters that UTF-8 can carry")
    return value


def _seconds(value: Any) -> float:
    seconds = _number(value)
    if not 0 < seconds <= 3600:
        raise ValueError("seconds, more than 0 and at most 3600")
    return seconds


def _delay(value: Any) -> float:
    seconds = _number(value)
    if not 0 <= seconds <= 3600:
        raise ValueError("seconds from 0 to 3600")
    return seconds


def _multiplier(value: Any) -> float:
    factor = _number(value)
    if not 1 <= factor <= 100:
        raise ValueError("a number from 1 to 100")
    return factor


def _number(value: Any) -> float:
    allowed = "a finite number, such as 2.5"
    try:
        number = float(value if "_" not in str(value) else "")  # 5_0 is fifty to Python, and a slip to people
    except (TypeError, ValueError, OverflowError):
        raise ValueError(allowed) from None
    if isinstance(value, bool) or not math.isfinite(number):
        raise ValueError(allowed)
    return number


def _attempts(value: Any) -> int:
    text = str(value).strip()
    count = value if type(value) is int else int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 0
    if not 1 <= count <= 100:
        raise ValueError("a whole number from 1 to 100")
    return count


def _flag(value: Any) -> bool:
    known = {
        "true": True,
        "1": True,
        "yes": True,
        "on": True,
        "false": False,
        "0": False,
        "no": False,
        "off": False,
    }
    try:
        return known[str(value).strip().lower()]
    except KeyError:
        raise ValueError("true or false") from None


def _policy(value: Any) -> str:
    policy = str(value).strip().lower()
    if policy not in {"warn", "fail_on_finalize", "cancel"}:
        raise ValueError("warn, fail_on_finalize or cancel")
    return policy


def _availability(value: Any) -> str:
    policy = str(value).strip().lower()
    if policy not in {"deny", "allow"}:
        raise ValueError("deny or allow")
    return policy


def _engine(value: Any) -> str:
    engine = str(value).strip().lower()
    if engine not in {"httpx", "aiohttp"}:
        raise ValueError("httpx or aiohttp")
    return engine


def _directory(value: str) -> str:
    if "\0" in value or not value.strip():
        raise ValueError("the path of a directory")
    return value


class Setting(NamedTuple):
    """One setting: its name (the attribute; in upper case, after the prefix, the variable) and what it means."""

    name: str
    parse: Callable[[Any], Any]
    default: Any
    meaning: str
    secret: bool = False


SETTINGS: Final = (
    Setting(
        "base_url",
        _base_url,
        None,
        "Where the authority is: an http(s) URL, `local:` (inside this process, in memory) or `local:PATH` "
        "(a SQLite file shared by this machine's processes). Required.",
    ),
    Setting("api_key", _key, None, "API key; optional with `local:`.", secret=True),
    *(Setting(level, _level, None, f"The subject's {level}, unless a call names another.") for level in LEVELS),
    Setting("connect_timeout", _seconds, 2.0, "Seconds to wait for a connection."),
    Setting("read_timeout", _seconds, 5.0, "Seconds to wait for each part of an answer."),
    Setting(
        "retry_enabled",
        _flag,
        True,  # noqa: FBT003 - a table
        "Whether settlements are sent again after trouble (a reserve is, once).",
    ),
    Setting("retry_max_attempts", _attempts, 5, "Attempts per request kind, the first included."),
    Setting("retry_initial_delay", _delay, 0.5, "Seconds of backoff before the second attempt."),
    Setting("retry_multiplier", _multiplier, 2.0, "Growth of the backoff from attempt to attempt."),
    Setting(
        "retry_max_delay",
        _delay,
        30.0,
        "Seconds that no backoff exceeds; a longer Retry-After is not waited out.",
    ),
    Setting(
        "retry_flush_timeout",
        _delay,
        10.0,
        "Seconds that the program's exit waits for settlements that are still pending; the rest stays in the journal.",
    ),
    Setting(
        "journal_enabled",
        _flag,
        True,  # noqa: FBT003 - a table
        "Whether spend that is not settled yet is kept on disk. `local:` (in memory) has no journal.",
    ),
    Setting(
        "journal_dir",
        _directory,
        None,
        "Where the journal is; the user's state directory unless set. Programs may share it.",
    ),
    Setting(
        "journal_fsync",
        _flag,
        True,  # noqa: FBT003 - a table
        "Whether the journal survives a crash of the machine, and not only one of the program.",
    ),
    Setting(
        "unavailable",
        _availability,
        "deny",
        "What a reserve does when the authority can't be reached: `deny` (`AuthorityUnavailable` is raised) or `allow` "
        "(the section runs without a hold, and its spend is charged when the authority is back; needs the journal).",
    ),
    Setting(
        "heartbeat",
        _policy,
        "warn",
        "What a lost lease does to its section: `warn` (a log line and `reservation.state`), `fail_on_finalize` "
        "(`LeaseLost` is raised after the spend is settled) or `cancel` (an asyncio section is cancelled; a sync one "
        "has `LeaseLost` raised at its next call on the reservation).",
    ),
    Setting(
        "http_engine",
        _engine,
        "httpx",
        "What an AsyncClient sends with beneath httpx: `httpx` itself, or `aiohttp` (the extra `fast`), which takes "
        "many tasks at once more easily. Blocking code, trio and an http_client of your own are not affected.",
    ),
)
_BY_NAME: Final = {setting.name: setting for setting in SETTINGS}


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
        self._fill(given, dict.fromkeys(given, "argument"))

    @classmethod
    def _made(cls, given: Mapping[str, Any], sources: Mapping[str, str]) -> Config:
        config = cls.__new__(cls)
        config._fill(given, sources)  # noqa: SLF001 - our own
        return config

    def _fill(self, given: Mapping[str, Any], sources: Mapping[str, str]) -> None:
        unknown = sorted(set(given) - set(_BY_NAME))
        if unknown:
            raise ConfigError(f"{unknown[0]}: no such setting; there are {', '.join(_BY_NAME)}")
        for setting in SETTINGS:
            value = given.get(setting.name)
            shown = sources.get(setting.name, "default")
            label = setting.name if shown == "argument" else shown
            object.__setattr__(
                self,
                setting.name,
                setting.default if value is None else _parsed(setting, label, value),
            )
        came_from = {setting.name: sources.get(setting.name, "default") for setting in SETTINGS}
        object.__setattr__(self, "sources", came_from)
        if self.api_key is None and not self.is_local:
            prefix = (
                came_from["base_url"].removesuffix("BASE_URL")
                if came_from["base_url"].endswith("BASE_URL")
                else "CYCLES_"
            )
            raise ConfigError(
                f'no API key for {self.base_url}: set {prefix}API_KEY, or use base_url "local:", which needs none'
            )

        if self.unavailable == "allow" and not self.journal_enabled:
            raise ConfigError(
                f"{self._label('unavailable')}='allow': spend without a hold lives in the journal until it is charged; "
                "set journal_enabled to true, or unavailable to deny"
            )

    def _label(self, name: str) -> str:
        source = self.sources[name]
        return name if source in ("argument", "default") else source

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
        kept = {name: getattr(self, name) for name in _BY_NAME}
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

    def __reduce__(self) -> tuple[Any, ...]:
        settings = {setting.name: getattr(self, setting.name) for setting in SETTINGS}
        return self._made, (settings, dict(self.sources))

    def __repr__(self) -> str:
        shown = []
        for setting in SETTINGS:
            value = getattr(self, setting.name)
            if value is not None and (value != setting.default or setting.default is None):
                shown.append(f"{setting.name}={'***' if setting.secret else repr(value)}")
        return f"Config({', '.join(shown)})"


def _parsed(setting: Setting, label: str, value: Any) -> Any:
    if isinstance(setting.default, str | None) and not isinstance(value, str):
        raise ConfigError(f"{label}: give a text, not {type(value).__name__}")
    try:
        return setting.parse(value)
    except SecretInUrl:
        raise ConfigError(
            f"{label}: holds a user name or password; use api_key, or give an http_client with auth"
        ) from None
    except ValueError as allowed:
        shown = "" if setting.secret else f"={value!r}"
        raise ConfigError(f"{label}{shown}: give {allowed}") from None


def table(prefix: str = "CYCLES_") -> str:
    """Return the settings as a Markdown table: what docs/configuration.md shows."""
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for setting in SETTINGS:
        default = "" if setting.default is None else str(setting.default).lower()
        rows.append(f"| `{prefix}{setting.name.upper()}` | {default} | {setting.meaning} |")
    return "\n".join(rows)
