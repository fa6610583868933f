"""Settings: exact, frozen, without secrets, and able to say where they came from."""

from __future__ import annotations

import asyncio
import copy
import pickle
from pathlib import Path

import pytest

import cycles
from cycles.client import DEFAULTS
from cycles.config import SETTINGS, Config

SECRET = "cyc_live_sekret"
URL = "https://cycles.example"
DOCS = Path(__file__).parents[1] / "docs" / "configuration.md"


def test_defaults():
    config = Config(URL, api_key=SECRET)
    assert (config.connect_timeout, config.read_timeout) == (2.0, 5.0)
    assert (config.retry_max_attempts, config.retry_initial_delay, config.retry_max_delay) == (5, 0.5, 30.0)
    assert config.tenant is None
    assert config.sources["api_key"] == "argument"
    assert config.sources["read_timeout"] == "default"


def test_from_env_reads_every_setting():
    given = {
        "CYCLES_BASE_URL": URL + "/prefix/",
        "CYCLES_API_KEY": SECRET,
        "CYCLES_TENANT": "acme",
        "CYCLES_WORKSPACE": "w",
        "CYCLES_APP": "p",
        "CYCLES_WORKFLOW": "f",
        "CYCLES_AGENT": "a",
        "CYCLES_TOOLSET": "t",
        "CYCLES_CONNECT_TIMEOUT": "1.5",
        "CYCLES_READ_TIMEOUT": "7",
        "CYCLES_RETRY_ENABLED": "no",
        "CYCLES_RETRY_MAX_ATTEMPTS": "3",
        "CYCLES_RETRY_INITIAL_DELAY": "0",
        "CYCLES_RETRY_MULTIPLIER": "3",
        "CYCLES_RETRY_MAX_DELAY": "9",
        "CYCLES_RETRY_FLUSH_TIMEOUT": "4",
        "CYCLES_SETTLE_WAIT": "0.5",
        "CYCLES_JOURNAL_ENABLED": "true",
        "CYCLES_JOURNAL_DIR": "/var/lib/agent",
        "CYCLES_JOURNAL_FSYNC": "off",
        "CYCLES_UNAVAILABLE": "Allow",
        "CYCLES_HEARTBEAT": "Cancel",
        "CYCLES_HTTP_ENGINE": "AioHTTP",
    }
    assert set(given) == {f"CYCLES_{setting.name.upper()}" for setting in SETTINGS}
    config = Config.from_env(given)
    assert config == Config(
        URL + "/prefix",
        api_key=SECRET,
        tenant="acme",
        workspace="w",
        app="p",
        workflow="f",
        agent="a",
        toolset="t",
        connect_timeout=1.5,
        read_timeout=7.0,
        retry_enabled=False,
        retry_max_attempts=3,
        retry_initial_delay=0.0,
        retry_multiplier=3.0,
        retry_max_delay=9.0,
        retry_flush_timeout=4.0,
        settle_wait=0.5,
        journal_dir="/var/lib/agent",
        journal_fsync=False,
        unavailable="allow",
        heartbeat="cancel",
        http_engine="aiohttp",
    )
    assert config.sources["app"] == "CYCLES_APP"
    assert config.retry.max_attempts == 1
    assert config.replace(retry_enabled=True).retry.max_attempts == 3


def test_another_prefix_and_empty_values():
    config = Config.from_env({"X_BASE_URL": "local:", "X_TENANT": ""}, prefix="X_")
    assert (config.base_url, config.tenant) == ("local:", None)


def test_without_a_base_url_it_says_what_to_set():
    with pytest.raises(cycles.ConfigError, match=r"CYCLES_BASE_URL is not set.*local:\?usd=1\.00"):
        Config.from_env({})


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("BASE_URL", "cycles.example", "http"),
        ("BASE_URL", "ftp://cycles.example", "http"),
        ("BASE_URL", "https://", "http"),
        ("TENANT", "x" * 129, "1 to 128"),
        ("CONNECT_TIMEOUT", "0", "more than 0"),
        ("CONNECT_TIMEOUT", "soon", "finite number"),
        ("READ_TIMEOUT", "nan", "finite number"),
        ("READ_TIMEOUT", "1e9", "at most 3600"),
        ("RETRY_ENABLED", "maybe", "true or false"),
        ("RETRY_MAX_ATTEMPTS", "0", "1 to 100"),
        ("RETRY_MAX_ATTEMPTS", "2.5", "1 to 100"),
        ("RETRY_INITIAL_DELAY", "-1", "0 to 3600"),
        ("RETRY_MULTIPLIER", "0.5", "1 to 100"),
        ("RETRY_MAX_DELAY", "inf", "finite"),
    ],
)
def test_a_bad_value_names_the_variable_the_value_and_what_is_allowed(name, value, allowed):
    environ = {"CYCLES_BASE_URL": URL, "CYCLES_API_KEY": SECRET, f"CYCLES_{name}": value}
    with pytest.raises(cycles.ConfigError, match=allowed) as caught:
        Config.from_env(environ)
    assert f"CYCLES_{name}={value!r}" in str(caught.value)


def test_arguments_are_named_by_their_own_names():
    with pytest.raises(cycles.ConfigError, match=r"^read_timeout='x'"):
        Config(URL, api_key=SECRET, read_timeout="x")
    with pytest.raises(cycles.ConfigError, match="tenant: give a text, not int"):
        Config(URL, api_key=SECRET, tenant=5)
    with pytest.raises(cycles.ConfigError, match="timeout: no such setting"):
        Config(URL, api_key=SECRET, timeout=5)


def test_a_remote_authority_needs_a_key():
    with pytest.raises(cycles.ConfigError, match="CYCLES_API_KEY"):
        Config(URL)
    assert Config("local:").api_key is None


@pytest.mark.parametrize("bad", ["with space", "line\nbreak", "käse"])
def test_a_bad_key_is_refused_and_not_shown(bad):
    with pytest.raises(cycles.ConfigError) as caught:
        Config.from_env({"CYCLES_BASE_URL": URL, "CYCLES_API_KEY": bad})
    assert "CYCLES_API_KEY" in str(caught.value)
    assert bad not in str(caught.value)
    assert bad not in repr(vars(caught.value))


def test_a_password_in_the_url_is_refused_and_not_shown():
    with pytest.raises(cycles.ConfigError, match="user name and password") as caught:
        Config("https://me:hunter2@cycles.example", api_key=SECRET)
    assert "hunter2" not in str(caught.value)


def test_frozen_comparable_and_picklable():
    config = Config(URL, api_key=SECRET, tenant="acme")
    with pytest.raises(AttributeError, match="frozen"):
        config.tenant = "other"
    with pytest.raises(AttributeError):
        del config.tenant
    other = config.replace(tenant="other")
    assert (config.tenant, other.tenant) == ("acme", "other")
    assert other != config
    again = pickle.loads(pickle.dumps(config))
    assert again == config
    assert hash(again) == hash(config)
    assert again.sources == config.sources


def test_a_pickle_leaves_out_the_key_that_its_reader_has(monkeypatch):
    """A key from a variable is read again where the pickle is loaded; `local:` needs none."""
    monkeypatch.setenv("MY_API_KEY", SECRET)
    config = Config.from_env({"MY_BASE_URL": URL, "MY_API_KEY": SECRET}, prefix="MY_")
    pickled = pickle.dumps(config)
    assert SECRET.encode() not in pickled
    assert pickle.loads(pickled) == config
    monkeypatch.setenv("MY_API_KEY", "another")
    assert pickle.loads(pickled).api_key == "another"
    monkeypatch.delenv("MY_API_KEY")
    with pytest.raises(cycles.ConfigError, match="set MY_API_KEY"):
        pickle.loads(pickled)
    local = Config("local:", api_key=SECRET)
    assert SECRET.encode() not in pickle.dumps(local)
    assert pickle.loads(pickle.dumps(local)) == local.replace(api_key=None)


@pytest.mark.parametrize("made", [copy.copy, copy.deepcopy])
def test_a_copy_is_the_same_for_it_is_frozen(made):
    config = Config(URL, api_key=SECRET)
    assert made(config) is config


def test_the_key_is_not_in_the_repr():
    assert SECRET not in repr(Config(URL, api_key=SECRET, tenant="acme"))
    assert "acme" in repr(Config(URL, api_key=SECRET, tenant="acme"))


def test_the_documented_table_is_the_codes():
    """docs/configuration.md lists every setting as the code has it; paste what `table()` returns."""
    from cycles.config import table  # noqa: PLC0415

    assert table() in DOCS.read_text("utf-8")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"base_url": "http://h:99999"}, "base_url='http://h:99999': give an http:// or https:// URL"),
        ({"base_url": "http://h:abc"}, "base_url='http://h:abc': give an http:// or https:// URL"),
        ({"base_url": "http://[::1"}, r"base_url='http://\[::1': give an http:// or https:// URL"),
        ({"base_url": "http://h\\x"}, "without white space, control characters and backslashes"),
        ({"base_url": "http://h/\x7f"}, "without white space, control characters and backslashes"),
        ({"base_url": "http://h\u00a0"}, "without white space, control characters and backslashes"),
        ({"base_url": "http://\ud800.example"}, "without white space, control characters and backslashes"),
        ({"base_url": "http://h?"}, "without query and fragment"),
        ({"base_url": "http://h#"}, "without query and fragment"),
        ({"base_url": "http://256.1.1.1"}, "base_url='http://256.1.1.1': give a URL with a host"),
        ({"base_url": "local:a\nb"}, "without white space around it, and without line ends"),
        ({"base_url": "local:a\0"}, "without white space around it, and without line ends"),
        ({"journal_dir": "a\n"}, "journal_dir='a.n': give a path without white space around it"),
        ({"journal_dir": " "}, "journal_dir=' ': give the path of a directory"),
        ({"tenant": "\udcff"}, "tenant='.udcff': give 1 to 128 letters, digits"),
        ({"tenant": "acme\n"}, "tenant='acme.n': give a name without white space around it"),
        ({"agent": "\u00a0planner"}, "agent='.xa0planner': give a name without white space around it"),
        ({"app": "a\tb"}, "app='a.tb': give a name without white space around it"),
        ({"workspace": "zoë@example.com"}, r"workspace='zoë@example.com': give 1 to 128 letters.*cycles.level"),
        ({"connect_timeout": 10**400}, "connect_timeout=1000.*give a finite number"),
        ({"unavailable": "maybe"}, "unavailable=.maybe.: give deny or allow"),
        ({"heartbeat": "maybe"}, "heartbeat=.maybe.: give warn"),
    ],
)
def test_what_no_client_could_use_is_refused_at_once(settings, message):
    with pytest.raises(cycles.ConfigError, match=message):
        cycles.Config(**{"base_url": "http://h", "api_key": "k", **settings})


def test_a_password_in_a_malformed_url_is_not_repeated():
    with pytest.raises(cycles.ConfigError) as caught:
        cycles.Config("http://user:sekret@[::1", api_key="k")
    assert "sekret" not in str(caught.value)


def test_the_missing_key_is_named_with_its_prefix():
    with pytest.raises(cycles.ConfigError, match="set ACME_API_KEY"):
        cycles.Config.from_env({"ACME_BASE_URL": "http://h"}, prefix="ACME_")


@pytest.mark.parametrize(
    "url",
    [
        f"https://cycles.example/{SECRET}?x",
        f"https://cycles.example?key={SECRET}",
        f"https://cycles.example#{SECRET}",
        f"https://{SECRET}@cycles.example",
        f"https://me:{SECRET}@cycles.example:99999",
        f"https://cycles.example/{SECRET} ",
        f"cycles.example/{SECRET}",
        f"me:{SECRET}@cycles.example",
        f"https://256.1.1.1/{SECRET}",
        f"ftp://cycles.example\\{SECRET}",
    ],
)
def test_no_error_shows_what_may_be_a_secret_in_a_url(url):
    with pytest.raises(cycles.ConfigError, match=r"^CYCLES_BASE_URL=") as caught:
        Config.from_env({"CYCLES_BASE_URL": url, "CYCLES_API_KEY": "k"}) if " " not in url else Config._made(
            {"base_url": url, "api_key": "k"}, {"base_url": "CYCLES_BASE_URL"}
        )
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(vars(caught.value))


def test_the_path_of_a_url_without_a_key_is_not_shown():
    with pytest.raises(cycles.ConfigError, match=r"no API key for 'https://cycles\.example/…'") as caught:
        Config(f"https://cycles.example/{SECRET}")
    assert SECRET not in str(caught.value)


def test_what_comes_from_a_file_or_a_secret_may_end_with_a_line_end():
    environ = {
        "CYCLES_BASE_URL": f" {URL}\r\n",
        "CYCLES_API_KEY": f"{SECRET}\n",
        "CYCLES_TENANT": "acme \n",
        "CYCLES_APP": "\n",
    }
    config = Config.from_env(environ)
    assert (config.base_url, config.api_key, config.tenant, config.app) == (URL, SECRET, "acme", None)


# -- paths -------------------------------------------------------------------------------------------------------------
@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path


@pytest.mark.parametrize("environ", [True, False])
def test_relative_paths_are_made_absolute_once(here, monkeypatch, environ):
    """Whatever the working directory is later: for copies, and in another process that starts elsewhere."""
    settings = {"base_url": "local:data/../ledger.db?tokens=5", "journal_dir": "~/journal"}
    if environ:
        config = Config.from_env({f"CYCLES_{name.upper()}": value for name, value in settings.items()})
    else:
        config = Config(**settings)
    assert config.base_url == f"local:{here}/ledger.db?tokens=5"
    assert config.journal_dir == f"{here}/home/journal"
    (here / "elsewhere").mkdir()
    monkeypatch.chdir(here / "elsewhere")
    monkeypatch.setenv("HOME", "/nowhere")
    assert pickle.loads(pickle.dumps(config)) == config.replace(tenant="other").replace(tenant=None) == config
    assert config != config.replace(base_url="local:ledger.db?tokens=5")


def test_clients_twins_and_siblings_use_one_ledger_wherever_the_program_goes(here, monkeypatch):
    config = Config("local:ledger.db?tokens=10", tenant="acme", journal_dir="journal")
    spend = cycles.Guard(cycles.tokens(4), action=("llm.completion", "gpt-4o"))
    with DEFAULTS.set_aside(), cycles.Client(config) as client:
        cycles.configure(client)
        spend(lambda: None)()
        (here / "elsewhere").mkdir()
        monkeypatch.chdir(here / "elsewhere")

        @spend
        async def twin():
            return None

        asyncio.run(twin())
        sibling = client.with_options(agent="other")
        again = cycles.Client(pickle.loads(pickle.dumps(config)))
        with pytest.raises(cycles.BudgetExceeded):
            sibling.reserve(cycles.tokens(4), action=("llm.completion", "gpt-4o"))
        assert next(again.balances()).remaining.amount == 2
    assert sorted(path.name for path in here.iterdir() if not path.name.startswith("ledger.db-")) == [
        "elsewhere",
        "journal",
        "ledger.db",
    ]
    assert not list((here / "elsewhere").iterdir())


def test_memory_and_urls_have_no_path(here):
    assert Config("local:?usd=1").base_url == "local:?usd=1"
    assert Config("local:").is_in_memory


@pytest.mark.parametrize("home", ["", None])
@pytest.mark.parametrize(
    "settings", [{"journal_dir": "~/j"}, {"base_url": "local:~/x.db"}, {"base_url": "local:~nobody-of-this-name/x"}]
)
def test_without_a_home_the_setting_is_named(monkeypatch, settings, home):
    given = {"base_url": "local:", **settings}
    if home is None:
        monkeypatch.delenv("HOME")
        monkeypatch.setattr("os.path.expanduser", lambda path: path)  # of a user whom the system does not know
    else:
        monkeypatch.setenv("HOME", home)
    with pytest.raises(cycles.ConfigError, match=r"no home directory.*give an absolute path") as caught:
        Config(**given)
    assert str(caught.value).startswith(f"{next(iter(settings))}=")


def test_without_a_home_the_default_journal_is_a_config_error(monkeypatch):
    def homeless(*_, **__):
        raise RuntimeError("no home")

    monkeypatch.setattr("platformdirs.user_state_path", homeless)
    with pytest.raises(cycles.ConfigError, match="set CYCLES_JOURNAL_DIR"):
        cycles.Client(Config(URL, api_key="k", tenant="acme"))
    monkeypatch.setattr("platformdirs.user_state_path", lambda *_, **__: Path("state/cycles"))
    with pytest.raises(cycles.ConfigError, match="set CYCLES_JOURNAL_DIR"):
        cycles.Client(Config(URL, api_key="k", tenant="acme"))
    cycles.Client(Config(URL, api_key="k", tenant="acme", journal_enabled=False)).close()


def test_a_folder_that_can_not_be_written_in_a_url_is_refused(here, monkeypatch):
    (here / "what?").mkdir()
    monkeypatch.chdir(here / "what?")
    with pytest.raises(cycles.ConfigError, match=r"has a '\?' in its name"):
        Config("local:ledger.db")


def test_without_a_working_directory_a_relative_path_is_refused(here, monkeypatch):
    (here / "gone").mkdir()
    monkeypatch.chdir(here / "gone")
    (here / "gone").rmdir()
    with pytest.raises(cycles.ConfigError, match=r"journal_dir='j': can't be made absolute"):
        Config("local:", journal_dir="j")
    monkeypatch.chdir(here)
