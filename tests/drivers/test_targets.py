"""The quick way to a request's address leads to the one that the library itself finds."""

from __future__ import annotations

import types
from urllib.parse import quote

import httpx
import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cycles._drivers.targets import Targets

BASES = ("http://127.0.0.1", "https://acme.example:8443/budgets/", "http://[::1]:7878/a%20b", "http://bücher.example/")


@pytest.mark.parametrize("http", [httpx, httpx2], ids=lambda module: module.__name__)
@given(base=st.sampled_from(BASES), words=st.lists(st.text(min_size=1), min_size=1, max_size=4))
def test_an_address_is_what_the_library_makes_of_it(http, base, words):
    path = "".join(f"/{quote(word, safe='')}" for word in words)
    url = http.URL(base)
    made, parsed = Targets(url).at(path), url.copy_with(raw_path=url.raw_path.rstrip(b"/") + path.encode())
    assert type(made) is http.URL
    assert vars(made) == vars(parsed)
    assert str(made) == str(parsed)


@pytest.mark.parametrize("http", [httpx, httpx2], ids=lambda module: module.__name__)
def test_plain_words_are_not_parsed(http, monkeypatch):
    targets = Targets(http.URL("http://127.0.0.1:7878"))
    monkeypatch.delattr(http.URL, "copy_with")
    assert targets.at("/v1/reservations/r-1/commit").raw_path == b"/v1/reservations/r-1/commit"


@pytest.mark.parametrize("path", ["/v1/../admin", "/v1/./x", "/.", "/v1/a%2Fb", "/v1/list?limit=1", "/v1/"])
def test_what_means_more_than_its_characters_is_parsed(path):
    url = httpx.URL("http://127.0.0.1:7878")
    assert vars(Targets(url).at(path)) == vars(url.copy_with(raw_path=path.encode()))


class Other:
    """A URL of a library that keeps something else of it than this one knows."""

    def __init__(self, kept, path=b"/"):
        self._uri_reference, self.raw_path = kept, path

    def copy_with(self, *, raw_path):
        return Other(self._uri_reference, raw_path)


@pytest.mark.parametrize(
    "kept",
    [None, "http://acme.example/", types.SimpleNamespace(_replace=lambda **_: "the quick way's")],
    ids=["nothing", "a text", "other parts"],
)
def test_a_library_that_keeps_something_else_is_asked(kept):
    found = Targets(Other(kept)).at("/v1/balances")
    assert found.raw_path == b"/v1/balances"
    assert found._uri_reference == kept
