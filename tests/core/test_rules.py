"""The safety rules of flows, checked over the syntax tree of the core."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import cycles._core

FILES = sorted(Path(cycles._core.__file__).parent.glob("*.py"))


def violations(tree: ast.AST, *, effects: bool = False) -> list[str]:
    """Return what in *tree* breaks a rule; `effects` is where the one bare yield lives."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Yield) and not effects:
            found.append(f"line {node.lineno}: a bare yield; use `yield from`")
        if isinstance(node, ast.Try | ast.TryStar):
            for inner in [child for statement in node.finalbody for child in ast.walk(statement)]:
                if isinstance(inner, ast.Yield | ast.YieldFrom):
                    found.append(f"line {inner.lineno}: a yield in finally")
        if isinstance(node, ast.Call):
            called = node.func
            if isinstance(called, ast.Name) and called.id == "next":
                found.append(f"line {node.lineno}: next() belongs to drivers")
            if isinstance(called, ast.Attribute) and called.attr in ("send", "throw", "close"):
                found.append(f"line {node.lineno}: .{called.attr}() belongs to drivers")
        if isinstance(node, ast.ExceptHandler):
            caught = ast.unparse(node.type) if node.type is not None else "everything"
            interrupts = ("BaseException", "everything", "KeyboardInterrupt", "CancelledError", "GeneratorExit")
            if any(name in caught for name in interrupts) and any(
                isinstance(inner, ast.YieldFrom) for statement in node.body for inner in ast.walk(statement)
            ):
                found.append(f"line {node.lineno}: an effect after an interrupt")
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_core_keeps_the_rules(file):
    assert violations(ast.parse(file.read_text("utf-8")), effects=file.name == "effects.py") == []


@pytest.mark.parametrize(
    "broken",
    [
        "def f():\n    x = yield Call()",
        "def f():\n    try:\n        pass\n    finally:\n        yield from Call()",
        "def f(flow):\n    next(flow)",
        "def f(flow):\n    flow.send(None)",
        "def f():\n    try:\n        pass\n    except BaseException:\n        yield from Call()",
        "def f():\n    try:\n        pass\n    except:\n        yield from Call()",
    ],
)
def test_each_rule_can_fail(broken):
    assert violations(ast.parse(broken))
