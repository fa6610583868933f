"""A PostgreSQL of the tests' own: in a temporary directory, on a unix socket, without a port, and gone afterwards.

with running() as server:
    LocalAuthority(server.database())
"""

from __future__ import annotations

import atexit
import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import pwd
    from collections.abc import Iterator

DEBIAN = "/usr/lib/postgresql"
ADMINISTRATOR = "cycles"
SOCKET = ".s.PGSQL.5432"
PASSWORD = "a pass/word@with:all?of#it"
SETTINGS = (
    "listen_addresses = ''",
    "fsync = off",  # a killed process loses nothing by it; the machine does not fail here
    "max_connections = 200",
    "shared_buffers = 64MB",
    "autovacuum_naptime = 10s",
    "log_min_messages = warning",
    "log_error_verbosity = terse",
)


@cache
def programs() -> Path | None:
    """Where `initdb` and `postgres` are; None: not on this machine."""
    places = [os.environ.get("CYCLES_POSTGRES_BIN", ""), *sorted(map(str, Path(DEBIAN).glob("*/bin")), reverse=True)]
    found = shutil.which("initdb", path=os.pathsep.join([*filter(None, places), os.environ.get("PATH", "")]))
    if found is None or shutil.which("postgres", path=str(Path(found).parent)) is None:
        return None
    return Path(found).parent


def reason_to_skip() -> str | None:
    """Why tests of PostgreSQL are skipped; None: they run.

    `nox -s postgres` sets CYCLES_POSTGRES=1, and so does CI: then a part that is missing is an error.
    """
    return None if os.environ.get("CYCLES_POSTGRES") == "1" else "PostgreSQL's tests run in `nox -s postgres`"


class Server:
    """A PostgreSQL server that tests start, stop, kill and start again.

    Args:
        directory: Where everything of it is; short, for the name of a socket is at most 107 bytes long.
        *settings: Lines for postgresql.conf.
    """

    def __init__(self, directory: Path, *settings: str) -> None:
        found = programs()
        assert found is not None, "no PostgreSQL on this machine: apt-get install postgresql"
        self.programs, self.directory, self.data = found, directory, directory / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self._made = 0
        self._as: dict[str, Any] = {}
        if os.getuid() == 0:  # PostgreSQL refuses to run as root
            other = _other_user()
            os.chown(directory, other.pw_uid, other.pw_gid)
            self._as = {"user": other.pw_uid, "group": other.pw_gid, "extra_groups": ()}
        secret = directory / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        user = ("-U", ADMINISTRATOR, "-A", "scram-sha-256", "--pwfile", secret)
        self._run("initdb", "-D", self.data, "-E", "UTF8", "--locale=C.UTF-8", *user, "--no-sync")
        with (self.data / "postgresql.conf").open("a") as file:
            file.write("\n".join((*SETTINGS, f"unix_socket_directories = '{directory}'", *settings, "")))

    def _run(self, program: str, *arguments: object) -> None:
        line = [str(self.programs / program), *map(str, arguments)]
        done = subprocess.run(line, capture_output=True, text=True, check=False, cwd=self.directory, **self._as)
        assert done.returncode == 0, f"{program} failed: {done.stdout}\n{done.stderr}"

    # -- its life ------------------------------------------------------------------------------------------------------
    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        assert self._process is None
        line = [str(self.programs / "postgres"), "-D", str(self.data)]
        log = (self.directory / "log").open("ab")
        with log:
            self._process = subprocess.Popen(line, stdout=log, stderr=log, cwd=self.directory, **self._as)
        pid_file = self.data / "postmaster.pid"
        while True:
            assert self._process.poll() is None, (self.directory / "log").read_text()
            # The eighth line says "ready" once it takes connections.
            if pid_file.exists() and pid_file.read_text().splitlines()[7:8] == ["ready   "]:
                return
            with_patience()

    @property
    def pid(self) -> int:
        """Its first process, which starts all others."""
        assert self._process is not None
        return self._process.pid

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT ends connections in order, SIGQUIT at once, as a crash does."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait()
            self._process = None

    def restart(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it, and start it again."""
        self.stop(how)
        self.start()

    # -- databases -----------------------------------------------------------------------------------------------------
    def url(self, database: str, *, password: str | None = PASSWORD) -> str:
        """Return the URL of a database."""
        from urllib.parse import quote  # noqa: PLC0415

        secret = "" if password is None else f":{quote(password, safe='')}"
        return f"postgresql://{ADMINISTRATOR}{secret}@/{database}?host={quote(str(self.directory), safe='/')}"

    def database(self) -> str:
        """Make an empty database, and return its URL."""
        self._made += 1
        name = f"ledger_{os.getpid()}_{self._made}"
        self.query("postgres", f"CREATE DATABASE {name} STRATEGY = FILE_COPY")
        return self.url(name)

    def query(self, database: str, statement: str) -> list[tuple[Any, ...]]:
        """Run one statement as the administrator, by a connection of its own."""
        import psycopg  # noqa: PLC0415

        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []


class Proxy:
    """A way to a server that can be cut, and that counts round trips: how often a client speaks after it was answered.

    Args:
        server: Where it leads.
        directory: Where its own socket is made.
    """

    def __init__(self, server: Server, directory: Path) -> None:
        self.directory, self.turns = directory, 0
        self._to = str(server.directory / SOCKET)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(directory / SOCKET))
        self._listener.listen(64)
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, url: str) -> str:
        """Return the *url* of a database on the way through here."""
        return f"{url.partition('?')[0]}?host={self.directory}"

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(self._to)
            except OSError:  # it is down
                client.close()
                continue
            self._pairs.append((client, server))
            threading.Thread(target=self._relay, args=(client, server), daemon=True).start()

    def _relay(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError), client, server:
            was_answered = True
            while True:
                for one in select.select([client, server], [], [])[0]:
                    data = one.recv(65_536)
                    if not data:
                        return
                    self.turns += one is client and was_answered
                    was_answered = one is server
                    (server if one is client else client).sendall(data)

    def cut(self) -> None:
        """Cut every connection, in the middle of whatever it carries."""
        pairs, self._pairs = self._pairs, []
        for one in (one for pair in pairs for one in pair):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End it."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()


@contextmanager
def proxied(server: Server) -> Iterator[Proxy]:
    """Give a proxy before a server."""
    directory = Path(tempfile.mkdtemp(prefix="cyc-px-"))
    proxy = Proxy(server, directory)
    try:
        yield proxy
    finally:
        proxy.close()
        shutil.rmtree(directory, ignore_errors=True)


def with_patience() -> None:
    """Wait a moment before looking again."""
    import time  # noqa: PLC0415

    time.sleep(0.02)


def _other_user() -> pwd.struct_passwd:
    import pwd  # noqa: PLC0415 - not on Windows

    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise AssertionError("no user to run PostgreSQL as")


def dumped(authority: Any) -> list[str]:
    """Return every row of an authority's ledger as text, on either store."""
    with authority.store.reading() as books:
        if not authority.store.place.startswith("postgres"):
            return list(books.connection.iterdump())
        found = books.connection.execute("SELECT tablename FROM pg_tables WHERE tablename ~ '^cycles_' ORDER BY 1")
        return [
            f"{name} {row}"
            for (name,) in found.fetchall()
            for (row,) in books.connection.execute(f"SELECT t::text FROM {name} t ORDER BY 1").fetchall()
        ]


# -- one server for the tests of a process -----------------------------------------------------------------------------
_shared: Any = None
_ending = ExitStack()
_free: list[str] = []


@atexit.register
def end_shared() -> None:
    """End the shared server; at the end of the tests, and else of the process."""
    global _shared  # noqa: PLW0603 - once
    _shared = None
    _free.clear()
    _ending.close()


def shared() -> Server:
    """The server that the tests of this process share; it ends with the process."""
    global _shared  # noqa: PLW0603 - once
    if _shared is None:
        _shared = _ending.enter_context(running())
    server: Server = _shared
    return server


@contextmanager
def empty_ledger() -> Iterator[str]:
    """Give the URL of a database of the shared server in which there is nothing."""
    server = shared()
    url = _free.pop() if _free else server.database()
    try:
        yield url
    finally:
        name = url.partition("?")[0].rpartition("/")[2]
        tables = server.query(name, "SELECT tablename FROM pg_tables WHERE tablename ~ '^cycles_(?!ledger)'")
        if tables:
            server.query(name, f"TRUNCATE {', '.join(table for (table,) in tables)}")
        _free.append(url)


on_sqlite = pytest.mark.parametrize("authority", ["memory"], indirect=True)
"""Of a test that looks beneath the authority, at SQLite."""

STORES = ["memory", *([] if reason_to_skip() else ["postgres"])]
"""The stores that the suite of the authority runs on."""


SHARED_STORES = ["file", *STORES[1:]]
"""Those of a ledger that several authorities and servers open."""


@contextmanager
def shared_place_of(store: str, directory: Path) -> Iterator[str]:
    """Give the argument of LocalAuthority for an empty ledger in one of SHARED_STORES."""
    if store == "postgres":
        with empty_ledger() as url:
            yield url
    else:
        yield str(directory / "ledger.db")


@contextmanager
def place_of(store: str) -> Iterator[str | None]:
    """Give the argument of LocalAuthority for an empty ledger in one of STORES."""
    if store == "postgres":
        with empty_ledger() as url:
            yield url
    else:
        yield None


@contextmanager
def running(*settings: str) -> Iterator[Server]:
    """Give a server that runs, with these lines in its configuration; afterwards nothing is left of it."""
    directory = Path(tempfile.mkdtemp(prefix="cyc-pg-"))
    try:
        server = Server(directory, *settings)
        try:
            server.start()
            yield server
        finally:
            server.stop(signal.SIGQUIT)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
