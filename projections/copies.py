"""The tables of every read model, and copies of them beside the live ones.

A copy has the tables' names with a suffix. It is filled where nobody looks, and takes the place of the live one by
being renamed, in one transaction: whoever reads sees all of the one or all of the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache

import sqlalchemy as sa

from orchestrator.database import Database
from orchestrator.database.tables import metadata

PARTS: Mapping[str, tuple[str, ...]] = {
    "bundles": ("bundles", "accounts", "bundle_accounts"),
    "videos": ("videos", "bundle_videos"),
    "countries": ("countries",),
    "campaigns": ("campaigns",),
    "decisions": ("decisions",),
}
"""The tables that belong to each read model."""
NEW = "__new"
"""A copy that is being made."""
OLD = "__old"
"""The version that was live before, kept until it is dropped or the next one takes its place."""
SLICE = 5_000
"""Rows that SQLite deletes at a time: webhooks wait meanwhile."""

Tables = Mapping[str, sa.Table]
"""The tables of a copy, by the names of the live ones."""
LIVE: Tables = {name: metadata.tables[name] for names in PARTS.values() for name in names}


@cache
def copy(suffix: str) -> Tables:
    made = {}
    for name, table in LIVE.items():
        made[name] = table.to_metadata(sa.MetaData(), name=f"{name}{suffix}")
        for index in made[name].indexes:
            index.name = sa.sql.quoted_name(f"{index.name}{suffix}", quote=None)
    return made


def parts_of(names: Iterable[str]) -> list[str]:
    return [part for name in names for part in PARTS[name]]


def existing(connection: sa.Connection, suffix: str) -> list[str]:
    """The live names of those tables that have such a copy."""
    found = set(sa.inspect(connection).get_table_names())
    return [name for name in LIVE if f"{name}{suffix}" in found]


def create(database: Database, connection: sa.Connection, names: Iterable[str]) -> None:
    """Empty tables for a copy that is to be made of these read models."""
    for part in parts_of(names):
        table = copy(NEW)[part]
        connection.execute(sa.schema.CreateTable(table))
        if database.is_sqlite:
            # To index many rows at once would keep everybody from writing for as long as it takes.
            _index(connection, table)


def index(database: Database, name: str) -> None:
    """The secondary indexes of a copy that was filled, where it has none yet, and what the planner wants to know."""
    if database.is_sqlite:
        return
    for part in PARTS[name]:
        table = copy(NEW)[part]
        with database.write() as connection:
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
            _index(connection, table)
            connection.exec_driver_sql(f"ANALYZE {table.name}")


def _index(connection: sa.Connection, table: sa.Table) -> None:
    for made in sorted(table.indexes, key=lambda made: str(made.name)):
        made.create(connection)


def drop(database: Database, suffix: str, names: Iterable[str]) -> list[str]:
    """Drops those tables of the copy that are there; their live names. Nobody waits long for it."""
    with database.read() as connection:
        there = [part for part in existing(connection, suffix) if part in set(parts_of(names))]
    for part in there:
        table = f"{part}{suffix}"
        while database.is_sqlite:
            with database.write() as connection:
                slice_ = f"SELECT rowid FROM {table} LIMIT {SLICE}"
                if not connection.exec_driver_sql(f"DELETE FROM {table} WHERE rowid IN ({slice_})").rowcount:
                    break
        with database.write() as connection:
            connection.exec_driver_sql(f"DROP TABLE {table}")
    return there


def switch(database: Database, connection: sa.Connection, names: Iterable[str]) -> None:
    """Puts the new copies of these read models in the place of the live ones, which become the old ones. There must be
    no old ones yet."""
    rename = _rename_on_sqlite if database.is_sqlite else _rename_on_postgres
    for part in parts_of(names):
        rename(connection, LIVE[part], "", OLD)
        rename(connection, LIVE[part], NEW, "")
    if database.is_sqlite:
        connection.exec_driver_sql("PRAGMA writable_schema = RESET")


def _rename_on_postgres(connection: sa.Connection, table: sa.Table, before: str, after: str) -> None:
    connection.exec_driver_sql(f"ALTER TABLE {table.name}{before} RENAME TO {table.name}{after}")
    for name in (f"{table.name}{{}}_pkey", *(f"{made.name}{{}}" for made in table.indexes)):
        connection.exec_driver_sql(f"ALTER INDEX {name.format(before)} RENAME TO {name.format(after)}")


def _rename_on_sqlite(connection: sa.Connection, table: sa.Table, before: str, after: str) -> None:
    """SQLite cannot rename an index, and to make it anew would take as long as there are rows. Its name stands in the
    schema table, which may be written (https://www.sqlite.org/lang_altertable.html#otheralter)."""
    connection.exec_driver_sql(f"ALTER TABLE {table.name}{before} RENAME TO {table.name}{after}")
    connection.exec_driver_sql("PRAGMA writable_schema = ON")
    for made in table.indexes:
        was, is_now = f"{made.name}{before}", f"{made.name}{after}"
        connection.exec_driver_sql(
            "UPDATE sqlite_schema SET name = ?, sql = replace(sql, ?, ?) WHERE type = 'index' AND name = ?",
            (is_now, f"INDEX {was} ON", f"INDEX {is_now} ON", was),
        )
    connection.exec_driver_sql("PRAGMA writable_schema = OFF")
