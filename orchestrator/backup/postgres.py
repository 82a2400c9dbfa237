"""Backups of PostgreSQL without its tools: an archive of all tables, read in one snapshot, with how to make them.

Nothing depends on the versions of server and tools, and whatever tables a version of this program has are in it.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import psycopg
from psycopg import sql

from orchestrator.backup.error import BackupError
from orchestrator.backup.sqlite import CHUNK, STALE
from orchestrator.database import Database
from orchestrator.restored import Restored, mark

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"

TABLES: Final = """
SELECT c.oid::bigint, c.relname, pg_table_size(c.oid) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = current_schema() AND c.relkind = 'r' ORDER BY c.relname
"""
COLUMNS: Final = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid),
       CASE WHEN a.attcollation <> t.typcollation THEN quote_ident(k.collname) END
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
LEFT JOIN pg_collation k ON k.oid = a.attcollation
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
CONSTRAINTS: Final = """
SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE conrelid = %s AND contype IN ('p', 'u', 'c') ORDER BY conname
"""
INDEXES: Final = """
SELECT pg_get_indexdef(i.indexrelid) FROM pg_index i
WHERE i.indrelid = %s AND NOT EXISTS (SELECT 1 FROM pg_constraint c WHERE c.conindid = i.indexrelid)
ORDER BY i.indexrelid
"""
SEQUENCES: Final = "SELECT sequencename FROM pg_sequences WHERE schemaname = current_schema() ORDER BY sequencename"


class Column(msgspec.Struct):
    name: str
    type: str
    is_required: bool
    default: str | None
    collation: str | None


class Table(msgspec.Struct):
    name: str
    size: int
    columns: list[Column]
    constraints: list[tuple[str, str]]
    indexes: list[str]


class Sequence(msgspec.Struct):
    name: str
    last: int
    is_called: bool


class Manifest(msgspec.Struct):
    format: int
    mark: Restored
    schema: str
    tables: list[Table]
    sequences: list[Sequence]


def write(database: Database, draft: Path, mark: Restored, progress: Callable[[int, int], None]) -> Restored:
    with database.read() as connection:
        driver: psycopg.Connection[Any] = connection.connection.driver_connection  # type: ignore[assignment]
        tables = [_table(driver, *row) for row in driver.execute(TABLES)]
        if not {"events", "world", *STALE} <= {table.name for table in tables}:
            raise BackupError("the database has no schema of this program: there is nothing to back up")
        (position,) = _one(driver, "SELECT coalesce(max(notification_id), 0) FROM events")
        batch = 0
        if any(table.name == "chain" for table in tables):
            (batch,) = _one(driver, "SELECT coalesce(max(batch), 0) FROM chain")
        mark = msgspec.structs.replace(mark, batch=batch, position=position)
        (schema,) = _one(driver, "SELECT current_schema()")
        manifest = Manifest(FORMAT, mark, schema, tables, _sequences(driver))
        total, done = sum(table.size for table in tables) or 1, 0
        with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            archive.writestr(MANIFEST, msgspec.json.encode(manifest))
            for table in tables:
                with archive.open(f"tables/{table.name}", "w", force_zip64=True) as file:
                    if table.name not in STALE:
                        _copy_out(driver, table.name, file)
                done += table.size
                progress(done, total)
    return mark


def _copy_out(driver: psycopg.Connection[Any], name: str, file: Any) -> None:
    statement = sql.SQL("COPY {} TO STDOUT").format(sql.Identifier(name))
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        for data in copy:
            file.write(data)


def _table(driver: psycopg.Connection[Any], oid: int, name: str, size: int) -> Table:
    return Table(
        name,
        size,
        [Column(*row) for row in driver.execute(COLUMNS, (oid,))],
        list(driver.execute(CONSTRAINTS, (oid,))),
        [definition for (definition,) in driver.execute(INDEXES, (oid,))],
    )


def _sequences(driver: psycopg.Connection[Any]) -> list[Sequence]:
    found = []
    for (name,) in driver.execute(SEQUENCES).fetchall():
        last, is_called = _one(driver, sql.SQL("SELECT last_value, is_called FROM {}").format(sql.Identifier(name)))
        found.append(Sequence(name, last, is_called))
    return found


def _one(driver: psycopg.Connection[Any], statement: Any) -> Any:
    return driver.execute(statement).fetchone()


def read(database: Database, path: Path, progress: Callable[[int, int], None]) -> Restored:
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = msgspec.json.decode(archive.read(MANIFEST), type=Manifest)
            if manifest.format != FORMAT:
                raise BackupError(f"{path} was made by a newer version of this program")
            _read(database, archive, manifest, progress)
    except (zipfile.BadZipFile, KeyError, ValueError, EOFError) as error:
        raise BackupError(f"{path} is damaged, or no backup of this program: {error}") from None
    return manifest.mark


def _read(
    database: Database, archive: zipfile.ZipFile, manifest: Manifest, progress: Callable[[int, int], None]
) -> None:
    with database.write() as connection:
        driver: psycopg.Connection[Any] = connection.connection.driver_connection  # type: ignore[assignment]
        if driver.execute(TABLES).fetchone() is not None:
            raise BackupError("the database has tables already: a backup is restored into an empty one")
        (schema,) = _one(driver, "SELECT current_schema()")
        if schema != manifest.schema:
            raise BackupError(f"the backup is of the schema {manifest.schema!r}, and this connection is in {schema!r}")
        for sequence in manifest.sequences:
            driver.execute(sql.SQL("CREATE SEQUENCE {}").format(sql.Identifier(sequence.name)))
        total, done = sum(table.size for table in manifest.tables) or 1, 0
        for table in manifest.tables:
            driver.execute(_create(table))
            with archive.open(f"tables/{table.name}") as file:
                _copy_in(driver, table.name, file)
            for name, definition in table.constraints:
                statement = sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} ").format(
                    sql.Identifier(table.name), sql.Identifier(name)
                )
                driver.execute(statement + _trusted(definition))
            for definition in table.indexes:
                driver.execute(_trusted(definition))
            done += table.size
            progress(done, total)
        for sequence in manifest.sequences:
            driver.execute("SELECT setval(%s, %s, %s)", (sequence.name, sequence.last, sequence.is_called))
        mark(connection, manifest.mark)


def _create(table: Table) -> sql.Composed:
    columns = []
    for column in table.columns:
        definition = sql.Identifier(column.name) + sql.SQL(" ") + _trusted(column.type)
        if column.collation is not None:
            definition += sql.SQL(" COLLATE ") + _trusted(column.collation)
        if column.default is not None:
            definition += sql.SQL(" DEFAULT ") + _trusted(column.default)
        columns.append(definition + sql.SQL(" NOT NULL" if column.is_required else ""))
    return sql.SQL("CREATE TABLE {} ({})").format(sql.Identifier(table.name), sql.SQL(", ").join(columns))


def _trusted(text: str) -> sql.SQL:
    """SQL as the server itself told it. Whoever restores a file believes it."""
    return sql.SQL(text)


def _copy_in(driver: psycopg.Connection[Any], name: str, file: Any) -> None:
    statement = sql.SQL("COPY {} FROM STDIN").format(sql.Identifier(name))
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        while data := file.read(CHUNK):
            copy.write(data)
