"""The journal: appends messages, many in one commit, and knows the ones that it has."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from orchestrator.database import Database
from orchestrator.database.tables import pack_message_id, unpack_message_id

WEBHOOK = "webhook"
COMMAND = "command"
TIMER = "timer"
WORK = "work"
DISPATCH = "dispatch"
RESULT = "result"
FOUND = "found"
"""What was read at TokPortal, without being told."""
KINDS = (WEBHOOK, COMMAND, TIMER, WORK, DISPATCH, RESULT, FOUND)
LIVE = "live"
TEST = "test"


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it is kept. `headers` and `actor` are JSON texts; `received_at` is microseconds since 1970."""

    message_id: str
    kind: str
    endpoint: str
    mode: str
    dialect: str | None
    event_id: str | None
    id_source: str | None
    digest: str
    body: bytes
    headers: str
    actor: str
    received_at: int


@dataclass(frozen=True, slots=True)
class Appended:
    message_id: str
    duplicate: bool


def message_id_of(space: str, event_id: str, digest: str) -> str:
    """The id of the message with this event id and content. Derived, so that a duplicate has the id of its original
    and the journal needs no look-up to know one; `space` keeps dialects and test endpoints apart."""
    return "msg_" + hashlib.sha256(f"{space}\0{event_id}\0{digest}".encode()).hexdigest()[:32]


def ours(kind: str, body: bytes, *, endpoint: str, actor: str, received_at: int, once: str | None = None) -> Message:
    """A message of our own: an order, a timer, a question, an answer, work. `actor` is JSON, `received_at` microseconds
    since 1970. Two with the same `once` are one message."""
    token = secrets.token_hex(16) if once is None else hashlib.sha256(once.encode()).hexdigest()[:32]
    return Message(
        message_id=f"msg_{token}",
        kind=kind,
        endpoint=endpoint,
        mode=LIVE,
        dialect=None,
        event_id=None,
        id_source=None,
        digest=hashlib.sha256(body).hexdigest(),
        body=body,
        headers="{}",
        actor=actor,
        received_at=received_at,
    )


COLUMNS = (
    "message_id, kind, endpoint, mode, dialect, event_id, id_source, digest, body, headers, actor, received_at, "
    "deliveries"
)

# Numbers are given in the order of arrival, rows inserted in the order of their ids: two doors that store the same
# duplicates at once would otherwise wait for each other.
POSTGRES_APPEND = f"""
WITH given AS (
    SELECT nextval('journal_seq') AS seq, arrived.* FROM (
        SELECT * FROM unnest(
            %b::bytea[], %b::text[], %b::text[], %b::text[], %b::text[], %b::text[], %b::text[], %b::text[],
            %b::bytea[], %b::text[], %b::text[], %b::bigint[], %b::int[]
        ) WITH ORDINALITY AS t({COLUMNS}, n) ORDER BY n
    ) AS arrived
), added AS (
    INSERT INTO journal (seq, {COLUMNS}) SELECT seq, {COLUMNS} FROM given ORDER BY message_id
    ON CONFLICT (message_id) DO NOTHING RETURNING seq, message_id
), queued AS (
    INSERT INTO inbox (seq) SELECT seq FROM added
)
SELECT message_id FROM added
"""
POSTGRES_AGAIN = """
UPDATE journal SET deliveries = journal.deliveries + again.times
FROM (SELECT * FROM unnest(%b::bytea[], %b::int[]) AS t(message_id, times) ORDER BY message_id) AS again
WHERE journal.message_id = again.message_id
"""
SQLITE_ROW = f"({', '.join('?' * 13)})"
SQLITE_APPEND = f"INSERT INTO journal ({COLUMNS}) VALUES {{rows}} ON CONFLICT (message_id) DO NOTHING"
SQLITE_LAST = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'journal'"
SQLITE_QUEUE = "INSERT INTO inbox (seq) SELECT seq FROM journal WHERE seq > ?"
SQLITE_AGAIN = "UPDATE journal SET deliveries = deliveries + ? WHERE message_id = ?"


def message_row(m: Message) -> tuple[Any, ...]:
    """The values of `COLUMNS`, but for `deliveries`."""
    return (
        pack_message_id(m.message_id),
        m.kind,
        m.endpoint,
        m.mode,
        m.dialect,
        m.event_id,
        m.id_source,
        m.digest,
        m.body,
        m.headers,
        m.actor,
        m.received_at,
    )


class Journal:
    """Appends to the journal, for one thread. It never decides what a message means; whoever takes it from the inbox
    does."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._held: sa.Connection | None = None

    def close(self) -> None:
        """Gives the connection back."""
        if self._held is not None:
            self._held.close()
            self._held = None

    def append(self, messages: Sequence[Message]) -> list[Appended]:
        """Stores all of `messages` in one commit and tells which of them were known, in their order.

        Returns only when they are on disk; raises SQLAlchemy's or the driver's errors when they are not, or when nobody
        can tell.
        """
        if not messages:
            return []
        first: dict[str, Message] = {}
        deliveries: dict[str, int] = {}
        for message in messages:
            first.setdefault(message.message_id, message)
            deliveries[message.message_id] = deliveries.get(message.message_id, 0) + 1
        rows = [(*message_row(m), deliveries[m.message_id]) for m in first.values()]
        try:
            added = self._append_sqlite(rows) if self._database.is_sqlite else self._append_postgres(rows)
        except BaseException:
            self._drop()
            raise
        new = {unpack_message_id(name) for name in added}
        answers = []
        for message in messages:
            answers.append(Appended(message.message_id, message.message_id not in new))
            new.discard(message.message_id)
        return answers

    # Few statements, on a connection that is kept, and no rows fetched where none are needed: the thread that commits
    # gives the interpreter's lock away at each step, and has to win it back from a busy event loop.

    def _append_sqlite(self, rows: Sequence[tuple[Any, ...]]) -> set[bytes]:
        if self._held is None:
            self._held = self._database.engine.connect()
        with self._database.transaction(self._held):
            cursor: Any = self._held.connection.cursor()
            (last,) = cursor.execute(SQLITE_LAST).fetchone()
            statement = SQLITE_APPEND.format(rows=", ".join([SQLITE_ROW] * len(rows)))
            cursor.execute(statement, [value for row in rows for value in row])
            complete = cursor.rowcount == len(rows)
            cursor.execute(SQLITE_QUEUE, (last,))
            if complete:
                return {row[0] for row in rows}
            added = {name for (name,) in cursor.execute("SELECT message_id FROM journal WHERE seq > ?", (last,))}
            cursor.executemany(SQLITE_AGAIN, [(row[-1], row[0]) for row in rows if row[0] not in added])
            return added

    def _append_postgres(self, rows: Sequence[tuple[Any, ...]]) -> set[bytes]:
        if self._held is None:
            # Each statement a transaction of its own: one round trip, where BEGIN and COMMIT would make it three.
            self._held = self._database.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        cursor: Any = self._held.connection.cursor()
        cursor.execute(POSTGRES_APPEND, [list(column) for column in zip(*rows, strict=True)], prepare=True)
        added = {row[0] for row in cursor.fetchall()}
        again = sorted((row[0], row[-1]) for row in rows if row[0] not in added)
        if again:
            cursor.execute(POSTGRES_AGAIN, ([name for name, _ in again], [times for _, times in again]))
        return added

    def _drop(self) -> None:
        """After a failure the connection may be broken, or in the middle of something."""
        if self._held is not None:
            self._held.invalidate()
            self._held.close()
            self._held = None
