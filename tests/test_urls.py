"""PostgreSQL's URLs as they may be shown: nothing of the password is left, however it was written."""

from __future__ import annotations

import pytest

import cycles
from cycles._journal.partitions import partition_of, server_of
from cycles._outside.urls import database_of, is_postgres, local_name, without_password
from cycles.errors import ConfigError


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://h/db", "postgresql://h/db"),
        ("postgres://u@h:5433/db?sslmode=require", "postgres://u@h:5433/db?sslmode=require"),
        ("postgresql://u:SECRET@h:5/db?sslmode=require", "postgresql://u@h:5/db?sslmode=require"),
        ("postgresql://u:SEC@RET@h/db", "postgresql://u@h/db"),
        ("postgresql://u:SEC:RET@h1:1,h2:2/db", "postgresql://u@h1:1,h2:2/db"),
        ("postgresql://u:SEC/RET@h/db", "postgresql://u@h/db"),
        ("postgresql://u:SEC?RET#SECRET@h/db", "postgresql://u@h/db"),
        ("postgresql:///db?host=/tmp&password=SECRET&a=1", "postgresql:///db?host=/tmp&a=1"),
        ("postgresql:///db?PASSWORD=SECRET", "postgresql:///db"),
        ("postgresql://h/db?password=SEC@RET", "postgresql://…"),
        ("postgresql://:SECRET@h/db", "postgresql://@h/db"),
        ("postgresql://", "postgresql://"),
    ],
)
def test_what_is_shown(url, shown):
    assert without_password(url) == shown
    assert local_name(f"local:{url}") == f"local:{shown}"
    config = cycles.Config(f"local:{url}")
    for text in (repr(config), server_of(config.base_url)):
        assert "SEC" not in text
        assert "RET" not in text


def test_other_names_stay_as_they_are():
    assert local_name("local:ledger.db?usd=1") == "local:ledger.db?usd=1"
    assert local_name("https://h/") == "https://h/"
    assert not is_postgres("postgresql.db")


def test_a_journal_belongs_to_the_database_whatever_the_password_and_the_options():
    one = "local:postgresql://u:one@h/db?host=/tmp&sslmode=require&usd=1.00"
    other = "local:postgresql://u:two@h/db?usd=2.00&host=/tmp"
    assert database_of(one.removeprefix("local:")) == "postgresql://u@h/db?host=/tmp"
    assert partition_of(one, "acme", None) == partition_of(other, "acme", None)
    assert partition_of(one, "acme", None) != partition_of(one.replace("/db", "/other"), "acme", None)


def test_an_error_about_the_setting_shows_no_password():
    with pytest.raises(ConfigError, match="postgresql://u@h/db") as caught:
        cycles.Config("local:postgresql://u:SECRET@h/db\n")
    assert "SECRET" not in str(caught.value)
