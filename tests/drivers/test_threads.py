"""Locks of the kind of threads that the program has."""

from __future__ import annotations

import _thread
import threading
from queue import Empty
from types import MethodDescriptorType

import pytest

from cycles._drivers import httpx2_engine, httpx_engine, threads


def test_threads_are_native_here(monkeypatch):
    assert not threads.are_greenlets()
    monkeypatch.setattr(_thread, "start_new_thread", lambda *_: None)
    assert threads.are_greenlets()


def test_a_lock_is_made_anew_when_the_kind_of_threads_changes(monkeypatch):
    lock = threads.Lock()
    native = lock._inner
    with lock.native:
        assert native.locked()

    class Green:
        """The lock of a library that replaces threads."""

        taken = 0

        def acquire(self, timeout=None):
            Green.taken += 1
            return timeout is None

        def release(self):
            Green.taken -= 1

        def __enter__(self):
            self.acquire()

        def __exit__(self, *_):
            self.release()

    monkeypatch.setattr(threading, "Lock", Green)
    with lock.native:
        assert Green.taken == 1
        assert not native.locked()
    assert Green.taken == 0


@pytest.mark.parametrize(("kind", "times"), [("Lock", 1), ("RLock", 2)])
def test_it_is_of_the_kind_that_was_asked_for(kind, times):
    lock = threads.Lock(kind).native
    assert all(lock.acquire(blocking=False) for _ in range(times))
    if kind != "RLock":
        assert not lock.acquire(blocking=False)


@pytest.mark.parametrize("transport", [httpx_engine.Transport, httpx2_engine.Transport])
def test_no_exception_of_a_signal_leaves_a_lock_taken(transport):
    """Only a lock whose block begins in the interpreter itself is surely given back; one in Python has a gap."""
    with transport() as engine:
        for lock in (engine._pool._optional_thread_lock, threads.Lock().native, threads.Lock("RLock").native):
            assert isinstance(type(lock).__enter__, MethodDescriptorType)
    with pytest.raises(TypeError), threads.Lock():
        pass


@pytest.mark.parametrize("greenlets", [False, True])
def test_as_many_permits_are_taken_as_there_are(greenlets, monkeypatch):
    permits = threads.Permits(2)
    native = permits.steps
    if greenlets:
        monkeypatch.setattr(_thread, "start_new_thread", lambda *_: None)
        monkeypatch.setattr(threading, "Lock", lambda lock=threading.Lock: lock())
    take, put = permits.steps
    assert (permits.steps is native) is not greenlets
    taken = [take(None), take(0.0)]
    with pytest.raises(Empty):
        take(0.0)
    put(taken.pop())
    take(0.0)
