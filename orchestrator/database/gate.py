"""One writer at a time on an SQLite file, checkpoints included."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STEP = 0.0003
"""Seconds between two tries. SQLite's own waiting sleeps up to 100 ms at a time."""


class GateClosedError(Exception):
    """Somebody else held the lock for too long."""


class Gate:
    """A lock on the file beside the database whose name ends in `-lock`, for all threads of all processes.

    SQLite's own lock does for writers. It does not keep a checkpoint from starting while somebody commits, which in
    SQLite before 3.51.3 can lose committed pages (https://www.sqlite.org/wal.html#walresetbug): so both pass here.
    """

    def __init__(self, database: Path) -> None:
        self._threads = threading.Lock()
        self._file = os.open(database.with_name(f"{database.name}-lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    @contextmanager
    def passed(self, patience: float) -> Iterator[None]:
        """Holds the lock. Raises GateClosedError if it could not be had within `patience` seconds."""
        deadline = time.monotonic() + patience
        if not self._threads.acquire(timeout=patience):
            raise GateClosedError("the lock on the database is held by another thread")
        try:
            while True:
                try:
                    fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise GateClosedError("the lock on the database is held by another process") from None
                    time.sleep(STEP)
            try:
                yield
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)
        finally:
            self._threads.release()

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
        self._file = -1
