"""A real browser for tests of the page: how it is started, its tabs, and what can be read in them."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from importlib.util import find_spec

import httpx
import pytest

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DESK, PHONE = {"width": 1280, "height": 800}, {"width": 360, "height": 740}

CONTRAST = """() => {
  const part = (c) => { c /= 255; return c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4; };
  const parse = (text) => text.match(/[0-9.]+/g).map(Number);
  const light = ([r, g, b]) => .2126 * part(r) + .7152 * part(g) + .0722 * part(b);
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const found = parse(getComputedStyle(node).backgroundColor);
      if (found.length < 4 || found[3] > 0) return found;
    }
  };
  const bad = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    if (!own || !node.checkVisibility()) continue;
    const [a, b] = [light(parse(getComputedStyle(node).color)), light(ground(node))];
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) bad.push([node.className || node.id || node.tagName, ratio.toFixed(2)]);
  }
  return bad;
}"""
"""Returns what is there to be read with less contrast than 4.5 to 1."""


def chromium() -> str:
    """Return where it is; skip the test where it is not wanted."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    missing = "no chromium: apt-get install chromium" if found is None else ""
    if find_spec("playwright") is None:
        missing = "no playwright: it is in the dependency group `page`"
    if os.environ.get("CYCLES_PAGE") != "1":
        pytest.skip(missing or "a browser is started by `nox -s page` only")
    if missing:
        pytest.fail(missing)
    return found or ""


class World:
    """An authority on loopback with one tenant, its wire, and tabs that look at it."""

    def __init__(self, browser, authority, url):
        self.browser, self.authority, self.url = browser, authority, url
        self.secret = authority.key(tenant="acme")
        self.http = httpx.Client(base_url=url, headers={"X-Cycles-API-Key": self.secret})
        self.troubles = []
        self.made = 0

    @contextmanager
    def tab(self, *, key=None, viewport=None, **options):
        context = self.browser.new_context(viewport=viewport or DESK, locale="en-GB", **options)
        tab = context.new_page()
        tab.set_default_timeout(8_000)
        tab.on("pageerror", lambda error: self.troubles.append(str(error)))
        tab.on("console", lambda said: self.troubles.append(said.text) if "Content Security" in said.text else None)
        tab.on("dialog", lambda dialog: self.troubles.append("a dialog"))
        tab.asked = []
        tab.on("request", lambda request: tab.asked.append((request.url, request.headers)))
        try:
            tab.goto(f"{self.url}/")
            if key:
                enter(tab, key)
                tab.locator("#shown").wait_for()
            yield tab
        finally:
            context.close()

    def reserve(self, amount, unit="USD_MICROCENTS", *, path="/v1/reservations", subject=None, **fields):
        self.made += 1
        ask = {
            "idempotency_key": f"key-{self.made}",
            "subject": subject or {"tenant": "acme"},
            "action": {"kind": "llm.completion", "name": "gpt-4o"},
            "estimate": {"unit": unit, "amount": amount},
        }
        return self.http.post(path, json=ask | fields)

    def record(self, amount, unit):
        self.made += 1
        body = {
            "idempotency_key": f"key-{self.made}",
            "subject": {"tenant": "acme"},
            "action": {"kind": "tool.search", "name": "web"},
            "actual": {"unit": unit, "amount": amount},
        }
        return self.http.post("/v1/events", json=body)


def enter(tab, key):
    tab.get_by_label("API key").fill(key)
    tab.get_by_role("button", name="Show").click()


def says(tab, selector, text):
    """Wait until an element says *text*."""
    tab.wait_for_function(
        "([selector, text]) => document.querySelector(selector)?.textContent.includes(text)", arg=[selector, text]
    )
    return True
