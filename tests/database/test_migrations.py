from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Barrier

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from orchestrator.database import Database, migrate
from orchestrator.database.migrate import current, head
from orchestrator.database.tables import metadata

ALEMBICS_OWN = {"alembic_version"}


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with closing(Database(database_url, connections=1)) as database:
        yield database


def tables(database: Database) -> set[str]:
    return set(sa.inspect(database.engine).get_table_names()) - ALEMBICS_OWN


def rows_of_the_migration(database: Database) -> list[str]:
    with database.read() as connection:
        return sorted(connection.exec_driver_sql("SELECT name FROM projections WHERE position = 0").scalars())


def test_an_empty_database_gets_every_table(database_url: str, database: Database) -> None:
    reached = migrate(database_url)

    assert reached == head()
    assert tables(database) == set(metadata.tables)


def test_the_read_models_start_at_the_beginning_of_the_log(migrated_url: str) -> None:
    with closing(Database(migrated_url, connections=1)) as database:
        assert rows_of_the_migration(database) == ["bundles", "campaigns", "countries", "decisions", "videos"]


def test_migrating_again_changes_nothing(migrated_url: str) -> None:
    with closing(Database(migrated_url, connections=1)) as database:
        with database.write() as connection:
            connection.exec_driver_sql("INSERT INTO world (key, value) VALUES ('world', 'kept')")

        assert migrate(migrated_url) == migrate(migrated_url, head()) == head()

        with database.read() as connection:
            assert connection.exec_driver_sql("SELECT value FROM world").scalars().all() == ["kept"]
        assert rows_of_the_migration(database) == ["bundles", "campaigns", "countries", "decisions", "videos"]


def test_the_way_down_removes_everything(migrated_url: str) -> None:
    assert migrate(migrated_url, "base") == "base"

    with closing(Database(migrated_url, connections=1)) as database:
        assert tables(database) == set()
        if not database.is_sqlite:
            assert sa.inspect(database.engine).get_sequence_names() == []


def test_after_the_way_down_there_is_a_way_up(migrated_url: str) -> None:
    migrate(migrated_url, "base")

    assert migrate(migrated_url) == head()

    with closing(Database(migrated_url, connections=1)) as database:
        assert tables(database) == set(metadata.tables)
        assert rows_of_the_migration(database) == ["bundles", "campaigns", "countries", "decisions", "videos"]


def test_an_unknown_revision_changes_nothing(database_url: str, database: Database) -> None:
    with pytest.raises(Exception, match="9999"):
        migrate(database_url, "9999")

    assert tables(database) == set()


def test_a_migration_that_fails_leaves_nothing_behind(database_url: str, database: Database) -> None:
    with database.write() as connection:  # in the way of the last table
        connection.exec_driver_sql("CREATE TABLE countries (country text)")

    with pytest.raises(sa.exc.DBAPIError, match="countries"):
        migrate(database_url)

    assert tables(database) == {"countries"}
    assert current(database) == "base"


def test_migrations_make_what_the_program_believes_in(migrated_url: str) -> None:
    with closing(Database(migrated_url, connections=1)) as database, database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})

        assert compare_metadata(context, metadata) == []


COLUMNS = """
SELECT table_name, column_name, data_type, is_nullable, collation_name, column_default
FROM information_schema.columns WHERE table_schema = '{schema}' AND table_name <> 'alembic_version'
"""
INDEXES = """
SELECT tablename, indexname, replace(indexdef, '{schema}.', '')
FROM pg_indexes WHERE schemaname = '{schema}' AND tablename <> 'alembic_version'
"""


@pytest.mark.parametrize("migrated_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("question", [COLUMNS, INDEXES], ids=["columns", "indexes"])
def test_not_even_a_collation_or_an_index_differs(migrated_url: str, question: str) -> None:
    """Alembic's comparison does not look at collations, and cursors rely on them."""
    with closing(Database(migrated_url, connections=1)) as database, database.write() as connection:
        connection.exec_driver_sql("CREATE SCHEMA believed; SET LOCAL search_path TO believed")
        metadata.create_all(connection, checkfirst=False)

        migrated = connection.exec_driver_sql(question.format(schema="public")).all()
        believed = connection.exec_driver_sql(question.format(schema="believed")).all()

    assert sorted(map(str, migrated)) == sorted(map(str, believed))


def test_two_migrators_at_once_both_succeed(database_url: str, database: Database) -> None:
    together = Barrier(2)

    def start(_: int) -> str:
        together.wait(10)
        return migrate(database_url)

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(start, range(2))) == [head(), head()]

    assert tables(database) == set(metadata.tables)
    assert rows_of_the_migration(database) == ["bundles", "campaigns", "countries", "decisions", "videos"]


def test_an_empty_database_is_at_the_base(database: Database) -> None:
    assert current(database) == "base"


def test_the_revision_is_known_after_each_move(database_url: str, database: Database) -> None:
    migrate(database_url)
    assert current(database) == head() != "base"

    migrate(database_url, "base")
    assert current(database) == "base"


def test_processes_that_open_a_new_sqlite_file_at_once_all_succeed(tmp_path: Path) -> None:
    """One round does not always meet the moment; thirty do."""
    for number in range(30):
        url = f"sqlite:///{tmp_path / str(number)}.db"
        together = Barrier(4)

        def open_it(url: str = url, together: Barrier = together) -> str:
            together.wait()
            return migrate(url)

        with ThreadPoolExecutor(4) as pool:
            assert {opened.result() for opened in [pool.submit(open_it) for _ in range(4)]} == {head()}
