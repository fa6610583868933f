"""The site of docs/ leads to everything: each page, each public name, and the words that people search for."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any

import pytest

import cycles
import cycles.local
import cycles.prices
from cycles import config, errors
from tests.docs import blocks, errors_page, http_page
from tests.docs.pages import ROOT, headings_of, prose_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DOCS = ROOT / "docs"
SITE: dict[str, Any] = tomllib.loads((ROOT / "zensical.toml").read_text("utf-8"))["project"]


def page(name: str) -> Path:
    """Return a page by its name."""
    return DOCS / f"{name}.md"


REFERENCE = re.findall(r"^::: ([\w.]+)$", page("reference").read_text("utf-8"), flags=re.MULTILINE)

MADE = {"cli", "errors", "http", "reference"}
WRITTEN = [page for page in DOCS.glob("*.md") if page.stem not in MADE]

SEARCHED = {
    "price": "prices",
    "estimate": "prices",
    "per-run": "limits",
    "a run": "limits",
    "daily": "authority",
    "a day": "authority",
    "month": "authority",
    "waiting": "guard",
    "fork": "deployment",
    "freeze": "authority",
    "two machines": "frameworks",
    "volume": "deployment",
    "certificates": "deployment",
    "shutting down": "deployment",
    "upgrading": "deployment",
    "without network": "testing",
    "denied": "testing",
    "another SDK": "migrating",
    "bindings": "bindings",
    "cost_of": "prices",
    "OpenAI": "metering",
    "Anthropic": "metering",
    "Gemini": "metering",
    "Mistral": "metering",
    "streams": "metering",
    "max_tokens": "metering",
    "timeout": "guard",
    "tool": "frameworks",
    "generators": "guard",
    "cancellation": "guard",
    "heartbeat": "guard",
    "run": "limits",
    "customer": "subjects",
    "user": "subjects",
    "dry run": "guard",
    "observe": "rollout",
    "alert": "rollout",
    "gunicorn": "deployment",
    "uvicorn": "deployment",
    "Celery": "deployment",
    "Lambda": "deployment",
    "notebook": "deployment",
    "Docker": "deployment",
    "proxy": "configuration",
    "mTLS": "deployment",
    "FastAPI": "frameworks",
    "LangChain": "frameworks",
    "Pydantic": "frameworks",
    "MCP": "frameworks",
    "Agents SDK": "frameworks",
    "PostgreSQL": "postgres",
    "SIGTERM": "settlement",
    "crash": "settlement",
    "retry": "settlement",
    "backup": "ledger-files",
    "Kubernetes": "settlement",
    "pytest": "testing",
    "OpenTelemetry": "observability",
    "metrics": "observability",
    "LiteLLM": "migrating",
    "Redis": "migrating",
    "counter": "migrating",
    "idempotency": "protocol",
    "overdraft": "protocol",
    "signature": "evidence",
    "deprecation": "compatibility",
}
"""What people search for, and the page that they should find."""


def pages_of(entries: list[Any]) -> Iterator[str]:
    """Yield the pages of a navigation, its sections included."""
    for entry in entries:
        for target in entry.values():
            if isinstance(target, str):
                yield target
            else:
                yield from pages_of(target)


def test_every_page_is_in_the_navigation_once():
    assert sorted(pages_of(SITE["nav"])) == sorted(page.name for page in DOCS.glob("*.md"))


@pytest.mark.parametrize("module", [cycles, cycles.local, cycles.prices], ids=lambda module: module.__name__)
def test_every_public_name_is_in_the_reference(module):
    names = {f"{module.__name__}.{name}" for name in module.__all__ if name not in errors.__all__}
    known = set(REFERENCE) | {name.replace("cycles.", "cycles.prices.") for name in REFERENCE}
    assert names - known == set()


def test_the_reference_has_no_name_twice():
    assert len(REFERENCE) == len(set(REFERENCE))


ALIASES = {"ActionLike", "Cost", "Level", "OveragePolicy", "PerCall", "Seconds"}
"""Names of types: their text stands below them in the source, where editors and the reference find it."""


def test_a_named_type_has_a_docstring_below_it():
    source = (ROOT / "cycles" / "_client" / "options.py").read_text("utf-8")
    for name in ALIASES:
        assert re.search(rf'^{name}: TypeAlias = .+\n"""\w', source, flags=re.MULTILINE), name


def test_every_public_name_method_error_and_type_has_an_example():
    """tests/docs/test_code_blocks.py runs them."""
    documented = blocks.docstrings()
    assert {"cycles.Client.reserve", "cycles.Reservation.report", "cycles.BudgetFrozen", "cycles.Seconds"} < set(
        documented
    )
    assert sorted(set(documented) - set(blocks.examples())) == []


@pytest.mark.parametrize("name", sorted({*cycles.__all__} - {"Amount", "Action"} - ALIASES))
def test_a_public_name_has_a_docstring_of_its_own(name):
    assert (getattr(cycles, name).__doc__ or "").strip()


@pytest.mark.parametrize("page", [ROOT / "README.md", *DOCS.glob("*.md")], ids=lambda page: page.stem)
def test_a_page_installs_what_can_be_installed_today(page):
    """One page says what the first release changes. What the command itself says is of that release already."""
    text = page.read_text("utf-8")
    if page.stem == "index":
        assert text.count("pip install 'cycles-guard[") == 1
        assert "pip install './cycles-guard-python[" in text
    elif page.stem != "cli":
        assert "install 'cycles-guard" not in text
        assert "pip install '.[" not in text


def test_every_error_is_on_its_page():
    shown = errors_page.PAGE.read_text("utf-8")
    assert [name for name in errors.__all__ if f"`{name}`" not in shown] == []
    assert [code for code in {**errors.DENIALS, **errors.ERRORS} if f"`{code}`" not in shown] == []


def test_every_setting_is_on_its_page():
    assert config.table() in page("configuration").read_text("utf-8")


@pytest.mark.parametrize("made", [errors_page, http_page], ids=["errors", "http"])
def test_a_page_that_is_made_from_the_source_is_what_the_source_says(made):
    assert made.PAGE.read_text("utf-8") == made.render(), f"run `python -m {made.__name__}`"


EXAMPLES = [path for path in sorted((ROOT / "examples").rglob("*")) if path.suffix in {".py", ".yaml", ".service"}]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_installs_the_clone_that_it_is_in(path):
    assert "install 'cycles-guard" not in path.read_text("utf-8")


@pytest.mark.parametrize("word", SEARCHED, ids=str)
def test_a_word_that_people_search_for_leads_to_its_page(word):
    wanted = page(SEARCHED[word])
    found = re.findall(rf"(?i)(?<![a-z]){re.escape(word)}", prose_of(wanted))
    inside = [other.stem for other in WRITTEN if word.lower() in " ".join(headings_of(other)).lower()]
    assert found, f"{wanted.name} does not know the word"
    assert not inside or wanted.stem in inside or len(found) > 1, f"headings of {inside} have the word"
