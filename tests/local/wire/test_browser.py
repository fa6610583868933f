"""The page in a real browser: Debian's chromium, headless. `nox -s page` installs what it takes, and needs it.

The ordinary tests skip this; with CYCLES_PAGE=1 a missing browser is a failure.
"""

from __future__ import annotations

from urllib.parse import quote

import pytest

from cycles import tokens, usd
from cycles.local import LocalAuthority
from cycles.local.wire.server import serve

from .browser import ARGUMENTS, CONTRAST, DESK, PHONE, World, chromium, enter, says

ADMIN_KEY = "admin-of-the-page"
NASTY = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"


@pytest.fixture(scope="module")
def browser():
    path = chromium()
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - not there in the ordinary tests

    with sync_playwright() as playwright:  # with a new, empty profile
        started = playwright.chromium.launch(executable_path=path, headless=True, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture
def world(browser):
    with LocalAuthority(admin_key=ADMIN_KEY) as authority, serve(authority) as url:
        made = World(browser, authority, url)
        with made.http:
            yield made
        assert made.troubles == []


def test_figures_are_shown_and_refreshed(world):
    world.authority.budget("tenant:acme", usd("1.00"))
    with world.tab(key=world.secret) as tab:
        assert says(tab, "#budgets", "$1.00left of $1.00")
        assert says(tab, "#reservations-empty", "Nothing is reserved")
        held = world.reserve(25_000_001, ttl_ms=60_000).json()
        assert says(tab, "#budgets", "$0.74999999left of $1.00")
        assert says(tab, "#reservations", "gpt-4o llm.completion")
        widths = tab.evaluate("['s', 'r'].map((name) => document.querySelector('.bar .' + name).style.width)")
        assert widths == ["0%", "25%"]
        spent = {"idempotency_key": "c", "actual": {"unit": "USD_MICROCENTS", "amount": 10_000_000}}
        world.http.post(f"/v1/reservations/{held['reservation_id']}/commit", json=spent)
        assert says(tab, "#budgets .figures .s", "$0.10")
        assert tab.locator("#reservations li").count() == 0
        world.reserve(91_000_000)
        assert says(tab, "#denials", "There is too little left: $0.90 · tenant:acme")
        assert says(tab, "#denials .sum", "$0.91")
        assert says(tab, "#tenant", "acme")


def test_what_was_charged_lately(world):
    world.authority.budget("tenant:acme", usd("1.00"))
    world.authority.budget("tenant:acme", tokens(1_000))
    held = world.reserve(25_000_000, ttl_ms=60_000).json()
    spent = {"idempotency_key": "c", "actual": {"unit": "USD_MICROCENTS", "amount": 10_000_000}}
    for _ in range(2):  # the second one is a replay
        world.http.post(f"/v1/reservations/{held['reservation_id']}/commit", json=spent)
    world.record(7, "TOKENS")
    with world.tab(key=world.secret) as tab:
        assert says(tab, "#totals tr:first-child", "web tool.search7 tokens7 tokens")
        assert says(tab, "#totals tr:last-child", "gpt-4o llm.completion$0.10$0.10")
        assert tab.locator("#charges li").count() == 2
        assert says(tab, "#charges li:first-child", "web tool.search, without a reservation")
        assert says(tab, "#budgets .hour", "last hour")
        bars = tab.locator("#budgets li", has_text="$").locator("svg rect")
        assert bars.count() == 1
        assert tab.get_by_role("img", name="in steps of two minutes: $0.10").is_visible()
        world.record(9_000_000, "USD_MICROCENTS")
        assert says(tab, "#totals tr:first-child", "web tool.search$0.09$0.09")


def test_equal_denials_are_one_line(world):
    world.authority.budget("tenant:acme", usd("1.00"))
    for _ in range(3):
        world.reserve(200_000_000)
    with world.tab(key=world.secret) as tab:
        assert says(tab, "#denials .when", "\N{MULTIPLICATION SIGN}3, ")
        assert tab.locator("#denials li").count() == 1
        world.reserve(200_000_000)
        assert says(tab, "#denials .when", "\N{MULTIPLICATION SIGN}4, ")


def test_a_link_with_a_key_works_and_leaves_no_trace(world):
    world.authority.budget("tenant:acme", usd("1.00"))
    with world.tab() as tab:
        tab.goto("about:blank")
        tab.goto(f"{world.url}/#key={quote(world.secret, safe='')}")
        assert says(tab, "#budgets", "$1.00left of $1.00")
        assert tab.evaluate("location.href") == f"{world.url}/"
        assert all(world.secret not in url.partition("#")[0] for url, _ in tab.asked)
        tab.reload()
        assert says(tab, "#budgets", "$1.00")
        tab.goto("about:blank")
        tab.goto(f"{world.url}/#key=of%20nobody")
        assert says(tab, "#budgets", "$1.00"), "the tab's own key is kept when the link has none that could be one"


def test_a_link_is_good_once(world):
    world.authority.budget("tenant:acme", usd("1.00"))
    link = f"{world.url}/#once={world.authority.app.links.token('acme', world.authority.clock())}"
    with world.tab() as tab:
        tab.goto("about:blank")
        tab.goto(link)
        assert says(tab, "#budgets", "$1.00left of $1.00")
        assert tab.evaluate("location.href") == f"{world.url}/"
        tab.reload()
        assert says(tab, "#budgets", "$1.00")
        tab.goto("about:blank")
        tab.goto(link)
        assert says(tab, "#budgets", "$1.00"), "the tab has its key by then"
    with world.tab() as tab:
        tab.goto("about:blank")
        tab.goto(link)
        assert says(tab, "#error", "This link was opened before")


def test_narrow_rows_take_few_lines(world):
    world.authority.budget("tenant:acme/workspace:production/agent:planner", usd("1.00"))
    world.reserve(200_000_000, subject={"tenant": "acme", "workspace": "production", "agent": "planner"})
    with world.tab(viewport=PHONE, key=world.secret) as tab:
        says(tab, "#denials", "There is too little")
        height = tab.locator("#denials .row").evaluate("(row) => row.getBoundingClientRect().height")
        line = tab.locator("#denials .row").evaluate("(row) => parseFloat(getComputedStyle(row).lineHeight)")
        assert height / line < 6, "two lines of what and who, three at most, and one of figures"


def test_a_lease_counts_down_between_two_looks(world):
    world.authority.budget("tenant:acme", usd("1.00"))
    world.reserve(1, ttl_ms=50_000)
    with world.tab(key=world.secret) as tab:
        says(tab, "#reservations .ends", " s")
        tab.route("**/status.json", lambda route: None)  # no look comes back any more
        before = int(tab.locator("#reservations .ends").inner_text().split()[0])
        tab.wait_for_function(
            "(before) => parseInt(document.querySelector('#reservations .ends').textContent) < before", arg=before
        )


def test_what_scopes_begin_with(world):
    world.authority.budget("tenant:acme/workspace:*", usd("1.00"), period="day")
    world.authority.budget("tenant:acme/agent:*", tokens(5))
    with world.tab(key=world.secret) as tab:
        assert says(tab, "#defaults tr:first-child", "tenant:acme/agent:*")
        assert says(tab, "#defaults tr:first-child .a", "5 tokens")
        assert says(tab, "#defaults tr:first-child .p", "never")
        assert says(tab, "#defaults tr:last-child .a", "$1.00")
        assert says(tab, "#defaults tr:last-child .p", "each day, next ")


def test_amounts_beyond_a_browsers_numbers(world):
    world.authority.budget("tenant:acme", tokens(2**63 - 1))
    world.reserve(2**53 + 1, unit="TOKENS")
    with world.tab(key=world.secret) as tab:
        assert says(tab, "#budgets .r dd", "9,007,199,254,740,993")
        assert says(tab, "#budgets .l dd", "9,214,364,837,600,034,814")


def test_debt_and_frozen_budgets(world):
    world.authority.budget("tenant:acme/agent:a", tokens(100), overdraft_limit=tokens(50))
    who = {"tenant": "acme", "agent": "a"}
    held = world.reserve(100, "TOKENS", subject=who, overage_policy="ALLOW_WITH_OVERDRAFT").json()
    spent = {"idempotency_key": "c", "actual": {"unit": "TOKENS", "amount": 125}}
    world.http.post(f"/v1/reservations/{held['reservation_id']}/commit", json=spent)
    world.authority.freeze("tenant:acme/agent:a", "TOKENS")
    with world.tab(key=world.secret) as tab:
        assert says(tab, "#budgets .left", "-25tokens left of 100")
        assert says(tab, "#budgets .figures .d", "Debt25 of 50 allowed")
        assert says(tab, "#budgets .badges", "frozen")
        assert says(tab, "#budgets .badges", "in debt")
        widths = tab.evaluate("['s', 'd'].map((name) => document.querySelector('.bar .' + name).style.width)")
        assert widths == ["80%", "20%"], "of what was spent and is owed, for that is more than the budget"
        assert tab.locator(".bar .limit").evaluate("(mark) => mark.style.left") == "80%"


def test_what_clients_send_stays_text(world):
    world.authority.budget("tenant:acme", usd("1.00"))
    action = {"kind": "<b>kind</b>", "name": NASTY}
    world.reserve(1, action=action)
    world.reserve(10**9, action=action)
    world.reserve(10**9, path="/v1/decide", action=action)
    with world.tab(key=world.secret) as tab:
        says(tab, "#reservations .name", NASTY)
        says(tab, "#denials .kind", "<b>kind</b>")
        assert tab.locator("#shown :is(img, script, b:not(.lease b))").count() == 0
        assert tab.title() == "Cycles"
        with pytest.raises(Exception, match="TrustedHTML"):
            tab.evaluate("document.body.innerHTML = '<p>x</p>'")


def test_the_key_is_asked_for_and_stays_in_the_tab(world):
    world.authority.budget("tenant:acme", usd("1.00"))
    with world.tab() as tab:
        assert tab.locator("#shown").is_hidden()
        assert tab.get_by_label("API key").evaluate("(box) => box === document.activeElement")
        enter(tab, "cyc_live_nobody")
        assert says(tab, "#error", "This authority did not issue that API key.")
        assert tab.locator("#shown").is_hidden()
        enter(tab, "two words")
        assert says(tab, "#error", "without spaces")
        tab.get_by_label("API key").fill(world.secret)
        tab.keyboard.press("Enter")
        tab.locator("#shown").wait_for()
        assert tab.locator("#gate").is_hidden()
        assert tab.locator("#key").input_value() == ""
        tab.reload()
        tab.locator("#shown").wait_for()
        assert all(world.secret not in url for url, _ in tab.asked)
        assert {url for url, _ in tab.asked if not url.startswith("data:")} == {
            f"{world.url}/",
            f"{world.url}/status.json",
        }
        assert tab.evaluate("[localStorage.length, document.cookie]") == [0, ""]
        tab.get_by_role("button", name="Forget key").click()
        assert tab.locator("#gate").is_visible()
        assert tab.locator("#budgets li").count() == 0
        assert tab.evaluate("sessionStorage.length") == 0
        tab.reload()
        assert tab.locator("#gate").is_visible()


def test_a_key_that_is_revoked_meanwhile(world):
    world.authority.budget("tenant:acme", usd("1.00"))
    with world.tab(key=world.secret) as tab:
        says(tab, "#budgets", "$1.00")
        world.authority.revoke(world.secret)
        assert says(tab, "#error", "This API key was revoked.")
        assert tab.locator("#shown").is_hidden()
        assert tab.locator("#budgets li").count() == 0


def test_the_administrator_sees_all_tenants(world):
    world.authority.budget("tenant:acme", usd("1.00"))
    world.authority.budget("tenant:other", usd("2.00"))
    with world.tab(key=ADMIN_KEY) as tab:
        assert says(tab, "#tenant", "all tenants")
        assert tab.locator("#budgets li").count() == 2


def test_empty_says_what_to_do(world):
    with world.tab(key=world.secret) as tab:
        assert tab.get_by_text("There is no budget yet.").is_visible()
        assert tab.get_by_text("cycles local budget create tenant:acme").is_visible()
        assert tab.get_by_text("Nothing was charged yet.").is_visible()
        assert tab.get_by_text("Nothing was denied.").is_visible()
        assert tab.get_by_text("Other processes that use the same ledger file keep their own").is_visible()


def test_troubles_are_told_and_end(world):
    """A 500, nonsense and no connection each say so, with the age of the figures; then it goes on."""
    world.authority.budget("tenant:acme", usd("1.00"))
    answers = [
        {"status": 500, "json": {"error": "INTERNAL_ERROR", "message": "the disk is full"}},
        {"status": 200, "body": "<h1>a proxy</h1>"},
        None,
    ]
    with world.tab(key=world.secret) as tab:
        says(tab, "#budgets", "$1.00")
        at = {"now": 0}

        def answered(route):
            answer = answers[at["now"]]
            return route.abort() if answer is None else route.fulfill(**answer)

        def ask_at_once():
            tab.get_by_role("button", name="Pause").click()
            tab.get_by_role("button", name="Pause").click()

        tab.route("**/status.json", answered)
        for now, words in enumerate(("answered 500: the disk is full.", "authority answered 200.", "be reached.")):
            at["now"] = now
            ask_at_once()
            assert says(tab, "#banner", words)
            assert says(tab, "#banner", "The figures are from ")
            assert says(tab, "#said", "Not connected")
            assert says(tab, "#budgets", "$1.00")
        tab.unroute("**/status.json")
        ask_at_once()
        assert says(tab, "#said", "Live")
        assert tab.locator("#banner").is_hidden()


def test_pause(world):
    world.authority.budget("tenant:acme", usd("1.00"))
    with world.tab(key=world.secret) as tab:
        says(tab, "#budgets", "$1.00")
        pause = tab.get_by_role("button", name="Pause")
        pause.click()
        assert says(tab, "#said", "Paused at ")
        assert pause.get_attribute("aria-pressed") == "true"
        looks = len(tab.asked)
        tab.wait_for_timeout(2_600)  # longer than between two looks
        assert len(tab.asked) == looks
        pause.click()
        assert says(tab, "#said", "Live")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [PHONE, DESK], ids=["phone", "desk"])
def test_it_fits_and_can_be_read(world, viewport, scheme):
    long = "a-very-long-name-without-any-place-to-break-" + "x" * 80
    world.authority.budget("tenant:acme", usd("92233720368.54775807"))
    world.authority.budget(f"tenant:acme/agent:{long}", usd("0.10"))
    world.authority.budget("tenant:acme/agent:empty", usd("0"))
    world.authority.budget("tenant:acme/agent:low", usd("1"))
    world.reserve(95_000_000, subject={"tenant": "acme", "agent": "low"})
    world.reserve(7, subject={"tenant": "acme", "agent": long}, action={"kind": "k" * 64, "name": "n" * 256})
    world.reserve(2**62, subject={"tenant": "acme", "agent": long}, action={"kind": "k" * 64, "name": "n" * 256})
    world.record(7, "USD_MICROCENTS")
    with world.tab(viewport=viewport, color_scheme=scheme) as tab:
        assert tab.evaluate(CONTRAST) == []
        enter(tab, world.secret)
        says(tab, "#denials", "There is too little")
        assert tab.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
        assert tab.evaluate(CONTRAST) == []
        dark = tab.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(15, 17, 23)"
        assert dark == (scheme == "dark")


def test_motion_and_structure(world):
    world.authority.budget("tenant:acme", usd("1"))
    with world.tab(key=world.secret, reduced_motion="reduce") as tab:
        says(tab, "#budgets", "$1.00")
        moving = "[...document.querySelectorAll('*')].filter((n) => getComputedStyle(n).transitionDuration !== '0s')"
        assert tab.evaluate(f"{moving}.length") == 0
        assert tab.locator("html").get_attribute("lang") == "en"
        for name in ("Budgets", "Charged", "Live", "Last"):
            assert tab.get_by_role("heading", level=2, name=name).count() == 1
        assert tab.get_by_role("list", name="Budgets").get_by_role("listitem").count() == 1
        assert tab.get_by_role("main").count() == tab.get_by_role("banner").count() == 1
        tab.keyboard.press("Tab")
        assert tab.evaluate("document.activeElement.id") == "pause"
