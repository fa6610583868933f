"""The table of settings: name, default and meaning of each, and the parser that says what it accepts."""

from __future__ import annotations

import math
import re
import unicodedata
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

from cycles._core.requests import LEVELS, is_level
from cycles._outside.urls import local_name
from cycles.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LOCAL_SCHEME: Final = "local:"

_END_OF_HOST: Final = re.compile(r"[/?#\\\s]")

_UNSEEN: Final = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
"""Unicode categories of characters that nobody sees, and that no name can hold: controls, formats, surrogates."""

_FLAGS: Final[dict[str, bool]] = {
    **dict.fromkeys(("true", "1", "yes", "on"), True),
    **dict.fromkeys(("false", "0", "no", "off"), False),
}


def _base_url(value: str) -> str:
    if value.startswith(LOCAL_SCHEME):
        return _path(value)
    if any(letter.isspace() or unicodedata.category(letter) in _UNSEEN or letter == "\\" for letter in value):
        raise ValueError("a URL without white space, control characters and backslashes")
    allowed = 'an http:// or https:// URL, or "local:" for an authority inside this process'
    try:
        parts = urlsplit(value)
        is_whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # unbalanced brackets, or an impossible port
        raise ValueError(allowed) from None
    if not is_whole:
        raise ValueError(allowed)
    if parts.username is not None or parts.password is not None:
        raise ValueError("a URL without user name and password; use api_key, or give an http_client with auth")
    if "?" in value or "#" in value:
        raise ValueError("a URL without query and fragment")
    return value.rstrip("/")


def shown_url(value: str) -> str:
    """Return what a message may show of a URL: not its path, query and user, for a key may be in any of them."""
    if value.startswith(LOCAL_SCHEME):
        return repr(local_name(value))
    scheme, slashes, rest = value.partition("://")
    host = _END_OF_HOST.split(rest if slashes else value, maxsplit=1)[0]
    if "@" in value:
        return repr(f"{scheme}{slashes}…") if slashes else "'…'"
    whole = f"{scheme}{slashes}{host}" if slashes else host
    return repr(value) if not value[len(whole) :].strip("/") else repr(f"{whole}/…")


def _key(value: str) -> str:
    if not value or not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("printable ASCII without spaces and line ends, as the authority issued it")
    return value


def _level(value: str) -> str:
    if value != value.strip() or any(unicodedata.category(letter) == "Cc" for letter in value):
        raise ValueError("a name without white space around it, and without line ends and other control characters")
    if not is_level(value):
        raise ValueError("1 to 128 letters, digits, '_', '.' and '-' (cycles.level makes that of any text)")
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
    try:
        return _FLAGS[str(value).strip().lower()]
    except KeyError:
        raise ValueError("true or false") from None


def _one_of(*words: str) -> Callable[[Any], str]:
    """Return the parser of a setting that is one of these *words*."""
    allowed = f"{', '.join(words[:-1])} or {words[-1]}"

    def parse(value: Any) -> str:
        word = str(value).strip().lower()
        if word not in words:
            raise ValueError(allowed)
        return word

    return parse


def _directory(value: str) -> str:
    if not value.strip():
        raise ValueError("the path of a directory")
    return _path(value)


def _path(value: str) -> str:
    if value != value.strip() or any(unicodedata.category(letter) == "Cc" for letter in value):
        raise ValueError("a path without white space around it, and without line ends and other control characters")
    return value


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}…"


class Setting(NamedTuple):
    """One setting.

    Attributes:
        name: The attribute of a Config; in upper case, after the prefix, the variable.
        parse: Returns the checked value, or raises a ValueError that says what is allowed.
        default: The value when nothing sets it.
        meaning: What docs/configuration.md says about it.
        secret: Whether no error and no repr may show its value.
        show: Returns what an error may show of a value.
    """

    name: str
    parse: Callable[[Any], Any]
    default: Any
    meaning: str
    secret: bool = False
    show: Callable[[Any], str] = _shown


SETTINGS: Final = (
    Setting(
        "base_url",
        _base_url,
        None,
        "Where the authority is: an http(s) URL, `local:` (inside this process, in memory) or `local:PATH` "
        "(a SQLite file shared by this machine's processes; a relative path is made absolute at once). Required.",
        show=shown_url,
    ),
    Setting("api_key", _key, None, "API key; optional with `local:`.", secret=True),
    *(Setting(level, _level, None, f"The subject's {level}, unless a call names another.") for level in LEVELS),
    Setting("connect_timeout", _seconds, 2.0, "Seconds to wait for a connection."),
    Setting("read_timeout", _seconds, 5.0, "Seconds to wait for each part of an answer."),
    Setting(
        "retry_enabled",
        _flag,
        default=True,
        meaning="Whether settlements are sent again after trouble (a reserve is, once).",
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
        "settle_wait",
        _delay,
        2.0,
        "Seconds that the end of a section, a commit and a release wait for the authority at most; then the background "
        "goes on.",
    ),
    Setting(
        "journal_enabled",
        _flag,
        default=True,
        meaning="Whether spend that is not settled yet is kept on disk. `local:` (in memory) has no journal.",
    ),
    Setting(
        "journal_dir",
        _directory,
        None,
        "Where the journal is; the user's state directory unless set. A relative path is made absolute at once. "
        "Programs may share it.",
    ),
    Setting(
        "journal_fsync",
        _flag,
        default=True,
        meaning="Whether the journal survives a crash of the machine, and not only one of the program.",
    ),
    Setting(
        "unavailable",
        _one_of("deny", "allow"),
        "deny",
        "What a reserve does when the authority can't be reached: `deny` (`AuthorityUnavailable` is raised) or `allow` "
        "(the section runs without a hold, and its spend is charged when the authority is back; needs the journal).",
    ),
    Setting(
        "heartbeat",
        _one_of("warn", "fail_on_finalize", "cancel"),
        "warn",
        "What a lost lease does to its section: `warn` (a log line and `reservation.state`), `fail_on_finalize` "
        "(`LeaseLost` is raised after the spend is settled) or `cancel` (an asyncio section is cancelled; a sync one "
        "has `LeaseLost` raised at its next call on the reservation).",
    ),
    Setting(
        "http_engine",
        _one_of("httpx", "httpx2", "aiohttp"),
        "httpx",
        "What sends: `httpx`; `httpx2` (the extra of this name), its maintained fork, which many tasks at once do not "
        "make slower; or `aiohttp` (the extra `fast`), faster still for an AsyncClient under asyncio, with httpx "
        "elsewhere. An http_client of your own is not affected.",
    ),
)

BY_NAME: Final = {setting.name: setting for setting in SETTINGS}


def values_of(given: Mapping[str, Any], sources: Mapping[str, str]) -> dict[str, Any]:
    """Return the checked value of every setting; None in *given* counts as not given.

    Args:
        given: Values by the settings' names.
        sources: Where they came from: "argument", or a variable's name, which messages then use.

    Raises:
        ConfigError: naming the setting, its value (unless secret) and what is allowed.
    """
    unknown = sorted(set(given) - set(BY_NAME))
    if unknown:
        raise ConfigError(f"{unknown[0]}: no such setting; there are {', '.join(BY_NAME)}")
    values = {}
    for setting in SETTINGS:
        value = given.get(setting.name)
        label = label_of(setting.name, sources.get(setting.name, "default"))
        values[setting.name] = setting.default if value is None else _parsed(setting, label, value)
    return values


def label_of(name: str, source: str) -> str:
    """Return what a message calls a setting: the variable that set it, else its *name*."""
    return name if source in ("argument", "default") else source


def _parsed(setting: Setting, label: str, value: Any) -> Any:
    if isinstance(setting.default, str | None) and not isinstance(value, str):
        raise ConfigError(f"{label}: give a text, not {type(value).__name__}")
    try:
        return setting.parse(value)
    except ValueError as allowed:
        shown = "" if setting.secret else f"={setting.show(value)}"
        raise ConfigError(f"{label}{shown}: give {allowed}") from None
