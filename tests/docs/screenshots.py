"""Makes the screenshots in docs/images/: the page of `cycles serve`, and the site of docs/ on a desk and on a phone.

`nox -s recordings` writes them, with Debian's chromium. The authority and the browser have the same clock, which stands
still but for what this module moves it by. A page that asks another host than the one that serves it is an error.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from shutil import which
from threading import Thread
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from playwright.sync_api import sync_playwright

import cycles
from cycles import tokens, usd
from cycles.local import LocalAuthority, ManualClock
from cycles.local.server import serve
from tests.docs.pages import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

IMAGES: Final = ROOT / "docs" / "images"
NOON: Final = datetime(2026, 1, 31, 12, tzinfo=UTC)
MODEL, TOOL = ("llm.completion", "gpt-4o"), ("tool.search", "web")
ARGUMENTS: Final = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
PAGE, DESK, PHONE = {"width": 1000, "height": 800}, {"width": 1280, "height": 800}, {"width": 390, "height": 760}


@contextmanager
def looking(browser: Browser, url: str, now: datetime, **options: Any) -> Iterator[Page]:
    """Look at *url* in a tab of its own, whose clock stands at *now*.

    Raises:
        RuntimeError: something was asked of another host.
    """
    with browser.new_context(locale="en-GB", timezone_id="UTC", reduced_motion="reduce", **options) as context:
        tab, asked = context.new_page(), list[str]()
        tab.on("request", lambda request: asked.append(request.url))
        tab.clock.install(time=now - timedelta(seconds=1))
        tab.clock.pause_at(now)
        tab.goto(url)
        yield tab
        tab.wait_for_load_state()
        host = urlsplit(url).netloc
        if elsewhere := [one for one in asked if urlsplit(one).scheme in {"http", "https"} and host not in one]:
            raise RuntimeError(f"{url} asks {elsewhere}")


def spend(authority: LocalAuthority, clock: ManualClock) -> None:
    """Let a tenant have spent, be spending, and have been denied."""
    authority.budget("tenant:acme", usd("10.00"))
    authority.budget("tenant:acme", tokens(500_000))
    authority.budget("tenant:acme/agent:planner", usd("2.00"))
    with authority.client(tenant="acme") as client:
        for count in range(8):
            held = client.reserve(usd("0.12"), action=MODEL, agent="planner")
            held.commit(usd("0.0642") if count % 3 == 0 else usd("0.11"))
            clock.advance(75)
            client.record(tokens(3_100 + count), action=TOOL)
        kept = [client.reserve(usd("0.05"), action=MODEL, agent="planner", ttl=120) for _ in range(2)]
        for _ in range(3):
            try:
                client.reserve(usd("3.00"), action=("llm.completion", "o3"), agent="planner")
            except cycles.BudgetExceeded:
                clock.advance(3)
        shoot_page(authority, clock)
        for held in kept:
            held.release()


def shoot_page(authority: LocalAuthority, clock: ManualClock) -> None:
    """Write what the page of `cycles serve` shows now."""
    now = datetime.fromtimestamp(clock() / 1000, UTC)
    with (
        serve(authority) as url,
        chromium() as browser,
        looking(browser, f"{url}/", now, viewport=PAGE, color_scheme="light") as tab,
    ):
        tab.get_by_label("API key").fill(authority.key(tenant="acme"))
        tab.get_by_role("button", name="Show").click()
        tab.get_by_text("There is too little left").wait_for()
        write("page", tab.screenshot(full_page=True))


def shoot_site(folder: Path) -> None:
    """Write what the site in *folder* looks like on a desk, and in the dark on a phone."""
    handler = partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, chromium() as browser:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/"
        with looking(browser, url, NOON, viewport=DESK, color_scheme="light") as tab:
            write("site", tab.screenshot())
        with looking(browser, f"{url}tutorial/", NOON, viewport=PHONE, color_scheme="dark") as tab:
            write("site-phone", tab.screenshot())
        server.shutdown()


class Quiet(SimpleHTTPRequestHandler):
    """Serves files, and logs nothing."""

    def log_message(self, *args: Any) -> None:
        """Log nothing."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start Debian's chromium."""
    path = which("chromium") or which("chromium-browser")
    if path is None:
        sys.exit("no chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, headless=True, args=list(ARGUMENTS))
        yield browser
        browser.close()


def write(name: str, image: bytes) -> None:
    """Write an *image*, and say whether it has changed."""
    file = IMAGES / f"{name}.png"
    before = file.read_bytes() if file.exists() else b""
    file.write_bytes(image)
    sys.stdout.write(f"{file}: {'as before' if image == before else 'written'}\n")


def main() -> None:
    """Write the screenshots; the site must have been built."""
    IMAGES.mkdir(exist_ok=True)
    clock = ManualClock(NOON - timedelta(minutes=10))
    with LocalAuthority(clock=clock) as authority:
        spend(authority, clock)
    shoot_site(ROOT / "site")


if __name__ == "__main__":
    main()
