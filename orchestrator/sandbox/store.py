"""The file that a world lives in."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

from orchestrator.sandbox.model import Row

_SCHEMA = """
    CREATE TABLE IF NOT EXISTS rows (
        age INTEGER PRIMARY KEY,
        kind TEXT NOT NULL,
        id TEXT NOT NULL,
        body BLOB NOT NULL,
        UNIQUE (kind, id)
    )
"""


class Store:
    """Rows as JSON in an SQLite file, `None` for a world that dies with its process.

    What is written survives the process being killed at any moment, but not a loss of power: the sandbox is a toy of
    its machine, and waiting for the disk at every answer would slow down whoever is tested against it.
    """

    def __init__(self, path: Path | None, kinds: Iterable[type[Row]]) -> None:
        if path is not None:
            path.touch(mode=0o600)  # the signing secrets of endpoints are in it
        self._kinds: Mapping[str, type[Row]] = {kind.kind: kind for kind in kinds}
        self._connection = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = OFF")
        self._connection.execute(_SCHEMA)

    def load(self) -> Iterator[Row]:
        """Every row, oldest first.

        Raises:
            ValueError: the file holds a kind that this program does not know, or a row that it cannot read.
        """
        for kind, id, body in self._connection.execute("SELECT kind, id, body FROM rows ORDER BY age"):
            yield self._row(kind, id, body)

    def read(self, kind: str, id: str) -> Row | None:
        """One row as it was last written.

        Raises:
            ValueError: as `load`.
        """
        found = self._connection.execute("SELECT body FROM rows WHERE kind = ? AND id = ?", (kind, id)).fetchone()
        return None if found is None else self._row(kind, id, found[0])

    def _row(self, kind: str, id: str, body: bytes) -> Row:
        if kind not in self._kinds:
            raise ValueError(f"the sandbox's file holds a row of kind {kind!r}, which this program does not know")
        try:
            return msgspec.json.decode(body, type=self._kinds[kind])
        except msgspec.DecodeError as error:
            raise ValueError(f"the sandbox's file holds {kind} {id!r}, which cannot be read: {error}") from None

    def write(self, rows: Iterable[Row], gone: Iterable[tuple[str, str]]) -> None:
        """Write `rows` and remove `gone` (pairs of kind and id), all or nothing."""
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.executemany("DELETE FROM rows WHERE kind = ? AND id = ?", gone)
            connection.executemany(
                "INSERT INTO rows (kind, id, body) VALUES (?, ?, ?) "
                "ON CONFLICT (kind, id) DO UPDATE SET body = excluded.body",
                ((row.kind, row.id, msgspec.json.encode(row)) for row in rows),
            )
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")

    def close(self) -> None:
        self._connection.close()
