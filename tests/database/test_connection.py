from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from types import SimpleNamespace

import pytest
import sqlalchemy as sa

from orchestrator.database import Checkpointer, Database
from orchestrator.database.connection import parse_url
from orchestrator.database.gate import Gate
from orchestrator.service import Pools
from orchestrator.worker import CONNECTIONS, JOURNAL, REBUILD, WORKERS

IMPATIENT = 0.05
"""Seconds. A wait of 0 would be endless to PostgreSQL."""

sqlite_only = pytest.mark.parametrize("migrated_url", ["sqlite"], indirect=True)
postgresql_only = pytest.mark.parametrize("migrated_url", ["postgresql"], indirect=True)


@pytest.fixture
def database(migrated_url: str) -> Iterator[Database]:
    with closing(Database(migrated_url, connections=3)) as database:
        yield database


def increase(connection: sa.Connection) -> None:
    connection.exec_driver_sql("UPDATE projections SET position = position + 1 WHERE name = 'bundles'")


def number(connection: sa.Connection) -> int:
    return int(connection.exec_driver_sql("SELECT position FROM projections WHERE name = 'bundles'").scalar_one())


def stored_number(database: Database) -> int:
    with database.read() as connection:
        return number(connection)


def show(database: Database, setting: str) -> str:
    with database.read() as connection:
        return str(connection.exec_driver_sql(f"SHOW {setting}").scalar_one())


def pragma(database: Database, name: str) -> object:
    with database.engine.connect() as connection:
        return connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()


@pytest.mark.parametrize("url", ["", "nonsense", "orchestrator.db", "//host/name"])
def test_what_is_no_url_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(ValueError, match=r"^the database URL cannot be read; it looks like sqlite:///\S+$"):
        parse_url(url)


@pytest.mark.parametrize("kind", ["mysql", "oracle", "sqlite+aiosqlite", "postgresql+asyncpg", "http"])
def test_other_kinds_of_databases_are_refused_by_name(kind: str) -> None:
    with pytest.raises(ValueError) as refusal:
        parse_url(f"{kind}://user:Pa55word@host/name")

    assert str(refusal.value) == (
        f"databases of the kind {kind!r} are not supported: use sqlite:/// or postgresql://"
    )  # and not a word of the password


def test_a_port_that_is_no_number_is_refused_like_any_other_url_that_cannot_be_read() -> None:
    with pytest.raises(ValueError, match=r"^the database URL cannot be read; it looks like sqlite:///\S+$"):
        parse_url("postgresql://host:port/name")


@pytest.mark.parametrize("kind", ["postgresql", "postgres", "postgresql+psycopg"])
def test_postgresql_is_known_by_all_its_names(kind: str) -> None:
    assert parse_url(f"{kind}://ann@host:5433/name").render_as_string() == "postgresql+psycopg://ann@host:5433/name"


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///:memory:"])
def test_sqlite_in_memory_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"^an SQLite database in memory cannot be shared: name a file$"):
        Database(url, connections=1)


def test_the_folder_of_an_sqlite_file_is_made(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/new/folder/file.db", connections=1)
    with closing(database), database.write() as connection:
        connection.exec_driver_sql("CREATE TABLE t (x)")

    assert (tmp_path / "new/folder/file.db").is_file()


def test_what_is_written_is_committed_at_the_end(database: Database) -> None:
    with database.write() as connection:
        increase(connection)
        assert stored_number(database) == 0

    assert stored_number(database) == 1


@pytest.mark.parametrize("exception", [ZeroDivisionError, KeyboardInterrupt])
def test_an_exception_rolls_back_what_was_written(database: Database, exception: type[BaseException]) -> None:
    with pytest.raises(exception), database.write() as connection:
        increase(connection)
        raise exception

    assert stored_number(database) == 0


def test_a_statement_that_fails_rolls_back_what_was_written(database: Database) -> None:
    with pytest.raises(sa.exc.IntegrityError), database.write() as connection:
        increase(connection)
        connection.exec_driver_sql("INSERT INTO projections (name, position) VALUES ('bundles', 0)")

    assert stored_number(database) == 0


def test_a_failure_does_not_spoil_the_next_transaction(migrated_url: str) -> None:
    with closing(Database(migrated_url, connections=1)) as database:
        for _ in range(2):
            with pytest.raises(sa.exc.DBAPIError), database.write() as connection:
                connection.exec_driver_sql("SELECT * FROM no_such_table")

        with database.write() as connection:
            increase(connection)
        assert stored_number(database) == 1


def test_several_transactions_can_use_one_connection(database: Database) -> None:
    with database.engine.connect() as connection:
        with database.transaction(connection):
            increase(connection)
        with pytest.raises(ZeroDivisionError), database.transaction(connection):
            increase(connection)
            raise ZeroDivisionError
        with database.transaction(connection):
            increase(connection)

    assert stored_number(database) == 2


def test_a_reader_sees_one_moment_while_others_write(database: Database) -> None:
    with database.read() as reading:
        assert number(reading) == 0
        with database.write() as writing:
            increase(writing)

        assert stored_number(database) == 1
        assert number(reading) == 0


def test_what_was_read_in_one_go_is_not_kept_for_the_next(migrated_url: str) -> None:
    with closing(Database(migrated_url, connections=1)) as reader, closing(Database(migrated_url, connections=1)) as w:
        assert stored_number(reader) == 0
        with w.write() as connection:
            increase(connection)

        assert stored_number(reader) == 1


def test_nothing_stays_of_what_a_reader_writes(database: Database) -> None:
    """PostgreSQL refuses, SQLite rolls back."""
    try:
        with database.read() as connection:
            increase(connection)
    except sa.exc.InternalError:
        assert not database.is_sqlite

    assert stored_number(database) == 0


@pytest.fixture
def second_writer_waits(database: Database, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Returns once a writer waits for the lock of another."""
    waiting = threading.Event()
    if database.is_sqlite:
        monkeypatch.setattr(
            "orchestrator.database.gate.time",
            SimpleNamespace(monotonic=lambda: 0.0, sleep=lambda seconds: waiting.set()),
        )

    def until_it_waits() -> None:
        if database.is_sqlite:
            assert waiting.wait(30)
            return
        waiting_for = "SELECT wait_event_type FROM pg_stat_activity WHERE datname = current_database()"
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            looks = (connection.exec_driver_sql(waiting_for).scalars().all() for _ in range(20_000))
            assert any("Lock" in look for look in looks)

    return until_it_waits


@pytest.mark.parametrize("first_one_fails", [False, True])
def test_a_writer_waits_for_the_lock_of_another_and_goes_on(
    migrated_url: str, database: Database, second_writer_waits: Callable[[], None], first_one_fails: bool
) -> None:
    def second() -> None:
        with closing(Database(migrated_url, connections=1)) as another, another.write() as connection:
            increase(connection)

    with ThreadPoolExecutor(1) as thread, ExitStack() as expected:
        if first_one_fails:
            expected.enter_context(pytest.raises(ZeroDivisionError))
        with database.write() as connection:
            increase(connection)
            waiting: Future[None] = thread.submit(second)
            second_writer_waits()
            assert not waiting.done()
            if first_one_fails:
                raise ZeroDivisionError

    waiting.result()
    assert stored_number(database) == (1 if first_one_fails else 2)


def test_the_wait_for_a_lock_ends_in_an_error(migrated_url: str, database: Database) -> None:
    with closing(Database(migrated_url, connections=1, lock_wait=IMPATIENT)) as impatient:
        with database.write() as connection:
            increase(connection)

            with pytest.raises(sa.exc.OperationalError, match=r"lock|is writing"), impatient.write() as late:
                increase(late)

        assert stored_number(database) == 1
        with impatient.write() as connection:  # it is as good as new
            increase(connection)
        assert stored_number(database) == 2


def test_a_pool_never_opens_more_connections_than_it_may(migrated_url: str) -> None:
    database = Database(migrated_url, connections=2, name="just-two", lock_wait=IMPATIENT)
    with closing(database), ExitStack() as held:
        first = held.enter_context(database.read())
        held.enter_context(database.read())

        with pytest.raises(sa.exc.TimeoutError), database.read():
            pass

        assert database.engine.pool.checkedout() == 2  # type: ignore[attr-defined]
        if not database.is_sqlite:
            opened = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'just-two'"
            assert first.exec_driver_sql(opened).scalar_one() == 2


def test_many_threads_share_the_connections_of_a_pool(migrated_url: str) -> None:
    with closing(Database(migrated_url, connections=2)) as database:
        opened: list[sa.PoolProxiedConnection] = []
        sa.event.listen(database.engine, "connect", lambda connection, record: opened.append(connection))
        together = threading.Barrier(8)

        def work(_: int) -> None:
            together.wait(30)
            for _ in range(3):
                with database.write() as connection:
                    increase(connection)

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(work, range(8)))

        assert stored_number(database) == 24
        assert len(opened) <= 2


def test_connections_are_opened_on_demand(migrated_url: str) -> None:
    with closing(Database(migrated_url, connections=5)) as database:
        assert database.engine.pool.checkedin() == 0  # type: ignore[attr-defined]

        stored_number(database)
        stored_number(database)

        assert database.engine.pool.checkedin() == 1  # type: ignore[attr-defined]


def test_one_service_uses_19_connections_and_three_more_while_read_models_are_made_anew() -> None:
    """The numbers that operators are told to allow for."""
    assert Pools().reads == 6
    assert CONNECTIONS == {"journal": 1, "engine": 2, "projections": 2, "outside": 8, "rebuild": 3}
    assert set(CONNECTIONS) == {JOURNAL, *WORKERS, REBUILD}
    assert Pools().reads + sum(CONNECTIONS.values()) == 19 + 3


def test_the_database_tells_the_time(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours, for SQLite; but with PostgreSQL all machines have its server's clock."""
    monkeypatch.setattr("orchestrator.database.connection.time", SimpleNamespace(time=lambda: 7.5))

    with database.write() as connection:
        now = database.now(connection)
        if database.is_sqlite:
            assert now == 7.5
        else:
            assert now == pytest.approx(
                float(connection.exec_driver_sql("SELECT extract(epoch FROM now())").scalar_one()), abs=60
            )
            assert database.now(connection) > now  # even within one transaction


def test_errors_do_not_tell_what_was_to_be_stored(database: Database) -> None:
    with pytest.raises(sa.exc.IntegrityError) as error, database.write() as connection:
        for _ in range(2):
            connection.execute(sa.text("INSERT INTO world VALUES ('key', :value)"), {"value": "confidential"})

    assert "INSERT INTO world" in str(error.value)
    assert "confidential" not in str(error.value)


@sqlite_only
def test_an_error_with_which_sqlite_ends_a_transaction_itself_is_the_one_that_is_raised(database: Database) -> None:
    with pytest.raises(sa.exc.OperationalError, match="disk is full"), database.write() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1")
        connection.exec_driver_sql("INSERT INTO world VALUES ('key', zeroblob(1000000))")


@sqlite_only
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("journal_mode", "wal"),
        ("synchronous", 2),  # FULL: what was answered survives a power cut
        ("wal_autocheckpoint", 0),
        ("busy_timeout", 10000),
    ],
)
def test_each_sqlite_connection_is_tuned(database: Database, name: str, value: object) -> None:
    with ExitStack() as others:
        others.enter_context(database.read())
        assert pragma(database, name) == value


def frames(path: Path) -> int:
    """Of 4 KiB, in the write-ahead log."""
    wal = path.with_name(path.name + "-wal")
    return wal.stat().st_size // 4096


def on_disk(path: Path) -> int:
    """The number in the database file, whatever the write-ahead log says."""
    with closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True)) as connection:
        (found,) = connection.execute("SELECT position FROM projections WHERE name = 'bundles'").fetchone()
        return int(found)


@pytest.fixture
def file(database: Database) -> Path:
    assert database.url.database is not None
    return Path(database.url.database)


def checkpoint(database: Database) -> None:
    with closing(Checkpointer(database)) as checkpointer:
        checkpointer.run()


@sqlite_only
def test_no_commit_touches_the_database_file(database: Database, file: Path) -> None:
    with database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA synchronous = OFF")  # for speed alone
        for _ in range(1100):  # SQLite's own checkpoint would come at 1000 pages
            with database.transaction(connection):
                increase(connection)

    assert frames(file) > 1000
    assert on_disk(file) == 0
    assert stored_number(database) == 1100


@sqlite_only
def test_a_checkpoint_moves_what_the_log_holds_into_the_file(database: Database, file: Path) -> None:
    with database.write() as connection:
        increase(connection)
    assert on_disk(file) == 0

    checkpoint(database)

    assert on_disk(file) == 1
    assert stored_number(database) == 1


@sqlite_only
def test_the_log_is_used_again_after_a_checkpoint(database: Database, file: Path) -> None:
    for _ in range(20):
        with database.write() as connection:
            increase(connection)
        checkpoint(database)

    assert frames(file) < 10
    assert on_disk(file) == 20


@sqlite_only
def test_a_checkpoint_keeps_what_a_reader_still_sees(database: Database) -> None:
    with database.read() as reading:
        assert number(reading) == 0
        with database.write() as connection:
            increase(connection)

        checkpoint(database)

        assert number(reading) == 0
    assert stored_number(database) == 1


@sqlite_only
def test_no_checkpoint_runs_while_somebody_writes(database: Database, file: Path) -> None:
    with database.write() as connection:
        increase(connection)
    with database.write() as connection:
        increase(connection)
        checkpoint(database)
        assert on_disk(file) == 0
    checkpoint(database)
    assert on_disk(file) == 2


@sqlite_only
def test_nobody_writes_while_a_checkpoint_runs(migrated_url: str, file: Path) -> None:
    gate = Gate(file)
    with closing(Database(migrated_url, connections=1, lock_wait=IMPATIENT)) as database, closing(gate):
        with gate.passed(1), pytest.raises(sa.exc.OperationalError), database.write() as connection:
            increase(connection)
        with database.write() as connection:
            increase(connection)
        assert stored_number(database) == 1


@postgresql_only
def test_each_postgresql_connection_is_tuned(migrated_url: str) -> None:
    with closing(
        Database(migrated_url, connections=1, name="orchestrator-test", lock_wait=3, statement_timeout=1.5)
    ) as database:
        assert show(database, "application_name") == "orchestrator-test"
        assert show(database, "plan_cache_mode") == "force_custom_plan"
        assert show(database, "lock_timeout") == "3s"
        assert show(database, "statement_timeout") == "1500ms"
        assert show(database, "idle_in_transaction_session_timeout") == "4s"
        assert show(database, "synchronous_commit") == "on"


@postgresql_only
def test_who_has_but_one_good_plan_may_keep_it(migrated_url: str) -> None:
    with closing(Database(migrated_url, connections=1, replan=False)) as database:
        assert show(database, "plan_cache_mode") == "auto"


@postgresql_only
def test_a_statement_that_takes_too_long_is_given_up(migrated_url: str) -> None:
    with closing(Database(migrated_url, connections=1, statement_timeout=IMPATIENT)) as database:
        with pytest.raises(sa.exc.OperationalError, match="statement timeout"), database.read() as connection:
            connection.exec_driver_sql("SELECT pg_sleep(60)")

        assert stored_number(database) == 0


@postgresql_only
def test_a_reader_cannot_write(database: Database) -> None:
    with pytest.raises(sa.exc.InternalError, match="read-only"), database.read() as connection:
        increase(connection)

    with database.write() as connection:  # on the connection that the reader gave back
        increase(connection)


@postgresql_only
def test_connections_that_the_server_dropped_are_replaced(migrated_url: str, database: Database) -> None:
    with closing(Database(migrated_url, connections=1, name="victim")) as victim:
        stored_number(victim)
        with database.write() as connection:
            killed = connection.exec_driver_sql(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'victim'"
            )
            assert killed.scalars().all() == [True]

        assert stored_number(victim) == 0
