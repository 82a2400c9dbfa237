"""The engine's end of the journal: what is still to be taken, and what became of what was."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from orchestrator.database import Database
from orchestrator.database.tables import pack_message_id, unpack_message_id
from orchestrator.journal.journal import POSTGRES_APPEND, SQLITE_APPEND, SQLITE_ROW, Message, message_row

PENDING = "pending"
APPLIED = "applied"
REFUSED = "refused"
UNRECOGNISED = "unrecognised"
QUARANTINED = "quarantined"
CONFLICT = "conflict"
TESTED = "test"
STATUSES = (PENDING, APPLIED, REFUSED, UNRECOGNISED, QUARANTINED, CONFLICT, TESTED)


class Taken(NamedTuple):
    """A message as the engine takes it. `received_at` is microseconds since 1970, `actor` a JSON text."""

    seq: int
    message_id: str
    kind: str
    endpoint: str
    mode: str
    dialect: str | None
    event_id: str | None
    body: bytes
    actor: str
    received_at: int
    id_source: str | None = None
    digest: str = ""
    headers: str = "{}"


COLUMNS = (
    "journal.seq, journal.message_id, journal.kind, journal.endpoint, journal.mode, journal.dialect, "
    "journal.event_id, journal.body, journal.actor, journal.received_at, journal.id_source, journal.digest, "
    "journal.headers"
)


class Mark(msgspec.Struct, frozen=True):
    """What became of a message. `events` of the log, from `first_position` on, are its doing."""

    seq: int
    status: str
    reason: str | None
    first_position: int
    events: int
    dialect: str
    event_id: str
    claims: bool


class Inbox:
    def __init__(self, database: Database) -> None:
        self._database = database

    def take(self, connection: sa.Connection, limit: int) -> list[Taken]:
        """The oldest messages that nobody has marked yet."""
        first = "SELECT seq FROM inbox ORDER BY seq LIMIT ?"
        # Not a join: with a long backlog PostgreSQL would read the whole journal from its beginning for every batch.
        these = f"IN ({first})" if self._database.is_sqlite else f"= ANY(ARRAY({first}))"
        rows = self._rows(
            connection, f"SELECT {COLUMNS} FROM journal WHERE journal.seq {these} ORDER BY journal.seq", (limit,)
        )
        return [_taken(row) for row in rows]

    def enqueue(self, connection: sa.Connection, messages: Sequence[Message]) -> None:
        """Journals messages of the engine's own in its transaction. One that is known already is not taken twice."""
        for message in messages:
            row = (*message_row(message), 1)
            if self._database.is_sqlite:
                added = self._rows(connection, f"{SQLITE_APPEND.format(rows=SQLITE_ROW)} RETURNING seq", row)
                for (seq,) in added:
                    connection.exec_driver_sql("INSERT INTO inbox (seq) VALUES (?)", (seq,))
            else:
                cursor: Any = connection.connection.cursor()
                cursor.execute(POSTGRES_APPEND, [[value] for value in row])
                cursor.close()

    def find(self, connection: sa.Connection, message_ids: Sequence[str]) -> dict[str, tuple[Taken, str]]:
        """Messages by their ids, each with its status."""
        if not message_ids:
            return {}
        marks = ",".join("?" * len(message_ids))
        rows = self._rows(
            connection,
            f"SELECT {COLUMNS}, coalesce(marks.status, 'pending') FROM journal LEFT JOIN marks USING (seq) "
            f"WHERE message_id IN ({marks})",
            tuple(pack_message_id(message_id) for message_id in message_ids),
        )
        return {(taken := _taken(row[:-1])).message_id: (taken, row[-1]) for row in rows}

    def claims(self, connection: sa.Connection, names: Iterable[tuple[str, str]]) -> dict[tuple[str, str], int]:
        """Which of these (event id, dialect) belong to a message already, and to which (its `seq`)."""
        wanted = list(names)
        event_ids = list({event_id for event_id, _ in wanted})
        if not event_ids:
            return {}
        if self._database.is_sqlite:
            found: list[Any] = []
            for start in range(0, len(event_ids), 10_000):
                part = event_ids[start : start + 10_000]
                marks = ",".join("?" * len(part))
                found += self._rows(
                    connection,
                    f"SELECT event_id, dialect, seq FROM marks WHERE claim = 0 AND event_id IN ({marks})",
                    tuple(part),
                )
        else:
            found = self._rows(
                connection,
                "SELECT event_id, dialect, seq FROM marks WHERE claim = 0 AND event_id = ANY(?)",
                (event_ids,),
            )
        return {(event_id, dialect): seq for event_id, dialect, seq in found}

    def last_applied(self, connection: sa.Connection) -> int:
        return int(connection.exec_driver_sql("SELECT coalesce(max(applied_seq), 0) FROM marks").scalar_one())

    def mark(self, connection: sa.Connection, marks: Sequence[Mark], first_applied: int) -> None:
        """Records what became of messages taken in this order, and takes them out of the inbox."""
        rows = [
            (
                mark.seq,
                applied_seq,
                mark.status,
                mark.reason,
                mark.first_position,
                mark.events,
                mark.dialect,
                mark.event_id,
                0 if mark.claims else mark.seq,
            )
            for applied_seq, mark in enumerate(marks, start=first_applied)
        ]
        cursor: Any = connection.connection.cursor()
        columns = "seq, applied_seq, status, reason, first_position, events, dialect, event_id, claim"
        try:
            if self._database.is_sqlite:
                cursor.executemany(f"INSERT INTO marks ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
                cursor.executemany("DELETE FROM inbox WHERE seq = ?", [(mark.seq,) for mark in marks])
            else:
                cursor.execute(
                    f"INSERT INTO marks ({columns}) SELECT * FROM unnest(%b::bigint[], %b::bigint[], %b::text[], "
                    "%b::text[], %b::bigint[], %b::int[], %b::text[], %b::text[], %b::bigint[])",
                    [list(column) for column in zip(*rows, strict=True)],
                )
                cursor.execute("DELETE FROM inbox WHERE seq = ANY(%s)", ([mark.seq for mark in marks],))
        finally:
            cursor.close()

    def remark(self, connection: sa.Connection, mark: Mark) -> None:
        """Replaces what became of a message that was applied again; its place in the order stays."""
        self._rows(
            connection,
            "UPDATE marks SET status = ?, reason = ?, first_position = ?, events = ?, claim = ? WHERE seq = ? "
            "RETURNING seq",
            (
                mark.status,
                mark.reason,
                mark.first_position,
                mark.events,
                0 if mark.claims else mark.seq,
                mark.seq,
            ),
        )

    def _rows(self, connection: sa.Connection, statement: str, parameters: tuple[Any, ...]) -> list[Any]:
        cursor: Any = connection.connection.cursor()
        try:
            if self._database.is_sqlite:
                cursor.execute(statement, parameters)
            else:
                cursor.execute(statement.replace("?", "%s"), parameters, binary=True)
            rows: list[Any] = cursor.fetchall()
            return rows
        finally:
            cursor.close()


def _taken(row: Sequence[Any]) -> Taken:
    seq, message_id, *rest = row
    return Taken(seq, unpack_message_id(message_id), *rest)
