"""A PostgreSQL of the tests' own: in a temporary directory, on a unix socket, without a port, and gone afterwards.

with running() as server:
    LocalAuthority(server.database())
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

DEBIAN = "/usr/lib/postgresql"
ADMINISTRATOR = "cycles"
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
    """Why tests of PostgreSQL are skipped: a part is missing, or nobody asked for them. None: they run.

    With CYCLES_POSTGRES=1, as `nox -s postgres` sets it, they run, and a part that is missing is an error.
    """
    if os.environ.get("CYCLES_POSTGRES") == "1":
        return None
    if os.environ.get("CI") != "true":
        return "PostgreSQL's tests run in `nox -s postgres`, and where CI=true"
    if programs() is None:
        return "there is no PostgreSQL on this machine (initdb, postgres)"
    try:
        import psycopg_pool  # noqa: F401, PLC0415
    except ImportError:
        return "the extra `postgres` is not installed"
    return None


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


def with_patience() -> None:
    """Wait a moment before looking again."""
    import time  # noqa: PLC0415

    time.sleep(0.02)


def _other_user() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise AssertionError("no user to run PostgreSQL as")


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
