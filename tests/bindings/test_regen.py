"""The generator session: the same bytes each time, and nothing else passes `--check`.

Each test works on a copy, which is a repository of its own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]


def run(*line: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    # Without the variables of a git hook that may run these tests: they name the real repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return subprocess.run(line, cwd=cwd, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False)


def regen(copy: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return run(sys.executable, copy / "openapi" / "regen.py", *arguments, cwd=copy)


def git(copy: Path, *arguments: str) -> None:
    name = ("-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false", "-c", "core.autocrlf=false")
    done = run("git", *name, *arguments, cwd=copy)
    assert done.returncode == 0, done.stderr


def commit(copy: Path) -> None:
    git(copy, "add", "--all", "--force")
    git(copy, "commit", "--quiet", "--allow-empty", "--message=all")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a repository that holds the document, the templates and the package, all committed."""
    copy = tmp_path / "repository"
    for folder in ("openapi", "templates", "generated"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    git(copy, "init", "--quiet")
    commit(copy)
    return copy


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_regeneration_gives_the_same_bytes(copy: Path) -> None:
    package = copy / "generated" / "cycles_api"
    before = contents(package)
    (package / "left_over.py").write_text("x = 1\n")
    assert regen(copy).returncode == 0
    assert contents(package) == before
    done = regen(copy, "--check")
    assert (done.returncode, "up to date in the working tree and HEAD" in done.stdout) == (0, True)


def edit(package: Path) -> None:
    path = package / "errors.py"
    path.write_text(path.read_text().replace("unexpected status", "surprising status"))


def add(package: Path) -> None:
    (package / "models" / "extra.py").write_text("x = 1\n")


def delete(package: Path) -> None:
    (package / "models" / "amount.py").unlink()


CHANGES = [
    (edit, '-        return f"surprising status'),
    (add, "extra.py is not made"),
    (delete, "amount.py is missing"),
]


@pytest.mark.parametrize(("change", "said"), CHANGES)
@pytest.mark.parametrize("committed", [False, True])
def test_check_fails_on(copy: Path, change: Callable[[Path], None], said: str, committed: bool) -> None:
    change(copy / "generated" / "cycles_api")
    if committed:
        commit(copy)
    done = regen(copy, "--check")
    assert done.returncode == 1
    assert said in done.stdout
    assert "run `nox -s regen`" in done.stdout


def test_check_fails_on_head_alone(copy: Path) -> None:
    """Somebody committed an edit and regenerated without committing that."""
    edit(copy / "generated" / "cycles_api")
    commit(copy)
    assert regen(copy).returncode == 0
    done = regen(copy, "--check")
    assert done.returncode == 1
    assert "HEAD: " in done.stdout
    assert "commit generated/" in done.stdout


def test_check_does_not_mind_what_running_leaves_behind(copy: Path) -> None:
    cache = copy / "generated" / "cycles_api" / "__pycache__"
    cache.mkdir()
    (cache / "types.cpython-311.pyc").write_bytes(b"x")
    assert regen(copy, "--check").returncode == 0


def test_check_works_without_git(copy: Path) -> None:
    shutil.rmtree(copy / ".git")
    assert regen(copy, "--check").returncode == 0
    edit(copy / "generated" / "cycles_api")
    assert regen(copy, "--check").returncode == 1


@pytest.mark.parametrize("tool", ["openapi-python-client", "ruff"])
def test_another_version_of_a_tool_is_refused(copy: Path, tool: str) -> None:
    script = copy / "openapi" / "regen.py"
    text = script.read_text()
    line = next(line for line in text.splitlines() if line.startswith("TOOLS"))
    pinned = line.partition(f'"{tool}": "')[2].partition('"')[0]
    script.write_text(text.replace(line, line.replace(pinned, "0.0.1")))
    before = contents(copy / "generated")
    done = regen(copy)
    assert (done.returncode, f"{tool} 0.0.1 is needed, found {pinned}" in done.stderr) == (2, True)
    assert contents(copy / "generated") == before


BROKEN = {
    "a reference to nothing": ('$ref: "#/components/schemas/JwkStatus"', '$ref: "#/components/schemas/Nowhere"'),
    "a kind without a rule": ("description: Tokens read.", "description: Tokens read.\n          format: float"),
    "an array joined otherwise": ("explode: false", "explode: true"),
    "no YAML": ("paths:", "paths: ["),
}


@pytest.mark.parametrize(("old", "new"), BROKEN.values(), ids=BROKEN)
def test_what_the_templates_can_not_do_stops_the_generation(copy: Path, old: str, new: str) -> None:
    document = copy / "openapi" / "cycles.yaml"
    text = document.read_text(encoding="utf-8")
    if "float" in new:
        text = text.replace("type: integer\n          minimum: 0\n          " + old, "type: number\n          " + old)
    else:
        assert old in text
        text = text.replace(old, new, 1)
    document.write_text(text, encoding="utf-8")
    before = contents(copy / "generated")
    done = regen(copy)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert contents(copy / "generated") == before


FIELD = """\
        queue_position:
          type: integer
          minimum: 0
          description: How many others wait for the same budget.
"""


def test_walk_of_a_protocol_change(copy: Path) -> None:
    """The walk in CONTRIBUTING.md: a response gets a field, the bindings are made anew, the field is read."""
    document = copy / "openapi" / "cycles.yaml"
    before, model, after = document.read_text(encoding="utf-8").partition("    DecisionResponse:\n")
    document.write_text(before + model + after.replace("properties:\n", f"properties:\n{FIELD}", 1), encoding="utf-8")
    assert regen(copy, "--check").returncode == 1
    assert regen(copy).returncode == 0

    code = """
from cycles_api.errors import DecodeError
from cycles_api.models import DecisionResponse

answer = {"decision": "DENY", "queue_position": 3}
assert DecisionResponse.from_dict(answer).queue_position == 3
assert DecisionResponse.from_dict(answer).to_dict() == answer
assert not DecisionResponse.from_dict({"decision": "DENY"}).queue_position
try:
    DecisionResponse.from_dict({"decision": "DENY", "queue_position": "3"})
except DecodeError as error:
    print(error)
"""
    package = f"import sys; sys.path.insert(0, {str(copy / 'generated')!r})\n"
    done = run(sys.executable, "-B", "-c", package + code, cwd=copy)  # no bytecode: the copy ignores nothing
    assert (done.returncode, done.stdout.strip()) == (
        0,
        "DecisionResponse.queue_position: expected an integer, got a string",
    ), done.stderr

    commit(copy)
    assert regen(copy, "--check").returncode == 0
