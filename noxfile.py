"""The project's sessions: the same commands for people and for CI. `nox -l` lists them."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import nox

nox.needs_version = ">=2024.10.9"
HAS_UV = shutil.which("uv") is not None or find_spec("uv") is not None
nox.options.default_venv_backend = "uv" if HAS_UV else "virtualenv"  # uv is quicker: `pip install 'nox[uv]'` brings it
nox.options.sessions = ["lint", "imports", "types", "tests"]
nox.options.error_on_missing_interpreters = True

ROOT = Path(__file__).parent
PYTEST = ("pytest", "-n", "auto", "-o", "faulthandler_exit_on_timeout=true")  # a test that hangs ends the run
GROUPS = nox.project.load_toml("pyproject.toml")


FRAMEWORKS = ("langchain", "openai_agents", "pydantic_ai", "mcp", "fastapi", "celery", "litellm")
"""The extras that bring a framework for its adapter in cycles/integrations: `nox -s integrations` has them."""


def groups(*names: str) -> list[str]:
    """Return the pinned requirements of dependency groups."""
    return list(nox.project.dependency_groups(GROUPS, *names))


@nox.session(tags=["quick"])
def lint(session: nox.Session) -> None:
    """Check style and formatting (`-- --fix` mends what it can)."""
    session.install(*groups("lint"))
    if "--fix" in session.posargs:
        session.run("ruff", "check", "--fix", ".")
        session.run("ruff", "format", ".")
        return
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session(tags=["quick"])
def imports(session: nox.Session) -> None:
    """Check that the arrows between the rooms point one way, as pyproject.toml draws them."""
    session.install("-e", ".[server,fast]", *groups("imports"))
    session.run("lint-imports", "--no-cache")


@nox.session(tags=["quick"])
def types(session: nox.Session) -> None:
    """Check types with mypy --strict and pyright, and that the public types are what they should be."""
    session.install("-e", ".[server]", "nox", *groups("types"))
    session.run("mypy")
    session.run("pyright", "--pythonpath", f"{session.bin}/python")
    blocks = Path(session.create_tmp()).resolve() / "blocks"  # the Python of README and docs
    session.run("python", "-m", "tests.docs.blocks", str(blocks))
    session.run("mypy", *map(str, sorted(blocks.glob("*.py"))))
    session.run("pyright", "--pythonpath", f"{session.bin}/python", *map(str, sorted(blocks.glob("*.py"))))


@nox.session
@nox.parametrize("libraries", [("httpx",), ("httpx2",), ("httpx", "httpx2")], ids=["httpx", "httpx2", "both"])
def http_types(session: nox.Session, libraries: tuple[str, ...]) -> None:
    """Check that types are exact for users who have one of the HTTP libraries, the other, or both."""
    session.install("--no-deps", ".")
    session.install("attrs", "python-dateutil", "platformdirs", *groups("http_types"), *libraries)
    programs = [f"{library}_clients.py" for library in libraries]
    alone = Path(session.create_tmp())  # with nothing of the source tree in reach
    for program in programs:
        shutil.copy(ROOT / "tests" / "typing" / program, alone)
    session.chdir(alone)
    session.run("mypy", "--strict", "--config-file=", *programs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the quick tests on every core, warnings as errors."""
    session.install("-e", ".[server]", *groups("test"))
    session.run(*PYTEST, "-m", "not slow", *session.posargs)


@nox.session
def tests_slow(session: nox.Session) -> None:
    """Run the tests that take seconds each: real processes, many of something."""
    session.install("-e", ".[server]", *groups("test", "greenlets"))
    most = str(2 * (os.cpu_count() or 1))  # they wait more than they work
    session.run(*PYTEST, "-n", most, "-m", "slow", *session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """Run the quick tests, and require their coverage: every branch of what decides and of what sends.

    `-- --report` judges what a run of them with `--cov` has left, as .ci/run does.
    """
    session.install("-e", ".[server]", *groups("test"))
    if "--report" not in session.posargs:
        session.run(*PYTEST, "-m", "not slow", "--cov", "--cov-report=", *session.posargs)
    session.run("coverage", "report", "--skip-covered", "--fail-under=95")
    session.run(
        "coverage", "report", "--skip-covered", "--include=cycles/_core/*,cycles/_drivers/*", "--fail-under=100"
    )


def lowest_versions() -> list[str]:
    """Return every dependency and extra of the package at exactly its lower bound, frameworks left out."""
    project = GROUPS["project"]
    extras = [lines for name, lines in project["optional-dependencies"].items() if name not in FRAMEWORKS]
    wanted = [*project["dependencies"], *(line for extra in extras for line in extra)]
    bounds = dict.fromkeys(re.sub(r">=([\w.]+).*", r"==\1", line) for line in wanted if ">=" in line)
    return [*bounds, *(bound.replace("-api", "-sdk") for bound in bounds if bound.startswith("opentelemetry-api"))]


@nox.session
def lowest(session: nox.Session) -> None:
    """Run the quick tests with the oldest versions that pyproject.toml allows."""
    lowest = lowest_versions()
    named = {line.split("==")[0].lower() for line in lowest}
    tools = [line for line in groups("test") if line.split("==")[0].lower() not in named]
    session.install("-e", ".[server]", *tools, *lowest)
    session.run(*PYTEST, "-m", "not slow", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the site of docs/ into site/, and fail on any warning; `-- --serve` shows it while you write."""
    session.install("-e", ".", *groups("docs"))
    if "--serve" in session.posargs:
        session.run("zensical", "serve")
        return
    session.run("zensical", "build", "--clean", "--strict")


@nox.session
def recordings(session: nox.Session) -> None:
    """Make docs/images/ anew: what a terminal and Debian's chromium show; what is the same is left alone."""
    session.install("-e", ".[server]", *groups("recordings"))
    session.run("python", "-m", "tests.docs.recordings")
    session.run("zensical", "build", "--clean", "--strict")
    session.run("python", "-m", "tests.docs.screenshots")


@nox.session
def page(session: nox.Session) -> None:
    """Look at the page of `cycles serve` in Debian's chromium, headless, which apt-get must have installed."""
    session.install("-e", ".[server]", *groups("page"))
    session.run("pytest", "tests/local/wire/test_browser.py", *session.posargs, env={"CYCLES_PAGE": "1"})


@nox.session
def schemathesis(session: nox.Session) -> None:
    """Ask a served authority what our document allows and forbids (`-- --examples 600 --db`; `-- --seed N` replays)."""
    session.install("-e", ".[server]", *groups("schemathesis"))
    session.run("python", "-m", "tests.contract.run", *session.posargs)


@nox.session
def postgres(session: nox.Session) -> None:
    """Run the authority's suite on a PostgreSQL of its own (Debian's package), and break several servers on one.

    It needs `initdb` and `postgres` on this machine, starts them on a unix socket in a temporary directory, and as
    another user where it is run as root. `-- --brief` leaves out what takes minutes.
    """
    session.install("-e", ".[server,postgres]", *groups("postgres"))
    brief = "--brief" in session.posargs
    env = {"CYCLES_POSTGRES": "1"}
    measured = ("--cov=cycles.local.store.postgres", "--cov-report=term", "--cov-fail-under=90")
    chosen = ("-m", "not slow", "-k", "postgres") if brief else ("-k", "postgres", *measured)
    session.run(*PYTEST, "tests/local", "tests/cli/test_postgres.py", *chosen, env=env)
    crowd = ("--processes", "4", "--operations", "200") if brief else ()
    session.run("python", "-m", "tests.local.store.postgres.servers", *crowd, env=env)
    session.run("python", "-m", "tests.contract.run", "--postgres", "--examples", "10", "--seed", "1", env=env)


@nox.session
def sim(session: nox.Session) -> None:
    """Simulate faults for two minutes of new seeds (`-- --brief`: of the same ones; `-- --seed N` replays one)."""
    session.install("-e", ".")
    run = ("python", "-m", "cycles.testing.simulate")
    is_brief = session.posargs == ["--brief"]
    if session.posargs and not is_brief:
        session.run(*run, *session.posargs)
        return
    many = ("--schedules", "5000", "--first", "1") if is_brief else ("--seconds", "60", "--at-least", "20000")
    some = ("--schedules", "2000", "--first", "1") if is_brief else ("--seconds", "15", "--at-least", "1000")
    session.run(*run, *many)
    for kind in ("limits", "returned", "metered", "metered-limits"):
        session.run(*run, f"--{kind}", *some)


@nox.session
@nox.parametrize("sdks", ["metering", "metering-old", "metering-more"], ids=["new", "old", "more"])
def metering(session: nox.Session, sdks: str) -> None:
    """Call real SDKs, metered, on a local endpoint that bills: prints the table of ledger and bill (`-- --more`).

    With today's SDKs it also checks the types of the programs in README and docs that call them.

    `-- --brief` leaves it at that table and the denials for the older SDKs, too.
    """
    options = [option for option in session.posargs if option not in ("--more", "--brief")]
    if sdks == "metering-more" and "--more" not in session.posargs:
        session.skip("openai 2, groq and together: `-- --more`")
    session.install("-e", ".", *groups(sdks))
    if sdks == "metering":  # what README and docs show is written for today's SDKs
        blocks = Path(session.create_tmp()).resolve() / "blocks"
        session.run("python", "-m", "tests.docs.blocks", str(blocks), "sdks")
        session.run("mypy", *map(str, sorted(blocks.glob("*.py"))))
    cells = ["tests/metering/sdk"]
    if sdks == "metering-more" or (sdks == "metering-old" and "--brief" in session.posargs):
        cells = [f"tests/metering/sdk/{name}.py" for name in ("test_table", "test_denials")]
    run = ("pytest", "-n", "2", "-o", "faulthandler_exit_on_timeout=true", *cells)
    session.run(*run, *options, env={"CYCLES_METERING": "1"})


@nox.session
def integrations(session: nox.Session) -> None:
    """Run the adapters with the real frameworks, on a local provider that bills: ledger and bill must be equal."""
    session.install("-e", ".[server,fast,otel]", *groups("integrations"))
    blocks = Path(session.create_tmp()).resolve() / "blocks"
    session.run("python", "-m", "tests.docs.blocks", str(blocks), "frameworks")
    for folder in (ROOT / "cycles" / "integrations", ROOT / "examples", blocks):
        session.run("mypy", *map(str, sorted(folder.glob("*.py"))))
    session.run("mypy", str(ROOT / "examples" / "fastapi_budget_per_customer" / "app.py"))
    real = ("--pythonpath", f"{session.bin}/python")  # pyright in pyproject.toml leaves out what needs frameworks
    session.run("pyright", "-p", str(ROOT / "pyright.integrations.json"), *real)
    session.run("pyright", *real, *map(str, sorted(blocks.glob("*.py"))))
    run = ("pytest", "-n", "2", "-o", "faulthandler_exit_on_timeout=true", "tests/integrations")
    session.run(*run, *session.posargs, env={"CYCLES_INTEGRATIONS": "1"})


@nox.session
def torture(session: nox.Session) -> None:
    """Kill a program 500 times at random (`-- --kills 60`); the ledger must be what its work has cost, to the unit."""
    session.install("-e", ".", *groups("test"))
    session.run("python", "-m", "tests.journal.torture", *session.posargs)


@nox.session
def crowd(session: nox.Session) -> None:
    """Eight processes on one ledger file, 2000 operations each, and 100 kills (`-- --operations 200 --kills 10`)."""
    session.install("-e", ".", *groups("test"))
    session.run("python", "-m", "tests.local.store.crowd", *session.posargs)


@nox.session
def conformance(session: nox.Session) -> None:
    """Run the twelve recovery scenarios one by one, as an outside runner does; writes conformance.json."""
    session.install("-e", ".", *groups("test"))
    session.run("python", "-m", "cycles.testing.recovery_adapter", "--all", *(session.posargs or ["conformance.json"]))


@nox.session
def regen(session: nox.Session) -> None:
    """Generate generated/cycles_api anew from openapi/cycles.yaml (`-- --check`: fail on any difference)."""
    session.install(*groups("regen"))
    session.run("python", "openapi/regen.py", *session.posargs)


@nox.session
def cli_docs(session: nox.Session) -> None:
    """Write docs/cli.md anew from the `cycles` command itself; a test compares."""
    session.install("-e", ".[server]", *groups("test"))
    session.run("python", "-m", "tests.docs.cli_page")


@nox.session
def demo(session: nox.Session) -> None:
    """Watch an agent stop at one dollar: the main job, on an authority in a second process."""
    project = GROUPS["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"]["cli"], "uvicorn>=0.30"]
    session.log(f"installing what the demo needs: {', '.join(needed)}")
    session.install(*needed, silent=False)
    # From the source tree as it is: nothing is built.
    paths = os.pathsep.join((str(ROOT), str(ROOT / "generated")))
    session.run("python", "examples/runaway.py", *session.posargs, env={"PYTHONPATH": paths})


@nox.session
def bench(session: nox.Session) -> None:
    """Measure everything three times, in turns; a missed goal fails (`-- --quick`: once, and nothing is judged)."""
    session.install("-e", ".[server,fast,httpx2]", *groups("metering"))
    session.run("python", "benchmarks/_run.py", *session.posargs)


def guarded_agent() -> str:
    """Return the tutorial's first program, which needs no SDK; run with a dollar, it stops there, and says so."""
    return (ROOT / "docs" / "tutorial.md").read_text("utf-8").split("```python\n")[1].split("```")[0]


@nox.session
def sbom(session: nox.Session) -> None:
    """Write sbom.cdx.json: what an installation with every extra consists of."""
    session.install(".[cli,server,fast,httpx2,otel,prices,evidence]")
    python = f"{session.bin}/python"
    with tempfile.TemporaryDirectory() as made:  # the tool is not part of what it lists
        session.run("python", "-m", "venv", made)
        tool = Path(made) / ("Scripts" if sys.platform == "win32" else "bin")
        session.run(str(tool / "python"), "-m", "pip", "install", "--quiet", *groups("sbom"), external=True)
        line = [
            str(tool / "cyclonedx-py"),
            "environment",
            python,
            "--pyproject",
            "pyproject.toml",
            "--mc-type",
            "library",
        ]
        session.run(*line, "--mc-type", "library", "--output-reproducible", "-o", "sbom.cdx.json", external=True)


@nox.session
def audit(session: nox.Session) -> None:
    """Ask whether a release of what the package needs has a known vulnerability; needs the network."""
    # Editable: the audit skips what is, and no index knows this package yet.
    session.install("-e", ".[cli,server,fast,httpx2,otel,prices,evidence]", *groups("audit"))
    session.run("pip-audit", "--skip-editable", "--strict", "--desc", *session.posargs)


@nox.session
def wheel(session: nox.Session) -> None:
    """Build wheel and sdist, install the wheel in a bare environment: import, run the CLI, use the fixture."""
    session.install(*groups("build"))
    with tempfile.TemporaryDirectory() as made:
        session.run("python", "-m", "build", "--outdir", made, silent=True)
        session.run("twine", "check", "--strict", *map(str, Path(made).iterdir()))
        (built,) = Path(made).glob("*.whl")
        (source,) = Path(made).glob("*.tar.gz")
        session.log(f"built {built.name} and {source.name}")
        bare = Path(session.create_tmp()).resolve() / "bare"
        shutil.rmtree(bare, ignore_errors=True)
        session.run("python", "-m", "venv", str(bare))
        python = bare / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
        command = python.with_name("cycles.exe" if sys.platform == "win32" else "cycles")
        strict = {"PYTHONWARNINGS": "error"}
        session.run(str(python), "-m", "pip", "install", "--quiet", str(built), external=True)
        session.chdir(made)  # nothing of the source tree in reach
        session.run(
            str(python),
            "-c",
            "import cycles, cycles_api; print(cycles.__file__, cycles_api.__file__)",
            external=True,
            env=strict,
        )
        agent = Path(made) / "agent.py"
        agent.write_text(guarded_agent(), encoding="utf-8")
        dollar = strict | {"CYCLES_BASE_URL": "local:?usd=1.00&tokens=100k"}
        told = session.run(str(python), str(agent), external=True, silent=True, env=dollar)
        if "stopped after 30 answers: asked for $0.05" not in str(told):
            session.error(f"the tutorial's agent did not stop at its dollar:\n{told}")
        session.run(str(command), "--help", success_codes=[1], external=True, env=strict)  # says which extra it needs
        session.run(str(python), "-m", "pip", "install", "--quiet", f"{built}[server]", external=True)
        session.run(str(command), "--help", silent=True, external=True, env=strict)
        session.run(str(command), "--version", external=True, env=strict)
        session.run(str(command), "doctor", "--base-url", "local:?usd=1.00", external=True, env=strict)
        session.run(str(python), "-m", "pip", "install", "--quiet", f"{built}[testing]", external=True)
        for file in (ROOT / "examples" / "testing").glob("*.py"):
            shutil.copy(file, made)
        session.run(str(python), "-m", "pytest", "-q", "-W", "error", made, external=True)  # found by its entry point
