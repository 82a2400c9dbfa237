"""Backups of SQLite: a database file like any other, which can simply be put in place."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import msgspec

from orchestrator.backup.error import BackupError
from orchestrator.database import Database
from orchestrator.restored import KEY, Restored

PAGES: Final = 2_000
"""Pages that are copied in one step."""
CHUNK: Final = 8 * 1024 * 1024
STALE: Final = ("leases", "sweeps")
"""Tables that say what is going on, and not what happened: they begin empty."""


def write(database: Database, draft: Path, mark: Restored, progress: Callable[[int, int], None]) -> Restored:
    if not database.path.exists():
        raise BackupError(f"there is no database yet at {database.path}")
    with closing(sqlite3.connect(database.path, isolation_level=None)) as source:
        # What others write meanwhile goes past a transaction that has begun; without it the copy would begin anew
        # whenever they do, and on a busy database never end.
        source.execute("BEGIN")
        source.execute("SELECT count(*) FROM sqlite_master").fetchone()
        with closing(sqlite3.connect(draft, isolation_level=None)) as copy:
            source.backup(copy, pages=PAGES, progress=lambda _, left, total: progress(total - left, total))
            copy.execute("PRAGMA journal_mode = DELETE")  # So that one file is all there is.
            tables = {name for (name,) in copy.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if not {"world", *STALE} <= tables:
                raise BackupError(f"{database.path} has no schema of this program: there is nothing to back up")
            mark = _located(copy, mark, "chain" in tables)
            copy.execute("BEGIN")
            for name in STALE:
                copy.execute(f"DELETE FROM {name}")
            value = msgspec.json.encode(mark).decode()
            copy.execute("INSERT OR REPLACE INTO world (key, value) VALUES (?, ?)", (KEY, value))
            copy.execute("COMMIT")
    return mark


def _located(copy: sqlite3.Connection, mark: Restored, is_chained: bool) -> Restored:
    (position,) = copy.execute("SELECT coalesce(max(notification_id), 0) FROM events").fetchone()
    batch: Any = 0
    if is_chained:
        (batch,) = copy.execute("SELECT coalesce(max(batch), 0) FROM chain").fetchone()
    return msgspec.structs.replace(mark, batch=batch, position=position)


def read(path: Path, draft: Path, progress: Callable[[int, int], None]) -> Restored:
    total, done = path.stat().st_size, 0
    with path.open("rb") as source, draft.open("wb") as copy:
        while chunk := source.read(CHUNK):
            copy.write(chunk)
            done += len(chunk)
            progress(done, total)
    try:
        with closing(sqlite3.connect(draft)) as copied:
            ((result,),) = copied.execute("PRAGMA quick_check(1)").fetchall()
            row = copied.execute("SELECT value FROM world WHERE key = ?", (KEY,)).fetchone()
    except sqlite3.DatabaseError as error:
        raise BackupError(f"{path} is damaged, or no backup of this program: {error}") from None
    if result != "ok":
        raise BackupError(f"{path} is damaged: {result}")
    if row is None:
        raise BackupError(f"{path} is a database and no backup of one: make one with orchestrator backup")
    return msgspec.json.decode(row[0], type=Restored)
