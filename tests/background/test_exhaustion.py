"""Without threads, descriptors or modules: what was spent is charged, and only errors of ours come out."""

from __future__ import annotations

import asyncio
import errno
import importlib
import os
import subprocess
import sys
import threading

import anyio
import pytest

import cycles
from cycles import usd
from cycles._drivers import readiness
from cycles._journal import writer
from cycles.local import LocalAuthority
from tests.support.authorities import ACTION, SCOPE, UNIT
from tests.support.waiting import until


@pytest.fixture
def no_thread(monkeypatch):
    """From the call on, no thread of this package or of its libraries can be started; nor is the writer running."""

    def exhaust():
        real = threading.Thread.start

        def start(thread):
            if "process_request" in thread.name or "_do_shutdown" in thread.name:
                return real(thread)  # of the test's own server, and of its loop's end
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(writer, "_the_writer", None)
        monkeypatch.setattr(threading.Thread, "start", start)

    return exhaust


def test_blocking_code_writes_in_place_and_goes_on_without_renewal(server, config, no_thread, kept, caplog):
    no_thread()
    with cycles.Client(config) as client:
        with cycles.Guard(usd("0.10"), action=ACTION, client=client) as held:
            held.report(actual=usd("0.04"))
            held.report(actual=usd("0.07"))
            assert [record["actual"]["amount"] for record in kept()] == [7_000_000]
        assert held.state == "COMMITTED"
    assert (server.spent(), server.held()) == (7, 0)
    assert "no background" in caplog.text


def test_what_waits_for_a_thread_is_done_when_one_can_be_started(server, config, no_thread, monkeypatch):
    monkeypatch.setattr("cycles._client.upkeep._SETTLING_IN", 0.0)
    with cycles.Client(config) as client:
        with monkeypatch.context():
            no_thread()
            left = client.reserve(usd("0.10"), action=ACTION)
            with pytest.warns(ResourceWarning):
                del left
        monkeypatch.undo()
        client.reserve(usd("0.05"), action=ACTION).release()
        until(lambda: server.held() == 0)


@pytest.mark.parametrize("library", ["asyncio", "trio"])
def test_tasks_write_in_place(server, config, no_thread, library):
    config = config.replace(base_url=server.url.replace("localhost", "127.0.0.1"))

    async def main():
        async with cycles.AsyncClient(config) as client:
            await client.decide(usd("0.01"), action=ACTION)
            no_thread()
            async with cycles.Guard(usd("0.10"), action=ACTION, client=client) as held:
                held.report(actual=usd("0.07"))
                await held.commit(usd("0.07"))
            assert held.state == "COMMITTED"

    anyio.run(main, backend=library)
    assert (server.spent(), server.held()) == (7, 0)


@pytest.mark.parametrize("library", ["asyncio", "trio"])
def test_trio_waits_for_the_writer_in_place(server, config, no_thread, library, monkeypatch):
    """The journal's thread runs, and no other one can be started."""

    async def main():
        async with cycles.AsyncClient(config) as client:
            reservation = await client.reserve(usd("0.10"), action=ACTION)
            running = writer.the_writer()
            no_thread()
            monkeypatch.setattr(writer, "_the_writer", running)
            await reservation.commit(usd("0.07"))

    anyio.run(main, backend=library)
    assert server.spent() == 7


@pytest.mark.parametrize("library", ["asyncio", "trio"])
def test_a_file_answers_in_place(tmp_path, no_thread, library):
    with LocalAuthority(tmp_path / "ledger.db") as authority:
        authority.budget(SCOPE, usd("1.00"))

        async def main():
            async with authority.async_client(tenant="acme") as client:
                no_thread()
                async with cycles.Guard(usd("0.10"), action=ACTION, client=client) as held:
                    held.report(actual=usd("0.07"))

        anyio.run(main, backend=library)
        assert authority.balance(SCOPE, UNIT).spent == 7_000_000


def test_a_name_that_no_thread_can_look_up_is_no_answer(server, config, no_thread):
    async def main():
        async with cycles.AsyncClient(config.replace(base_url=server.url.replace("127.0.0.1", "localhost"))) as client:
            no_thread()
            with pytest.raises(cycles.AuthorityUnavailable):
                await client.reserve(usd("0.10"), action=ACTION)

    asyncio.run(main())


def test_without_a_descriptor_for_a_loop_the_section_goes_on(server, config, monkeypatch, caplog):
    def none_left():
        raise OSError(errno.EMFILE, "Too many open files")

    with cycles.Client(config) as client:
        monkeypatch.setattr(asyncio, "new_event_loop", none_left)
        with cycles.Guard(usd("0.10"), action=ACTION, client=client) as held:
            held.report(actual=usd("0.07"))
        assert held.state == "COMMITTED"
    assert "no background" in caplog.text


def test_a_module_that_can_not_be_loaded_stops_the_reserve_before_it_is_sent(server, config, monkeypatch):
    readiness.get_ready.cache_clear()
    monkeypatch.setattr(readiness, "_LOOPS", ("cycles.no_such_module",))
    with cycles.Client(config) as client, pytest.raises(cycles.ConfigError, match="no_such_module"):
        client.reserve(usd("0.10"), action=ACTION)
    assert server.of("reservations") == []


def test_after_the_end_of_the_main_thread_a_first_reserve_needs_no_pool_of_threads(server, config, monkeypatch):
    """Worker threads may go on for as long as they like; asyncio's pool can't be loaded by then."""
    load = importlib.import_module

    def refusing(name, *arguments):
        if name == "concurrent.futures.thread":
            raise RuntimeError("can't register atexit after shutdown")
        return load(name, *arguments)

    readiness.get_ready.cache_clear()
    monkeypatch.setattr(importlib, "import_module", refusing)
    with cycles.Client(config) as client, cycles.Guard(usd("0.10"), action=ACTION, client=client) as held:
        held.report(actual=usd("0.07"))
    assert (held.state, server.spent()) == ("COMMITTED", 7)


UPGRADED = """
import asyncio, sys, cycles
from cycles import usd

class Gone:
    def find_spec(self, name, path=None, target=None):
        raise ModuleNotFoundError(f"{name} was upgraded underneath")

def end_sync():
    with cycles.Client() as client:
        first, second = (client.reserve(usd("0.10"), action=("a", "b")) for _ in range(2))
        sys.meta_path.insert(0, Gone())
        first.commit(usd("0.07"), metrics=cycles.Metrics(tokens_input=1))
        second.release()

async def end_async():
    async with cycles.AsyncClient() as client:
        first, second = [await client.reserve(usd("0.10"), action=("a", "b")) for _ in range(2)]
        sys.meta_path.insert(0, Gone())
        await first.commit(usd("0.07"), metrics=cycles.Metrics(tokens_input=1))
        await second.release()

kind = sys.argv[1]
if kind == "sync":
    end_sync()
elif kind == "asyncio":
    asyncio.run(end_async())
else:
    import trio
    trio.run(end_async)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sync", "asyncio", "trio"])
def test_the_end_of_a_section_loads_nothing(server, environ, kind):
    done = subprocess.run(
        [sys.executable, "-c", UPGRADED, kind],
        env={**os.environ, **environ},
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (server.spent(), server.held()) == (7, 0)


OUTLIVING = """
import asyncio, atexit, sys, threading, cycles
from cycles import usd

def blocking():
    with cycles.Guard(usd("0.10"), action=("a", "b")) as held:
        held.report(actual=usd("0.07"))

async def asynchronous():
    async with cycles.Guard(usd("0.10"), action=("a", "b")) as held:
        held.report(actual=usd("0.07"))

def section():
    blocking() if sys.argv[1] == "blocking" else asyncio.run(asynchronous())

def later():
    threading.main_thread().join()
    section()

if sys.argv[2] == "thread":
    threading.Thread(target=later).start()
else:
    atexit.register(section)
"""


@pytest.mark.slow
@pytest.mark.parametrize("where", ["thread", "atexit"])
@pytest.mark.parametrize("kind", ["blocking", "asynchronous"])
def test_sections_after_the_end_of_the_main_thread_are_charged(server, environ, kind, where):
    """The authority has a name, which has to be looked up; asyncio's threads for that are gone by then."""
    named = {**environ, "CYCLES_BASE_URL": environ["CYCLES_BASE_URL"].replace("127.0.0.1", "localhost")}
    done = subprocess.run(
        [sys.executable, "-c", OUTLIVING, kind, where],
        env={**os.environ, **named},
        capture_output=True,
        check=False,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (server.spent(), server.held()) == (7, 0)
