"""The hash chain over the log: what was committed cannot be changed any more without its being seen.

Each commit of the engine adds a row, a batch. It covers the messages that were taken, with what became of them, and the
events that followed. Every one of them has a leaf,

    SHA-256(MessagePack of an array: what it is, then its fields),

and the batch has the digest

    SHA-256(MessagePack of ["batch", batch, kind, first_position, last_position, first_applied, last_applied,
                            digest of the batch before, or 32 zero bytes]
            || leaves of the messages, by `applied_seq` || of those applied again || of the events, by position).

MessagePack (in its shortest forms) prefixes every field with type and length, so that no two contents have the same
bytes. An event's bytes count as they are stored, whatever a newer program makes of them. Of a leaf the row keeps the
first bytes, its tag: the digest proves, and the tags tell which of a thousand rows it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Any, Final, NamedTuple, Protocol

import msgspec
import sqlalchemy as sa
from eventsourcing.persistence import IntegrityError

from orchestrator.database import Database

BATCH: Final = "batch"
BACKLOG: Final = "backlog"
"""Chained after it was committed: what was in the log before there was a chain."""
ORIGIN: Final = bytes(32)
"""What stands for the digest before the first batch."""
TAG: Final = 8
"""Bytes of a leaf that are kept."""
SLICE: Final = 5_000
"""Messages, and events, of one batch of the backlog."""

_encode = msgspec.msgpack.Encoder().encode

MESSAGE_COLUMNS: Final = (
    "journal.message_id, journal.kind, journal.endpoint, journal.mode, journal.dialect, journal.event_id, "
    "journal.id_source, journal.digest, journal.body, journal.headers, journal.actor, journal.received_at"
)
"""What a message's leaf covers of the journal: all but `deliveries`, which changes."""
OUTCOME_COLUMNS: Final = (
    "marks.status, marks.reason, marks.first_position, marks.events, CASE WHEN marks.claim = 0 THEN 1 ELSE 0 END"
)
COLUMNS: Final = "batch, kind, first_position, last_position, first_applied, last_applied, tags, digest"


class ChainAheadError(Exception):
    """The log ends before its chain does: what is missing was there."""


class Link(NamedTuple):
    """One row of the chain."""

    batch: int
    kind: str
    first_position: int
    last_position: int
    first_applied: int
    last_applied: int
    tags: bytes
    digest: bytes


class Outcome(NamedTuple):
    """What became of a message. `claims`: 1 where it owns its event id, else 0."""

    status: str
    reason: str | None
    first_position: int
    events: int
    claims: int


class Became(Protocol):
    """What the engine recorded of it."""

    @property
    def seq(self) -> int: ...

    @property
    def status(self) -> str: ...

    @property
    def reason(self) -> str | None: ...

    @property
    def first_position(self) -> int: ...

    @property
    def events(self) -> int: ...

    @property
    def claims(self) -> bool: ...


def leaf(what: str, item: Sequence[Any]) -> bytes:
    """The leaf of one item of a batch:

    * `event`: position, originator id and version, topic, state;
    * `message`: `applied_seq`, `seq`, the values of `MESSAGE_COLUMNS`, then its outcome, member by member;
    * `retried`: its number in the batch, the `seq` of the message that was applied again, the outcome that it had until
      then, and the one that it has got.
    """
    return sha256(_encode((what, *item))).digest()


def leaves(what: str, items: Iterable[Sequence[Any]]) -> list[bytes]:
    """The leaves of many items."""
    return [sha256(_encode((what, *item))).digest() for item in items]


def batch_digest(link: Link, previous: bytes, leaves: Sequence[bytes]) -> bytes:
    """What `link.digest` has to be."""
    return sha256(b"".join((_encode(("batch", *link[:6], previous)), *leaves))).digest()


def tags_of(leaves: Sequence[bytes]) -> bytes:
    return b"".join([leaf[:TAG] for leaf in leaves])


class Chain:
    """Writes the chain, in the transactions of the engine."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._last: Link | None = None

    def forget(self) -> None:
        """The next row follows what is stored."""
        self._last = None

    def is_behind(self, connection: sa.Connection, position: int, applied: int) -> bool:
        """Whether the log, which ends with this position and message, has more than the chain.

        Raises `ChainAheadError` if it has less.
        """
        last = self._end(connection)
        if last.last_position > position or last.last_applied > applied:
            raise ChainAheadError(
                f"the log ends at position {position} with message {applied}, and was chained up to position "
                f"{last.last_position} and message {last.last_applied}: rows were removed. Nothing is written over "
                "them; run orchestrator audit verify, and restore a backup"
            )
        return last.last_position < position or last.last_applied < applied

    def catch_up(self, connection: sa.Connection) -> Link:
        """Adds one batch of what is in the log and not in the chain; bounded, so that it has to be repeated."""
        end = self._end(connection)
        messages = self.messages(connection, end.last_applied + 1, end.last_applied + SLICE)
        events = self.events(connection, end.last_position + 1, end.last_position + SLICE)
        applied = messages[-1][0] if messages else end.last_applied
        position = events[-1][0] if events else end.last_position
        return self._add(
            connection, BACKLOG, position, applied, [*leaves("message", messages), *leaves("event", events)]
        )

    def append(
        self,
        connection: sa.Connection,
        messages: Sequence[Any],
        marks: Sequence[Became],
        again: Iterable[Became],
        events: Sequence[Any],
        first_position: int,
        first_applied: int,
    ) -> None:
        """Adds the batch of one commit: `messages` as they were taken, each with its mark; then what was applied
        `again`, before its marks are replaced; `events` as the log stores them, from their first position on.

        Raises the library's `IntegrityError` if the chain does not end where the batch begins.
        """
        end = self._end(connection)
        if (end.last_position + 1, end.last_applied + 1) != (first_position, first_applied):
            raise IntegrityError("the chain does not end where this batch begins")
        taken = (
            message_item(applied, message, mark)
            for applied, (message, mark) in enumerate(zip(messages, marks, strict=True), start=first_applied)
        )
        written = (
            (position, event.originator_id, event.originator_version, event.topic, event.state)
            for position, event in enumerate(events, start=first_position)
        )
        found = [
            *leaves("message", taken),
            *self._replace(connection, end.batch + 1, list(again)),
            *leaves("event", written),
        ]
        position, applied = first_position + len(events) - 1, first_applied + len(marks) - 1
        self._add(connection, BATCH, position, applied, found)

    def messages(self, connection: sa.Connection, first: int, last: int) -> list[Any]:
        """The messages that were taken in this order, as items of a batch, with what has become of them by now."""
        return self.rows(
            connection,
            f"SELECT marks.applied_seq, marks.seq, {MESSAGE_COLUMNS}, {OUTCOME_COLUMNS} "
            "FROM marks LEFT JOIN journal USING (seq) "
            "WHERE marks.applied_seq BETWEEN ? AND ? ORDER BY marks.applied_seq",
            (first, last),
        )

    def events(self, connection: sa.Connection, first: int, last: int) -> list[Any]:
        """The events at these positions, as items of a batch."""
        return self.rows(
            connection,
            "SELECT notification_id, originator_id, originator_version, topic, state FROM events "
            "WHERE notification_id BETWEEN ? AND ? ORDER BY notification_id",
            (first, last),
        )

    def rows(self, connection: sa.Connection, statement: str, parameters: Sequence[Any] = ()) -> list[Any]:
        cursor: Any = connection.connection.cursor()
        try:
            if self._database.is_sqlite:
                cursor.execute(statement, parameters)
            else:
                cursor.execute(statement.replace("?", "%s"), parameters, binary=True)
            return cursor.fetchall()  # type: ignore[no-any-return]
        finally:
            cursor.close()

    def _end(self, connection: sa.Connection) -> Link:
        if self._last is None:
            found = self.rows(connection, f"SELECT {COLUMNS} FROM chain ORDER BY batch DESC LIMIT 1")
            self._last = Link(*found[0]) if found else Link(0, BATCH, 0, 0, 0, 0, b"", ORIGIN)
        return self._last

    def _add(self, connection: sa.Connection, kind: str, position: int, applied: int, found: Sequence[bytes]) -> Link:
        end = self._end(connection)
        link = Link(
            end.batch + 1, kind, end.last_position + 1, position, end.last_applied + 1, applied, tags_of(found), b""
        )
        link = link._replace(digest=batch_digest(link, end.digest, found))
        cursor: Any = connection.connection.cursor()
        statement = f"INSERT INTO chain ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        try:
            cursor.execute(statement if self._database.is_sqlite else statement.replace("?", "%s"), link)
        except connection.dialect.dbapi.IntegrityError as error:  # type: ignore[union-attr]
            raise IntegrityError("another writer was first with this batch of the chain") from error
        finally:
            cursor.close()
        self._last = link
        return link

    def _replace(self, connection: sa.Connection, batch: int, again: Sequence[Became]) -> list[bytes]:
        """Keeps what the marks of messages that were applied again said until now; the leaves of these."""
        found = []
        known: dict[int, Outcome] = {}
        for number, mark in enumerate(again, start=1):
            if mark.seq not in known:
                (row,) = self.rows(connection, f"SELECT {OUTCOME_COLUMNS} FROM marks WHERE seq = ?", (mark.seq,))
                known[mark.seq] = Outcome(*row)
            old, new = known[mark.seq], outcome_of(mark)
            known[mark.seq] = new
            connection.execute(
                sa.text(
                    "INSERT INTO replaced_marks (batch, number, seq, status, reason, first_position, events, claims) "
                    "VALUES (:batch, :number, :seq, :status, :reason, :first_position, :events, :claims)"
                ),
                {"batch": batch, "number": number, "seq": mark.seq, **old._asdict()},
            )
            found.append(leaf("retried", (number, mark.seq, old, new)))
        return found


def message_item(applied_seq: int, message: Any, mark: Became) -> tuple[Any, ...]:
    """A message that the engine took, and what became of it, as an item of a batch."""
    seq, message_id, kind, endpoint, mode, dialect, event_id, body, actor, received_at, id_source, digest, headers = (
        message
    )
    return (
        applied_seq,
        seq,
        bytes.fromhex(message_id[4:]),
        kind,
        endpoint,
        mode,
        dialect,
        event_id,
        id_source,
        digest,
        body,
        headers,
        actor,
        received_at,
        # As `outcome_of` has it, without making one for every message there is.
        mark.status,
        mark.reason,
        mark.first_position,
        mark.events,
        int(mark.claims),
    )


def outcome_of(mark: Became) -> Outcome:
    return Outcome(mark.status, mark.reason, mark.first_position, mark.events, int(mark.claims))
