"""Connections to SQLite and PostgreSQL, with the few differences between them in one place."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa
from sqlalchemy import event

from orchestrator.database.gate import Gate, GateClosedError

POSTGRES_DRIVER = "postgresql+psycopg"
DATA_ERRORS = (psycopg.DataError, sqlite3.DataError, sa.exc.DataError, UnicodeError, OverflowError)
"""What the drivers raise for a value that the database cannot hold."""
LOCK_WAIT = 10.0
"""Seconds that a transaction waits for a lock before it fails."""


def parse_url(url: str) -> sa.URL:
    """The URL with our driver in it. Raises ValueError for anything but SQLite and PostgreSQL."""
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        raise ValueError("the database URL cannot be read; it looks like sqlite:///data/orchestrator.db") from None
    if parsed.drivername in ("postgresql", "postgres"):
        return parsed.set(drivername=POSTGRES_DRIVER)
    if parsed.drivername in (POSTGRES_DRIVER, "sqlite"):
        return parsed
    raise ValueError(f"databases of the kind {parsed.drivername!r} are not supported: use sqlite:/// or postgresql://")


class Database:
    """A pool of `connections` connections, opened on demand and never more.

    `statement_timeout` (seconds) bounds every statement on PostgreSQL; `lock_wait` the wait for locks on both.
    `replan` has PostgreSQL plan each statement anew, which only one that has but one good plan can do without.
    """

    def __init__(
        self,
        url: str,
        *,
        connections: int,
        name: str = "orchestrator",
        lock_wait: float = LOCK_WAIT,
        statement_timeout: float = 60.0,
        replan: bool = True,
    ) -> None:
        self.url = parse_url(url)
        self.is_sqlite = self.url.drivername == "sqlite"
        self.connections = connections
        self._lock_wait = lock_wait
        options: dict[str, Any] = {"pool_size": connections, "max_overflow": 0, "pool_timeout": lock_wait}
        options["hide_parameters"] = True  # Errors are logged, and parameters hold what senders sent.
        if self.is_sqlite:
            if self.url.database in (None, "", ":memory:"):
                raise ValueError("an SQLite database in memory cannot be shared: name a file")
            Path(self.url.database).parent.mkdir(parents=True, exist_ok=True)
            options["poolclass"] = sa.QueuePool
            options["connect_args"] = {"check_same_thread": False}
        else:
            settings = {
                "application_name": name,
                "statement_timeout": f"{statement_timeout * 1000:.0f}",
                "lock_timeout": f"{lock_wait * 1000:.0f}",
                "idle_in_transaction_session_timeout": "4000",
                # A plan made while a table was small would be kept while it grows, until statistics are renewed.
                "plan_cache_mode": "force_custom_plan" if replan else "auto",
            }
            options["connect_args"] = {
                "connect_timeout": 5,
                "options": " ".join(f"-c {key}={value}" for key, value in settings.items()),
            }
            options["pool_pre_ping"] = True
        self.engine = sa.create_engine(self.url, **options)
        if self.is_sqlite:
            self._gate = Gate(self.path)
            event.listen(self.engine, "connect", self._tune_sqlite)

    @property
    def path(self) -> Path:
        """The file of an SQLite database."""
        return Path(str(self.url.database))

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A connection that sees one moment of the database throughout."""
        with self.engine.connect() as connection:
            if self.is_sqlite:
                connection.exec_driver_sql("BEGIN")
            else:
                connection = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
                self._hold_read_models(connection)
            try:
                yield connection
            finally:
                if self.is_sqlite:
                    connection.exec_driver_sql("ROLLBACK")
                connection.rollback()

    def _hold_read_models(self, connection: sa.Connection) -> None:
        """Keeps read models that were made anew from taking the place of the old ones in the middle of this snapshot:
        names are looked up as they are now, but rows as they were. LOCK is the one statement that comes before the
        snapshot is taken; whoever puts them there locks the same table exclusively."""
        try:
            connection.exec_driver_sql("LOCK TABLE projections IN ACCESS SHARE MODE")
        except sa.exc.ProgrammingError:  # There is no schema yet.
            connection.rollback()

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A connection in a transaction that is committed at the end, or rolled back by an exception."""
        with self.engine.connect() as connection, self.transaction(connection):
            yield connection

    @contextmanager
    def transaction(self, connection: sa.Connection) -> Iterator[None]:
        """A transaction for writing on `connection`, which is kept afterwards."""
        if not self.is_sqlite:
            with connection.begin():
                yield
            return
        driver: Any = connection.connection.dbapi_connection
        try:
            with self._gate.passed(self._lock_wait):
                # IMMEDIATE: a transaction that starts by reading cannot be upgraded once another has written.
                driver.execute("BEGIN IMMEDIATE")
                try:
                    yield
                except BaseException:
                    if driver.in_transaction:  # SQLite ends some by itself, when the disk is full for one.
                        driver.execute("ROLLBACK")
                    raise
                driver.execute("COMMIT")
        except (GateClosedError, sqlite3.OperationalError) as error:
            raise sa.exc.OperationalError("a transaction that writes", None, error) from error

    def now(self, connection: sa.Connection) -> float:
        """The database's clock in seconds since 1970: the one clock that all processes on it share."""
        if self.is_sqlite:
            return time.time()
        return float(connection.exec_driver_sql("SELECT extract(epoch FROM clock_timestamp())").scalar_one())

    def _tune_sqlite(self, connection: sqlite3.Connection, _: Any) -> None:
        connection.isolation_level = None
        # For other programs, and for the recovery of the file after a crash; our own writers wait at the gate.
        connection.execute(f"PRAGMA busy_timeout = {self._lock_wait * 1000:.0f}")
        if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            # The switch fails at once, whatever the time-out, while another connection makes it too. It is made once in
            # the life of a file, so nobody who holds the gate comes by here.
            with self._gate.passed(self._lock_wait):
                connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA cache_size = -32000")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("PRAGMA mmap_size = 67108864")
        connection.execute("PRAGMA journal_size_limit = 67108864")
        connection.execute("PRAGMA wal_autocheckpoint = 0")  # See `Checkpointer`.

    def close(self) -> None:
        self.engine.dispose()
        if self.is_sqlite:
            self._gate.close()


def is_of_database(error: Exception) -> bool:
    return isinstance(error, sa.exc.SQLAlchemyError | psycopg.Error)


def told(error: Exception) -> str:
    """What went wrong. Of a database's error the first line only: the rest may quote the row, and so what was sent."""
    return str(error).partition("\n")[0] if is_of_database(error) else str(error)
