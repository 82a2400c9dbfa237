from __future__ import annotations

import sqlite3
import stat
import threading
import zipfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator.audit.sealer import Sealer
from orchestrator.audit.verify import verify
from orchestrator.backup import BackupError, backup, restore
from orchestrator.database import Database, migrate
from orchestrator.database.migrate import head, require_head
from orchestrator.engine import Engine
from orchestrator.restored import restored
from tests.audit.logs import KEY, Log
from tests.postgres import PostgresServer
from tests.projections.logs import article, follow

STALE = {"leases", "sweeps"}


def silent(done: int, total: int) -> None:
    assert 0 <= done <= total


@pytest.fixture
def empty_url(request: pytest.FixtureRequest, migrated_url: str, tmp_path: Path) -> Iterator[str]:
    """Of a database of the same kind that is not there yet, or is empty."""
    if migrated_url.startswith("sqlite"):
        yield f"sqlite:///{tmp_path / 'elsewhere' / 'orchestrator.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    url = server.new_database()
    yield url
    server.drop_database(url)


@contextmanager
def opened(url: str) -> Iterator[Database]:
    with closing(Database(url, connections=2)) as database:
        yield database


def content(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    names = sa.inspect(database.engine).get_table_names()
    with database.read() as connection:
        return {
            name: sorted((tuple(row) for row in connection.execute(sa.text(f'SELECT * FROM "{name}"'))), key=repr)
            for name in names
        }


def shape(database: Database) -> Any:
    if database.is_sqlite:
        with database.read() as connection:
            return sorted(connection.exec_driver_sql("SELECT type, name, tbl_name, sql FROM sqlite_master"), key=repr)
    found = sa.inspect(database.engine)
    return {
        name: (
            [(c["name"], str(c["type"]), c["nullable"], c.get("default")) for c in found.get_columns(name)],
            found.get_pk_constraint(name),
            sorted(found.get_unique_constraints(name), key=repr),
            sorted(found.get_indexes(name), key=repr),
        )
        for name in found.get_table_names()
    }


def test_everything_comes_back(log: Log, migrated_url: str, empty_url: str, tmp_path: Path) -> None:
    follow(log.database)
    before = content(log.database)

    made = backup(migrated_url, tmp_path / "b", silent)
    again = restore(empty_url, tmp_path / "b", silent)

    assert made == again
    assert made.position == log.value("SELECT max(notification_id) FROM events")
    assert made.batch == log.value("SELECT max(batch) FROM chain")
    with opened(empty_url) as database:
        require_head(database)
        after = content(database)
        assert {name: rows for name, rows in after.items() if name not in STALE | {"world"}} == {
            name: rows for name, rows in before.items() if name not in STALE | {"world"}
        }
        assert all(after[name] == [] for name in STALE)
        assert shape(database) == shape(log.database)
        with database.read() as connection:
            assert restored(connection) == made
        assert migrate(empty_url) == head()


def test_a_restored_log_is_verified_and_goes_on(log: Log, migrated_url: str, empty_url: str, tmp_path: Path) -> None:
    backup(migrated_url, tmp_path / "b", silent)
    log.take([article(950, "bundle.ready", "b1")])
    log.seal()  # Of what will be lost.
    restore(empty_url, tmp_path / "b", silent)

    with opened(empty_url) as database:
        again = Log(database, log.outside.folder)
        again.engine = Engine(database)
        assert "cut" in {finding.kind for finding in again.verify().findings}  # Until the loss is on record.
        again.take([article(951, "bundle.ready", "b2"), article(952, "bundle.ready", "b3")])
        again.sealer = Sealer(
            database, again.outside, lambda: KEY, clock=again.time.now, monotonic=again.time.monotonic
        )
        again.seal()
        report = again.verify()
        assert report.is_clean
        assert any("was restored from a backup" in note for note in report.notes)
        assert report.position == report.signed_position


def test_a_backup_is_one_moment_though_others_write(
    log: Log, migrated_url: str, empty_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.backup.sqlite.PAGES", 5)
    written = threading.Event()
    calls = 0

    def write_meanwhile(done: int, total: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            log.take([article(960 + number, "bundle.ready", f"new{number}") for number in range(20)])
            written.set()

    mark = backup(migrated_url, tmp_path / "b", write_meanwhile)

    assert written.is_set() and calls < 2_000
    assert mark.position < log.value("SELECT max(notification_id) FROM events")
    restore(empty_url, tmp_path / "b", silent)
    with opened(empty_url) as database:
        report = verify(database, [KEY.public])
        assert report.is_clean and report.position == mark.position
        with database.read() as connection:
            assert connection.execute(sa.text("SELECT count(*) FROM inbox")).scalar_one() == 0


def test_only_the_owner_can_read_it(log: Log, migrated_url: str, tmp_path: Path) -> None:
    path = tmp_path / "b"
    backup(migrated_url, path, silent)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [other.name for other in tmp_path.glob(".b*")] == []


def test_no_file_is_replaced(log: Log, migrated_url: str, tmp_path: Path) -> None:
    path = tmp_path / "b"
    path.write_text("precious")
    with pytest.raises(BackupError, match="exists already"):
        backup(migrated_url, path, silent)
    assert path.read_text() == "precious"


def test_a_file_that_appears_meanwhile_is_not_replaced(log: Log, migrated_url: str, tmp_path: Path) -> None:
    path = tmp_path / "b"
    with pytest.raises(BackupError, match="exists already"):
        backup(migrated_url, path, lambda *_: path.write_text("precious") and None)
    assert path.read_text() == "precious"
    assert list(tmp_path.glob(".b*")) == []


def test_a_backup_is_restored_into_nothing_but_an_empty_database(log: Log, migrated_url: str, tmp_path: Path) -> None:
    backup(migrated_url, tmp_path / "b", silent)
    before = content(log.database)
    with pytest.raises(BackupError, match=r"is in the way|has tables already"):
        restore(migrated_url, tmp_path / "b", silent)
    assert content(log.database) == before


def test_an_empty_database_has_nothing_to_back_up(empty_url: str, tmp_path: Path) -> None:
    with pytest.raises(BackupError, match=r"no database yet|no schema of this program"):
        backup(empty_url, tmp_path / "b", silent)
    assert not (tmp_path / "b").exists()


def test_a_damaged_backup_is_refused_and_nothing_is_left_of_it(
    log: Log, migrated_url: str, empty_url: str, tmp_path: Path
) -> None:
    path = tmp_path / "b"
    backup(migrated_url, path, silent)
    data = path.read_bytes()
    for broken in (data[: len(data) // 2], data[:200] + bytes(len(data) - 400) + data[-200:]):
        path.write_bytes(broken)
        with pytest.raises(BackupError, match="is damaged"):
            restore(empty_url, path, silent)
    if empty_url.startswith("sqlite"):
        assert list((tmp_path / "elsewhere").glob("*")) == []
    else:
        with opened(empty_url) as database:
            assert sa.inspect(database.engine).get_table_names() == []
    path.write_bytes(data)
    restore(empty_url, path, silent)


@pytest.mark.parametrize("data", [b"", b"hello", b"PK\x03\x04", b"SQLite format 3\0" + bytes(84)])
def test_what_is_no_backup_is_refused(empty_url: str, tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "b"
    path.write_bytes(data)
    with pytest.raises(BackupError):
        restore(empty_url, path, silent)


def test_a_database_that_is_no_backup_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "b"
    migrate(f"sqlite:///{path}")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    with pytest.raises(BackupError, match="no backup of one"):
        restore(f"sqlite:///{tmp_path / 'new.db'}", path, silent)


def test_a_zip_of_something_else_is_refused(tmp_path: Path, postgres_server: PostgresServer) -> None:
    path = tmp_path / "b"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x", "y")
    url = postgres_server.new_database()
    with pytest.raises(BackupError, match="no backup of this program"):
        restore(url, path, silent)
    with pytest.raises(BackupError, match="another kind of database: set ORCHESTRATOR_DATABASE_URL to postgresql"):
        restore(f"sqlite:///{tmp_path / 'new.db'}", path, silent)
    postgres_server.drop_database(url)


def test_leftovers_of_another_database_are_in_the_way(tmp_path: Path, log: Log, migrated_url: str) -> None:
    if not migrated_url.startswith("sqlite"):
        return
    backup(migrated_url, tmp_path / "b", silent)
    (tmp_path / "new.db-wal").write_bytes(b"x")
    with pytest.raises(BackupError, match=r"new\.db-wal is in the way"):
        restore(f"sqlite:///{tmp_path / 'new.db'}", tmp_path / "b", silent)


def test_tables_that_no_migration_made_come_back_too(
    log: Log, migrated_url: str, empty_url: str, tmp_path: Path
) -> None:
    """Read models are rebuilt beside the live ones, in tables of their own."""
    with log.database.write() as connection:
        connection.execute(
            sa.text('CREATE TABLE "odd name" (id BIGINT PRIMARY KEY, "a b" TEXT DEFAULT \'x\', CHECK (id > 0))')
        )
        connection.execute(sa.text('CREATE INDEX odd_index ON "odd name" ("a b") WHERE id > 5'))
        connection.execute(sa.text('INSERT INTO "odd name" (id) VALUES (7)'))
    backup(migrated_url, tmp_path / "b", silent)
    restore(empty_url, tmp_path / "b", silent)
    with opened(empty_url) as database:
        assert content(database)["odd name"] == [(7, "x")]
        assert shape(database) == shape(log.database)


def test_the_journal_goes_on_counting(log: Log, migrated_url: str, empty_url: str, tmp_path: Path) -> None:
    last = log.value("SELECT max(seq) FROM journal")
    backup(migrated_url, tmp_path / "b", silent)
    restore(empty_url, tmp_path / "b", silent)
    with opened(empty_url) as database:
        again = Log(database, tmp_path / "outside")
        again.take([article(970, "bundle.ready", "b1")])
        assert again.value("SELECT max(seq) FROM journal") > last
