"""The Python of docs/frameworks.md runs as pasted: each block alone, on the local provider."""

from __future__ import annotations

import gc
import re
import runpy

import pytest

import cycles
from tests.docs.blocks import framework_programs
from tests.metering.provider import Turn

PROGRAMS = framework_programs()
PACKAGES = ("langchain", "langchain_openai", "langgraph", "agents", "stamina", "tenacity", "genai_prices")
PACKAGES += ("pydantic_ai", "mcp", "fastapi", "litellm", "celery")

# The SDKs' own clients, which a program leaves to its end.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_of_the_page_runs(name, world, monkeypatch, tmp_path):
    for package in PACKAGES:
        if re.search(rf"^(from|import) .*\b{package}\b", PROGRAMS[name], flags=re.MULTILINE):
            pytest.importorskip(package)
    monkeypatch.setenv("OPENAI_BASE_URL", f"{world.provider.url}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setenv("OPENAI_AGENTS_DISABLE_TRACING", "1")
    world.provider.plan(*_turns(PROGRAMS[name]))
    program = tmp_path / f"{name}.py"
    program.write_text(PROGRAMS[name], encoding="utf-8")
    runpy.run_path(str(program), run_name="__main__")
    gc.collect()  # here, where their warnings are ignored
    assert not world.provider.turns, "the program makes as many model calls as it shows"
    world.settled()
    searches = int(any("nothing about" in str(sent) for _, sent, _ in world.provider.seen))
    assert world.ledger == world.provider.microcents + searches * cycles.usd("0.01").amount


def test_the_tasks_of_celery_spend(world, tmp_path):
    """In this process: tests/integrations/test_celery.py has workers."""
    pytest.importorskip("celery")
    (program,) = [text for text in PROGRAMS.values() if text.startswith("import celery\n")]
    tasks = tmp_path / "jobs.py"
    tasks.write_text(program, encoding="utf-8")
    made = runpy.run_path(str(tasks))
    made["jobs"].conf.task_always_eager = True
    assert made["send_mail"].delay("you").get() == "sent to you"
    assert made["research"].delay("Why?").get() == "Why? Because."
    world.settled()
    assert world.ledger == cycles.usd("0.04").amount


def _turns(program: str) -> list[Turn]:
    """What the model says to a program: it hands off and searches where it can."""
    search, say = Turn(calls=(("search", {"query": "rivers"}),)), Turn(calls=())
    if "Runner.run" in program:
        return [Turn(calls=(("transfer_to_researcher", {}),)), search, say]
    if "create_agent" in program:
        return [search, say]
    return [say] if "invoke(" in program else []
