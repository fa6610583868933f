"""What a message says to install: from where the package came from."""

from __future__ import annotations

import importlib.metadata
import json
import re
import tomllib
from typing import Any

import pytest

from cycles._outside import extras
from tests.docs.pages import ROOT

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

URL = "https://github.com/cycles-guard/cycles-guard-python"


@pytest.mark.parametrize(
    ("origin", "command"),
    [
        (None, "pip install 'cycles-guard[cli]'"),
        ("[]", "pip install 'cycles-guard[cli]'"),
        ("{", "pip install 'cycles-guard[cli]'"),
        ({"url": "file:///home/a%20b/clone", "dir_info": {}}, "pip install '/home/a b/clone[cli]'"),
        ({"url": "file:///home/ann/clone", "dir_info": {"editable": True}}, "pip install -e '/home/ann/clone[cli]'"),
        ({"url": "file:///C:/clone", "dir_info": {}}, "pip install 'C:/clone[cli]'"),
        ({"url": "file:///tmp/made.whl", "archive_info": {}}, "pip install '/tmp/made.whl[cli]'"),
        ({"url": URL, "vcs_info": {"vcs": "git"}}, f"pip install 'cycles-guard[cli] @ git+{URL}'"),
        (
            {"url": "https://ann:secret@host.example/x.git", "vcs_info": {"vcs": "git"}},
            "pip install 'cycles-guard[cli] @ git+https://host.example/x.git'",
        ),
        ({"url": "https://host.example/made.whl?key=secret", "archive_info": {}}, "pip install 'cycles-guard[cli]'"),
    ],
)
def test_an_extra_comes_from_where_the_package_came_from(origin, command, monkeypatch):
    class Noted:
        def read_text(self, name):
            assert name == "direct_url.json"
            return json.dumps(origin) if isinstance(origin, dict) else origin

    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: Noted())
    assert extras.install("cli") == command


def test_without_an_installation_it_is_the_name(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    assert extras.install("cli", "mcp") == "pip install 'cycles-guard[cli,mcp]'"


def test_the_name_is_that_of_the_distribution():
    assert PROJECT["name"] == extras.NAME


def test_each_extra_that_the_package_names_exists():
    calls = [call for path in (ROOT / "cycles").rglob("*.py") for call in _CALL.findall(path.read_text("utf-8"))]
    named = {name for call in calls for name in re.findall(r"['\"](\w+)['\"]", call)}
    assert named >= {"cli", "server", "prices", "evidence", "postgres", "fast", "mcp"}
    assert named <= set(PROJECT["optional-dependencies"])


def test_no_other_message_says_how_to_install_an_extra():
    texts = {path: path.read_text("utf-8") for path in (ROOT / "cycles").rglob("*.py")}
    assert [str(path) for path, text in texts.items() if "cycles-guard[" in text] == []


_CALL = re.compile(r"(?<!def )\binstall\(([^)]*)\)")
