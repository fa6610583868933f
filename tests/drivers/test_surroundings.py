"""What the environment says about proxies and certificates, and which variable is named when it can't work."""

from __future__ import annotations

import httpx
import pytest

from cycles._drivers import surroundings
from cycles.errors import ConfigError

URL = "https://authority.example"


@pytest.fixture(autouse=True)
def _bare(monkeypatch):
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE"):
        monkeypatch.delenv(name, raising=False)
    for scheme in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{scheme}_proxy", raising=False)
        monkeypatch.delenv(f"{scheme}_proxy".upper(), raising=False)


def opened() -> None:
    surroundings.opened(httpx, httpx.Client, base_url=URL).close()


def broken(**options):
    raise ValueError("odd")


def test_nothing_said_is_good():
    opened()


def test_a_folder_of_certificates_is_looked_for_in_all_that_are_named(monkeypatch, tmp_path):
    empty, good = tmp_path / "empty", tmp_path / "good"
    for folder in (empty, good):
        folder.mkdir()
    (empty / "README").touch()
    (good / "0123abcd.0").touch()
    monkeypatch.setenv("SSL_CERT_DIR", f"{tmp_path / 'gone'}:{empty}:{good}")
    opened()
    monkeypatch.setenv("SSL_CERT_DIR", f"{tmp_path / 'gone'}:{empty}")
    with pytest.raises(ConfigError, match=r"SSL_CERT_DIR=.*no certificate"):
        opened()


def test_what_no_variable_explains_is_said_as_it_is(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")  # a good one
    with pytest.raises(ConfigError, match="no connection can be made: odd"):
        surroundings.opened(httpx, broken, base_url=URL)


def test_what_is_nobodys_setting_comes_out_as_it_is():
    class Odd(Exception):
        pass

    def odd(**options):
        raise Odd

    with pytest.raises(Odd):
        surroundings.opened(httpx, odd, base_url=URL)


def test_certificates_of_the_system_that_can_not_be_read_are_no_variables_fault(monkeypatch):
    def unreadable():
        raise OSError(13, "Permission denied")

    monkeypatch.setattr(httpx, "create_ssl_context", unreadable)
    with pytest.raises(ConfigError, match="no connection can be made: odd"):
        surroundings.opened(httpx, broken, base_url=URL)
