"""Writing many rows at once, on either database."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from orchestrator.database import Database

_TYPES: dict[type[Any], str] = {
    sa.BigInteger: "bigint",
    sa.Boolean: "boolean",
    sa.LargeBinary: "bytea",
    sa.Text: "text",
}


def _types(table: sa.Table) -> list[str]:
    return [next(name for kind, name in _TYPES.items() if isinstance(c.type, kind)) for c in table.columns]


def _quoted(columns: Iterable[sa.Column[Any]]) -> list[str]:
    preparer = sa.sql.compiler.IdentifierPreparer(sa.engine.default.DefaultDialect())
    return [preparer.quote(column.name) for column in columns]


class Upsert:
    """One statement that inserts or replaces rows of `table`, whose values come in the order of its columns.

    `adding` names a column whose value is added to the stored one instead.
    """

    def __init__(self, table: sa.Table, adding: str | None = None) -> None:
        columns, keys = _quoted(table.columns), _quoted(table.primary_key)
        sums = {adding: f"{table.name}.{adding} + "}
        updates = [f"{column} = {sums.get(column, '')}excluded.{column}" for column in columns if column not in keys]
        then = f"DO UPDATE SET {', '.join(updates)}" if updates else "DO NOTHING"
        tail = f"ON CONFLICT ({', '.join(keys)}) {then}"
        names = ", ".join(columns)
        self._sqlite = f"INSERT INTO {table.name} ({names}) VALUES ({', '.join('?' * len(columns))}) {tail}"
        unnested = ", ".join(f"%b::{kind}[]" for kind in _types(table))
        self._postgres = f"INSERT INTO {table.name} ({names}) SELECT * FROM unnest({unnested}) {tail}"

    def execute(self, connection: sa.Connection, rows: Sequence[Sequence[Any]]) -> None:
        if not rows:
            return
        cursor: Any = connection.connection.cursor()
        try:
            if connection.dialect.name == "sqlite":
                cursor.executemany(self._sqlite, rows)
            else:
                cursor.execute(self._postgres, [list(column) for column in zip(*rows, strict=True)])
        finally:
            cursor.close()


class Load:
    """Adds many rows that are not there yet, whose values come in the order of the columns, as fast as can be."""

    def __init__(self, table: sa.Table) -> None:
        columns = _quoted(table.columns)
        self._types = _types(table)
        self._sqlite = f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
        self._postgres = f"COPY {table.name} ({', '.join(columns)}) FROM STDIN (FORMAT BINARY)"

    def execute(self, connection: sa.Connection, rows: Sequence[Sequence[Any]]) -> None:
        if not rows:
            return
        cursor: Any = connection.connection.cursor()
        try:
            if connection.dialect.name == "sqlite":
                cursor.executemany(self._sqlite, rows)
                return
            with cursor.copy(self._postgres) as copy:
                copy.set_types(self._types)
                for row in rows:
                    copy.write_row(row)
        finally:
            cursor.close()


def select_by(
    database: Database, table: sa.Table, columns: Sequence[str], key: str, values: Sequence[str]
) -> list[Any]:
    """The `columns` of the rows whose `key` is among `values`.

    In a snapshot of its own: nobody but the caller changes these tables, and one that is held while a page is folded
    would keep SQLite's write-ahead log from beginning anew.
    """
    if not values:
        return []
    found: list[Any] = []
    for start in range(0, len(values), 10_000):
        part = values[start : start + 10_000]
        query = sa.select(*(table.c[column] for column in columns)).where(table.c[key].in_(part))
        with database.read() as connection:
            found += connection.execute(query).all()
    return found
