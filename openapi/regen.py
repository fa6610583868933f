"""Make generated/cycles_api from openapi/cycles.yaml, or check that it is up to date.

    python openapi/regen.py              replace generated/cycles_api
    python openapi/regen.py --check      fail, with a diff, if the working tree or HEAD has anything else there
    python openapi/regen.py --stock DIR  write what the generator makes without our templates to DIR/cycles_api

The answer depends on nothing but the document, the templates and two pinned tools, so it is the same on every machine.
The generator is driven through its Python interface rather than its command: that gives templates the document itself
(descriptions of parameters, `explode`, bounds), which the generator's own model of it drops. Neither is a public
interface, hence the exact version.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).resolve().parent.parent
DOCUMENT: Final = ROOT / "openapi" / "cycles.yaml"
OPTIONS: Final = ROOT / "openapi" / "generator.yaml"
TEMPLATES: Final = ROOT / "templates"
PACKAGE: Final = "generated/cycles_api"
"""The folder that belongs to this script, relative to the root, with slashes."""

TOOLS: Final = {"openapi-python-client": "0.29.1", "ruff": "0.17.6"}
HEADER: Final = "# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.\n"
RUFF: Final = ("--isolated", "--no-cache", "--target-version=py311", "--line-length=120", "--quiet")
RULES: Final = "E7,E9,F,I,UP"
"""Named, because the default selection changes from one ruff to the next."""


class Failure(Exception):
    """Something is wrong that the person who ran this must put right."""


class Document:
    """The document as templates see it: what the generator's model of it leaves out."""

    def __init__(self, root: dict[str, Any], source: bytes) -> None:
        self.root = root
        self.version: str = root["info"]["version"]
        # A checkout may have changed the line ends; the document is the same.
        self.sha256 = hashlib.sha256(source.replace(b"\r\n", b"\n")).hexdigest()

    def resolve(self, node: dict[str, Any]) -> dict[str, Any]:
        """Return *node* with its references followed; what stands beside a `$ref` wins."""
        if "$ref" not in node:
            return node
        target: Any = self.root
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        return {**self.resolve(target), **{key: value for key, value in node.items() if key != "$ref"}}

    def parameter(self, endpoint: Any, prop: Any) -> dict[str, Any]:
        """Return the parameter of *endpoint* that *prop* was made from."""
        operations = self.root["paths"].get(endpoint.path.get_untrusted_value())
        if operations is None:  # the generator has renamed them
            raise Failure(f"write the path parameters of {endpoint.name} in snake_case")
        for parameter in map(self.resolve, operations[endpoint.method].get("parameters", [])):
            if parameter["name"] == prop.name.get_untrusted_value():
                return parameter
        raise Failure(f"no parameter {prop.name.get_untrusted_value()!r} in the operation {endpoint.name}")

    def schema(self, model: Any, prop: Any) -> dict[str, Any]:
        """Return the schema of the property *prop* of *model*, with its own description."""
        component = self.root["components"]["schemas"][model.class_info.name]
        return self.resolve(component["properties"][prop.name.get_untrusted_value()])


def refuse(what: object) -> None:
    """Stop the generation: called by templates that meet what they were not written for."""
    raise Failure(f"templates/ has no rule for {what}; write one, with a test, before the document uses it")


def require_tools() -> None:
    """Refuse any other version than the pinned ones: templates and formatting depend on them."""
    for tool, wanted in TOOLS.items():
        try:
            found = version(tool)
        except PackageNotFoundError:
            found = "none"
        if found != wanted:
            raise Failure(
                f"{tool} {wanted} is needed, found {found}; run `nox -s regen`, or: pip install {tool}=={wanted}"
            )


def generate(package: Path, *, templates: Path | None = TEMPLATES) -> None:
    """Write the package to *package*, a folder that is not there yet; without *templates* as the generator would."""
    require_tools()
    # The imports wait for the check above: with another version they might fail in a less helpful way.
    from openapi_python_client import Project, _load_yaml_or_json  # noqa: PLC0415
    from openapi_python_client.config import Config, ConfigFile, MetaType  # noqa: PLC0415
    from openapi_python_client.parser import GeneratorData  # noqa: PLC0415
    from openapi_python_client.parser.errors import GeneratorError  # noqa: PLC0415

    config = Config.from_sources(
        ConfigFile.load_from_path(OPTIONS),
        meta_type=MetaType.NONE,
        document_source=DOCUMENT,
        file_encoding="utf-8",
        overwrite=False,
        output_path=package,
    )
    source = DOCUMENT.read_bytes()
    loaded = _load_yaml_or_json(source, None)
    if isinstance(loaded, GeneratorError):
        raise Failure(f"{DOCUMENT} can't be read: {loaded.header}")
    document = Document(loaded, source)
    data = GeneratorData.from_dict(loaded, config=config)
    if isinstance(data, GeneratorError):
        raise Failure(f"{data.header}: {data.detail}")
    project = Project(openapi=data, config=config, custom_template_path=templates)
    project.env.globals.update(document=document, refuse=refuse)
    with contextlib.redirect_stdout(io.StringIO()):  # it announces itself
        complaints = project.build()
    if complaints:
        raise Failure("\n".join(f"{complaint.header}: {complaint.detail}" for complaint in complaints))
    if templates is not None:
        for name in ("_codec.py", "http.py", "shown.py"):
            made = project.env.get_template(f"{name.removeprefix('_')}.jinja").render()
            (package / name).write_text(made, encoding="utf-8")
        (package / "py.typed").write_bytes(b"")
        for module in package.rglob("*.py"):
            module.write_text(HEADER + module.read_text(encoding="utf-8").lstrip(), encoding="utf-8")
        ruff("check", "--fix", f"--select={RULES}", cwd=package)
    ruff("format", "--config=format.line-ending='lf'", cwd=package)


def ruff(command: str, *arguments: str, cwd: Path) -> None:
    """Run the ruff of this interpreter, whatever PATH and the environment say."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RUFF_")}
    # -P: the folder has a module named like one of the standard library's.
    line = [sys.executable, "-P", "-m", "ruff", command, *RUFF, *arguments, "."]
    done = subprocess.run(line, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failure(f"ruff {command} failed:\n{done.stdout}{done.stderr}")


def in_folder(folder: Path) -> dict[str, bytes]:
    """Return the files under *folder* by relative name. What running leaves behind does not count."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes().replace(b"\r\n", b"\n")
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def in_head() -> dict[str, bytes] | None:
    """Return the committed files by relative name, or None when this is no clone (an unpacked sdist)."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        return None
    line = ["git", "-C", str(ROOT), "archive", "--format=tar", "HEAD", PACKAGE]
    # A hook's variables may name another repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(line, env=environment, capture_output=True, check=False)
    if done.returncode != 0:
        return {}
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        files = {member.name: archive.extractfile(member) for member in archive if member.isfile()}
        return {
            name.removeprefix(f"{PACKAGE}/"): content.read().replace(b"\r\n", b"\n")
            for name, content in files.items()
            if content is not None
        }


def differences(name: str, have: dict[str, bytes], want: dict[str, bytes]) -> Iterator[str]:
    """Yield what turns *have* into *want*, readable."""
    for path in sorted(have.keys() | want.keys()):
        if have.get(path) == want.get(path):
            continue
        if path not in want:
            yield f"{name}: {PACKAGE}/{path} is not made from the document"
        elif path not in have:
            yield f"{name}: {PACKAGE}/{path} is missing"
        else:
            old, new = (files[path].decode(errors="replace").splitlines() for files in (have, want))
            yield from difflib.unified_diff(old, new, f"{name}: {PACKAGE}/{path}", "regenerated", lineterm="", n=1)


def check() -> int:
    """Compare the working tree and HEAD with a fresh generation; return the exit status."""
    with tempfile.TemporaryDirectory() as temporary:
        package = Path(temporary) / "cycles_api"
        generate(package)
        want = in_folder(package)
    found = list(differences("working tree", in_folder(ROOT / PACKAGE), want))
    committed = in_head()
    if committed is not None and not found:
        found = list(differences("HEAD", committed, want))
        if found:
            found.append("the working tree is up to date: commit generated/")
    elif found:
        found.append("run `nox -s regen` and commit generated/")
    for line in found:
        print(line)
    if not found:
        where = "the working tree" if committed is None else "the working tree and HEAD"
        print(f"{PACKAGE} is up to date in {where}: {len(want)} files")
    return 1 if found else 0


def regenerate() -> None:
    """Replace the package as a whole, so that nothing of a former one is left."""
    with tempfile.TemporaryDirectory() as temporary:
        package = Path(temporary) / "cycles_api"
        generate(package)
        target = ROOT / PACKAGE
        if target.exists():
            shutil.rmtree(target)
        shutil.copytree(package, target)
    print(f"{PACKAGE}: {len(in_folder(target))} files")


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line asks for; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--check", action="store_true", help="compare only; 1 when anything differs")
    action.add_argument("--stock", metavar="DIR", type=Path, help="write the output of the bare generator there")
    options = parser.parse_args(arguments)
    try:
        if options.check:
            return check()
        if options.stock is not None:
            options.stock.mkdir(parents=True, exist_ok=True)
            generate(options.stock / "cycles_api", templates=None)
        else:
            regenerate()
    except Failure as failure:
        print(failure, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
