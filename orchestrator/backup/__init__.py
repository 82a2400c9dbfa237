"""Backups: one moment of the database in one file, and the way back."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from orchestrator.backup import postgres, sqlite
from orchestrator.backup.error import BackupError
from orchestrator.database import Database
from orchestrator.database.connection import parse_url
from orchestrator.domain.times import iso
from orchestrator.restored import Restored

__all__ = ["BackupError", "backup", "restore"]

Progress = Callable[[int, int], None]
"""Told how much is done, and of how much."""
SQLITE: Final = b"SQLite format 3\0"
ZIP: Final = b"PK\x03\x04"


def backup(url: str, path: Path, progress: Progress) -> Restored:
    """Writes one moment of the database into `path`, which must not exist; where that moment is. The file is readable
    by its owner alone: it holds everything that the database does.

    It is marked already as what it will be once it is restored. Raises `BackupError`, OSError.
    """
    if path.exists():
        raise BackupError(f"{path} exists already: a backup never replaces a file")
    mark = Restored(secrets.token_hex(8), iso(datetime.now(UTC)), 0, 0)
    database = Database(url, connections=1, name="orchestrator-backup", statement_timeout=0)
    try:
        with _draft(path) as draft:
            write = sqlite.write if database.is_sqlite else postgres.write
            return write(database, draft, mark, progress)
    finally:
        database.close()


def restore(url: str, path: Path, progress: Progress) -> Restored:
    """Puts a backup in the place of a database that does not exist yet, or has no tables; where it ended.

    Raises `BackupError`, OSError.
    """
    with path.open("rb") as file:
        magic = file.read(len(SQLITE))
    is_sqlite = parse_url(url).drivername == "sqlite"
    if magic == SQLITE:
        kind = "sqlite"
    elif magic.startswith(ZIP):
        kind = "postgresql"
    else:
        raise BackupError(f"{path} is no backup of this program")
    if is_sqlite != (kind == "sqlite"):
        wanted = "sqlite:///…" if kind == "sqlite" else "postgresql://…"
        raise BackupError(f"{path} is a backup of another kind of database: set ORCHESTRATOR_DATABASE_URL to {wanted}")
    if is_sqlite:
        target = Path(str(parse_url(url).database))
        for name in (target, *(target.with_name(target.name + suffix) for suffix in ("-wal", "-shm"))):
            if name.exists():
                raise BackupError(f"{name} is in the way: stop the service, and move it to another place first")
        target.parent.mkdir(parents=True, exist_ok=True)
        with _draft(target) as draft:
            return sqlite.read(path, draft, progress)
    database = Database(url, connections=1, name="orchestrator-restore", statement_timeout=0)
    try:
        return postgres.read(database, path, progress)
    finally:
        database.close()


@contextmanager
def _draft(path: Path) -> Iterator[Path]:
    """A file beside `path` that gets its name once it is whole, unless another has it by then. Raises `BackupError`."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        yield draft
        with draft.open("rb+") as file:
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            raise BackupError(f"{path} exists already: a backup never replaces a file") from None
    finally:
        for suffix in ("", "-journal", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                draft.with_name(draft.name + suffix).unlink()
