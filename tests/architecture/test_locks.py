"""Every lock of the package and of the bindings is made anew in a forked child: nobody there would let go of it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

KINDS = {"Lock", "RLock", "Condition", "Semaphore", "BoundedSemaphore", "Event", "Barrier", "SleepersLock"}

RENEWED_BY_THEIR_OWNER = {
    ("cycles/_journal/claims.py", "Claims"): "Journal.forked calls its own",
    ("cycles/_journal/owners.py", "Owners"): "Journal.forked calls its own",
    ("cycles/_journal/records.py", "Records"): "Journal.forked calls its own",
    ("cycles/_journal/writer.py", "Writer"): "the module forgets the writer",
    ("cycles/_background/agenda.py", "Agenda"): "ThreadHeartbeats.forked forgets it; a loop's belongs to that loop",
    ("cycles/_background/greenlets.py", "GreenBeats"): "ThreadHeartbeats.forked forgets it",
    ("cycles/_drivers/connections.py", "Engine"): "a fork opens connections of its own: `reconnect` of both runtimes",
    ("cycles/_drivers/pools.py", "_Pools"): "a fork opens connections of its own: `reconnect` of both runtimes",
    ("cycles/_drivers/threads.py", "Lock"): "it is a lock itself: whoever has one renews it",
    ("cycles/_drivers/threads.py", "Permits"): "BlockingRuntime.reconnect opens new ones",
    ("cycles/local/wire/server.py", "Server"): "its thread is not in the child, and nothing serves there",
    ("cycles/local/store/connections.py", "Connections"): "SqliteStore.forked calls its own",
    ("cycles/local/store/turns.py", "SleepersLock"): "it is a lock itself: whoever has one renews it",
    ("cycles/local/store/turns.py", "Turn"): "SqliteStore.forked makes another one",
}
"""What makes a lock without a hook of its own, and who renews it."""


def modules():
    return [path for room in ("cycles", "generated") for path in sorted((ROOT / room).rglob("*.py"))]


def made_by(name):
    """Whether *name*, of a call or of an attrs factory, makes a lock: `threading.Lock`, or `Lock` alone."""
    if isinstance(name, ast.Attribute) and isinstance(name.value, ast.Name):
        return name.value.id in {"threading", "threads"} and name.attr in KINDS
    return isinstance(name, ast.Name) and name.id in KINDS


def locks_in(tree, kind=""):
    """Yield the class, or "" for the module, of every lock that is made."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Call) and made_by(node.func):
            yield kind
        if isinstance(node, ast.keyword) and node.arg in ("factory", "default_factory") and made_by(node.value):
            yield kind
        yield from locks_in(node, node.name if isinstance(node, ast.ClassDef) else kind)


FOUND = sorted(
    {(str(path.relative_to(ROOT)), kind) for path in modules() for kind in locks_in(ast.parse(path.read_text("utf-8")))}
)


def test_the_search_finds_what_there_is():
    assert ("generated/cycles_api/client.py", "Client") in FOUND
    assert ("cycles/_journal/registry.py", "") in FOUND
    assert ("cycles/_client/defaults.py", "Defaults") in FOUND
    tree = ast.parse("from threading import Lock\nclass A:\n    def __init__(self):\n        self.a = Lock()\n")
    assert list(locks_in(tree)) == ["A"]


@pytest.mark.parametrize(("module", "kind"), FOUND)
def test_a_lock_is_made_anew_in_a_fork(module, kind):
    """By the module's own hook, or by the one that has it: whoever adds a lock says here which."""
    if (module, kind) in RENEWED_BY_THEIR_OWNER:
        return
    text = (ROOT / module).read_text("utf-8")
    # The last is the bindings', which know no room of ours.
    hooks = ("@in_forked_child\n", "renewed_in_forks(self)", "os.register_at_fork(")
    assert any(hook in text for hook in hooks), f"{module}: {kind or 'the module'}"
