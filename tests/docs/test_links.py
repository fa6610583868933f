"""Every link of the pages leads somewhere; those of README do on a package index, too."""

from __future__ import annotations

import pytest

from tests.docs.pages import AT_SOURCE, PAGES, README, ROOT, URLS, all_broken, anchors_of, links_of, prose_of


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_links_of_a_page_lead_to_files_and_headings_that_are_there(page):
    assert list(all_broken(page, prose_of(page))) == []


def test_the_links_of_readme_are_absolute():
    links = links_of(prose_of(README))
    assert [link for link in links if not link.startswith(("https://", "#"))] == []
    assert len([link for link in links if link.startswith(AT_SOURCE)]) >= 5


def test_the_project_urls_lead_into_this_repository():
    assert set(URLS) == {"Homepage", "Documentation", "Source", "Changelog", "Issues"}
    assert all(url.startswith(URLS["Source"]) for url in URLS.values())
    inside = [url.partition("/main/")[2] for url in URLS.values() if "/main/" in url]
    assert [path for path in inside if not (ROOT / path).exists()] == []
    assert len(inside) == 2


@pytest.mark.parametrize(
    ("link", "wrong"),
    [
        ("guard.md", None),
        ("guard.md#heartbeat", None),
        ("../README.md#two-commands", None),
        ("#waiting", None),
        (f"{AT_SOURCE}docs/cli.md#exit-codes", None),
        ("https://keepachangelog.com", None),
        ("cli.html", "no such file"),
        ("../docs/guards.md", "no such file"),
        ("guard.md#heart-beat", "no such heading"),
        ("#no-such", "no such heading"),
        (f"{AT_SOURCE}docs/none.md", "no such file"),
        (f"{URLS['Source']}/blob/master/README.md", "not written as"),
        ("../..", "outside of the repository"),
    ],
)
def test_a_link_that_leads_nowhere_is_seen(link, wrong):
    found = list(all_broken(ROOT / "docs" / "guard.md", f"see [this]({link})"))
    assert len(found) == (0 if wrong is None else 1)
    assert wrong is None or wrong in found[0]


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("see [this][a]\n\n[a]: guard.md\n", []),
        ("see [this][a]\n\n[b]: guard.md\n", ["[a]: not defined"]),
        ("see [this][a]\n\n[a]: guards.md\n", ["guards.md: no such file"]),
    ],
)
def test_links_by_name_are_seen(text, wrong):
    assert list(all_broken(ROOT / "docs" / "guard.md", text)) == wrong


def test_anchors_are_those_of_github(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A `b`, and c?\n## Twice\n```sh\n# no heading\n```\n## Twice\n### x-y_z\n", encoding="utf-8")
    assert anchors_of(page) == {"a-b-and-c", "twice", "twice-1", "x-y_z"}
