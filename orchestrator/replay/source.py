"""The journal in the order in which the engine took it, with what became of each message, and the log beside it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from orchestrator.database import Database
from orchestrator.database.tables import events, journal, marks, outbox, unpack_message_id
from orchestrator.engine.decide import Judged, judge
from orchestrator.journal.inbox import Taken
from orchestrator.journal.journal import COMMAND, WEBHOOK
from orchestrator.log import EventLog, Stored

PAGE = 2_000
"""Messages, or events, in one read."""
PART = 1_000
"""Names in one query."""

COLUMNS = (
    "journal.seq, journal.message_id, journal.kind, journal.endpoint, journal.mode, journal.dialect, "
    "journal.event_id, journal.body, journal.actor, journal.received_at, "
    "marks.applied_seq, marks.status, marks.first_position, marks.events, marks.claim"
)
# By both ends, for there is no gap: with one end and a limit, PostgreSQL would join all that follows for every page.
QUERY = (
    f"SELECT {COLUMNS} FROM marks JOIN journal ON journal.seq = marks.seq "
    "WHERE marks.applied_seq BETWEEN ? AND ? ORDER BY marks.applied_seq"
)


class Entry(NamedTuple):
    """A message, and what history says became of it; see `Mark`."""

    message: Taken
    applied_seq: int
    status: str
    first_position: int
    events: int
    claims: bool


class Source:
    """One database's history, as far as it went when this was made. `entries` and `until` go on from where they were
    asked last."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.log = EventLog(database)
        with database.read() as connection:
            self.messages = int(connection.scalar(sa.select(sa.func.max(marks.c.applied_seq))) or 0)
            self.head = self.log.head(connection)
        self._taken = 0
        self._read = 0
        self._coming: deque[Stored] = deque()

    def close(self) -> None:
        """To be called when no more is read."""

    def entries(self, limit: int = PAGE) -> list[Entry]:
        """The next messages, in the order in which they were taken."""
        with self.database.read() as connection:
            cursor: Any = connection.connection.cursor()
            try:
                parameters = (self._taken + 1, min(self._taken + limit, self.messages))
                if self.database.is_sqlite:
                    cursor.execute(QUERY, parameters)
                else:
                    cursor.execute(QUERY.replace("?", "%s"), parameters, binary=True)
                rows = cursor.fetchall()
            finally:
                cursor.close()
        found = [
            Entry(
                Taken(row[0], unpack_message_id(row[1]), *row[2:10]), row[10], row[11], row[12], row[13], row[14] == 0
            )
            for row in rows
        ]
        if found:
            self._taken = found[-1].applied_seq
        return found

    def until(self, position: int) -> list[Stored]:
        """The next events of the log, up to a position."""
        coming = self._coming
        while self._read < min(position, self.head) and self._read_on():
            pass
        found = []
        while coming and coming[0].position <= position:
            found.append(coming.popleft())
        return found

    # For stores that hold no more than what today's program does otherwise.

    def next_events(self, count: int) -> list[Stored]:
        """The next events of the log, so many if there are."""
        while len(self._coming) < count and self._read < self.head and self._read_on():
            pass
        return [self._coming.popleft() for _ in range(min(count, len(self._coming)))]

    def give_back(self, events: Sequence[Stored]) -> None:
        """Has `until` return these again."""
        self._coming.extendleft(reversed(events))

    def _read_on(self) -> bool:
        """Reads a page of the log; whether there was one."""
        with self.database.read() as connection:
            page = self.log.after(connection, self._read, PAGE)
        self._coming.extend(page)
        self._read = page[-1].position if page else self._read
        return bool(page)

    def judged(self, message: Taken) -> Judged:
        """What the webhook says."""
        return judge(message)

    def journalled(self, message_ids: Iterable[str]) -> set[str]:
        """Those of the messages that the journal has."""
        with self.database.read() as connection:
            return {
                name
                for part in _parts(message_ids)
                for name in connection.scalars(sa.select(journal.c.message_id).where(journal.c.message_id.in_(part)))
            }

    def find(self, connection: sa.Connection, message_ids: Sequence[str]) -> list[tuple[Taken, int | None]]:
        """Messages by their ids, each with its place in the order, if it was taken."""
        columns = [journal.c[name] for name in Taken._fields]
        query = (
            sa.select(*columns, marks.c.applied_seq)
            .select_from(journal.outerjoin(marks, marks.c.seq == journal.c.seq))
            .where(journal.c.message_id.in_(list(message_ids)))
        )
        return [(Taken(*row[:-1]), row[-1]) for row in connection.execute(query)]

    def owners(self, connection: sa.Connection, event_ids: Iterable[str]) -> list[tuple[str, str, int, int]]:
        """Event id, dialect, message and its place in the order: which messages own these event ids in the end."""
        columns = (marks.c.event_id, marks.c.dialect, marks.c.seq, marks.c.applied_seq)
        return [
            tuple(row)
            for part in _parts(event_ids)
            for row in connection.execute(sa.select(*columns).where(marks.c.claim == 0, marks.c.event_id.in_(part)))
        ]

    def places(self, connection: sa.Connection, command_ids: Iterable[str]) -> dict[str, int]:
        """The commands' places in the outbox. Big work goes on after a place, so these are part of history."""
        columns = (outbox.c.command_id, outbox.c.seq)
        return {
            name: seq
            for part in _parts(command_ids)
            for name, seq in connection.execute(sa.select(*columns).where(columns[0].in_(part)))
        }

    def kinds(self, connection: sa.Connection, command_ids: Iterable[str]) -> dict[str, str]:
        """The kinds of the commands in the outbox."""
        columns = (outbox.c.command_id, outbox.c.kind)
        return {
            name: kind
            for part in _parts(command_ids)
            for name, kind in connection.execute(sa.select(*columns).where(columns[0].in_(part)))
        }

    def events_of(self, connection: sa.Connection, keys: Iterable[str], until: int) -> list[Stored]:
        """The events of aggregates up to a position, each one's in order."""
        return [
            Stored(*row)
            for part in _parts(keys)
            for row in connection.execute(
                sa.select(events)
                .where(events.c.originator_id.in_(part), events.c.notification_id <= until)
                .order_by(events.c.originator_id, events.c.originator_version)
            )
        ]


def _parts(names: Iterable[str]) -> Iterable[list[str]]:
    every = sorted(set(names))
    return (every[start : start + PART] for start in range(0, len(every), PART))


def was_replaced(entry: Entry, after: Entry | None) -> bool:
    """Whether what became of the message is what became of it later, when it was applied again."""
    if entry.message.kind != WEBHOOK or after is None:
        return False
    return after.first_position < entry.first_position or retried(after) == entry.message.message_id


def retried(entry: Entry) -> str | None:
    """The message that this order has applied again, if that is what it is for."""
    if entry.message.kind != COMMAND:
        return None
    order = msgspec.json.decode(entry.message.body)
    return str(order["message_id"]) if order["command"] == "retry" else None
