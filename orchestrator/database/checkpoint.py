"""Checkpoints of SQLite's write-ahead log."""

from __future__ import annotations

import sqlite3

from orchestrator.database.connection import Database
from orchestrator.database.gate import Gate, GateClosedError

FOR_WRITERS = 0.2
"""Seconds to wait for a writer to end."""
FOR_READERS = 0.05
"""Seconds to wait, with writers kept out, for readers of what is to be overwritten."""


class Checkpointer:
    """Moves the write-ahead log into the database file, and has it begin anew, so that it does not grow for ever.

    Connections make no checkpoints of their own accord; one process makes them here, with writers kept out by the gate.
    """

    def __init__(self, database: Database) -> None:
        path = database.path
        self._gate = Gate(path)
        self._connection = sqlite3.connect(path, isolation_level=None, timeout=FOR_READERS)
        self._connection.execute("PRAGMA wal_autocheckpoint = 0")
        self._done: int | None = None

    def run(self) -> None:
        """Makes a checkpoint if anything was committed since the last one. If somebody is in the way, the next call
        does it."""
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        if version == self._done:
            return
        try:
            with self._gate.passed(FOR_WRITERS):
                busy, _, _ = self._connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
        except GateClosedError:
            return
        if not busy:
            self._done = version

    def close(self) -> None:
        self._connection.close()
        self._gate.close()
