"""URLs that no request can be sent to are known before the first one."""

from __future__ import annotations

import pytest

from cycles._drivers.addresses import refusal_of


@pytest.mark.parametrize(
    "host",
    [
        "cycles.example",
        "CYCLES.example.",
        "localhost:8080",
        "a_b.example",
        "b\u00fccher.example",
        "xn--bcher-kva.example",
        "127.0.0.1",
        "127.1",
        "[::1]:80",
        "[fe80::1%eth0]",
    ],
)
def test_a_name_or_an_address_is_good(host):
    assert refusal_of(f"http://{host}/path") is None


@pytest.mark.parametrize(
    "host",
    [
        "256.1.1.1",
        "1.2.3.4.5",
        "a..b",
        ".example",
        "xn--",
        "\u2603.net",
        "ex\u200bample.com",
        "*.example",
        "ex%41mple.com",
        "a" * 64 + ".example",
        "a." * 127 + "example",
        "[::1",
        "[::zz]",
    ],
)
def test_no_host_is_refused(host):
    assert "a host that has a name" in refusal_of(f"http://{host}/path")


def test_the_zone_of_an_address_is_written_as_it_is():
    assert "%eth0" in refusal_of("http://[fe80::1%25eth0]")
