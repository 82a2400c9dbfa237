"""The recorder of domain events, on SQLite and PostgreSQL alike.

It implements the `eventsourcing` library's `ApplicationRecorder` on the service's own connections, so that events,
journal marks and the lease's fence share one transaction and one pool. Positions are given here, one after another
under a lock: the log has no gaps, its order is the order of the commits, and a reader that sees position N has seen
everything before it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from eventsourcing.persistence import ApplicationRecorder, IntegrityError, Notification, StoredEvent, Subscription

from orchestrator.database import Database
from orchestrator.database.tables import events
from orchestrator.log.upcasting import EVOLVED, current

LOG_LOCK = 0x6F726C67
"""The advisory lock on PostgreSQL that writers of the log hold until they commit. A lock on the table would do the
same, and would block VACUUM and CREATE INDEX CONCURRENTLY as well."""

POSTGRES_INSERT = """
INSERT INTO events (notification_id, originator_id, originator_version, topic, state)
SELECT * FROM unnest(%b::bigint[], %b::text[], %b::bigint[], %b::text[], %b::bytea[])
"""
SQLITE_INSERT = (
    "INSERT INTO events (notification_id, originator_id, originator_version, topic, state) VALUES (?, ?, ?, ?, ?)"
)
COLUMNS = "notification_id, originator_id, originator_version, topic, state"


class Stored(NamedTuple):
    """One event of the log. `state` is in the form of today, whatever version was stored."""

    position: int
    originator_id: str
    originator_version: int
    topic: str
    state: bytes


class EventLog(ApplicationRecorder):
    def __init__(self, database: Database) -> None:
        self._database = database

    def append(self, connection: sa.Connection, stored_events: Sequence[StoredEvent]) -> int:
        """Adds the events in the transaction of `connection` and returns the position of the first.

        Raises the library's `IntegrityError` if an aggregate already has an event with one of the versions.
        """
        if not self._database.is_sqlite:
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (LOG_LOCK,))
        first = self.head(connection) + 1
        rows = [
            (position, event.originator_id, event.originator_version, event.topic, event.state)
            for position, event in enumerate(stored_events, start=first)
        ]
        if not rows:
            return first
        cursor: Any = connection.connection.cursor()
        try:
            if self._database.is_sqlite:
                cursor.executemany(SQLITE_INSERT, rows)
            else:
                cursor.execute(POSTGRES_INSERT, [list(column) for column in zip(*rows, strict=True)])
        except connection.dialect.dbapi.IntegrityError as error:  # type: ignore[union-attr]
            raise IntegrityError("another writer was first with an event of one of these aggregates") from error
        finally:
            cursor.close()
        return first

    def head(self, connection: sa.Connection) -> int:
        """The last position; 0 for an empty log."""
        return int(connection.exec_driver_sql("SELECT coalesce(max(notification_id), 0) FROM events").scalar_one())

    def after(self, connection: sa.Connection, position: int, limit: int) -> list[Stored]:
        """Up to `limit` events that follow `position`, in order."""
        return self._select(connection, "notification_id > ? ORDER BY notification_id LIMIT ?", (position, limit))

    def of(self, connection: sa.Connection, originator_ids: Iterable[str]) -> dict[str, list[Stored]]:
        """All events of many aggregates in one query, each aggregate's in order."""
        wanted = list(originator_ids)
        found: defaultdict[str, list[Stored]] = defaultdict(list)
        if not wanted:
            return found
        if self._database.is_sqlite:
            # SQLite takes no arrays and at most 32,766 parameters.
            rows: list[Stored] = []
            for start in range(0, len(wanted), 10_000):
                part = wanted[start : start + 10_000]
                marks = ",".join("?" * len(part))
                rows += self._select(
                    connection, f"originator_id IN ({marks}) ORDER BY originator_id, originator_version", tuple(part)
                )
        else:
            rows = self._select(
                connection, "originator_id = ANY(?) ORDER BY originator_id, originator_version", (wanted,)
            )
        for row in rows:
            found[row.originator_id].append(row)
        return found

    def _select(self, connection: sa.Connection, where: str, parameters: tuple[Any, ...]) -> list[Stored]:
        statement = f"SELECT {COLUMNS} FROM events WHERE {where}"
        cursor: Any = connection.connection.cursor()
        try:
            if self._database.is_sqlite:
                cursor.execute(statement, parameters)
            else:
                cursor.execute(statement.replace("?", "%s"), parameters, binary=True)
            rows = [Stored(*row) for row in cursor.fetchall()]
        finally:
            cursor.close()
        if EVOLVED:
            rows = [row._replace(state=current(row.topic, row.state)) if row.topic in EVOLVED else row for row in rows]
        return rows

    # The library's interface, each call in a transaction of its own.

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int]:
        with self._database.write() as connection:
            first = self.append(connection, stored_events)
        return range(first, first + len(stored_events))

    def select_events(
        self,
        originator_id: Any,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        query = sa.select(events).where(events.c.originator_id == originator_id)
        if gt is not None:
            query = query.where(events.c.originator_version > gt)
        if lte is not None:
            query = query.where(events.c.originator_version <= lte)
        order = events.c.originator_version.desc() if desc else events.c.originator_version
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(order).limit(limit)).all()
        return [
            StoredEvent(row.originator_id, row.originator_version, row.topic, current(row.topic, row.state))
            for row in rows
        ]

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        query = sa.select(events)
        if start is not None:
            position = events.c.notification_id
            query = query.where(position >= start if inclusive_of_start else position > start)
        if stop is not None:
            query = query.where(events.c.notification_id <= stop)
        if topics:
            query = query.where(events.c.topic.in_(topics))
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(events.c.notification_id).limit(limit)).all()
        return [
            Notification(
                row.originator_id, row.originator_version, row.topic, current(row.topic, row.state), row.notification_id
            )
            for row in rows
        ]

    def max_notification_id(self) -> int | None:
        with self._database.read() as connection:
            return self.head(connection) or None

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> Subscription[ApplicationRecorder]:
        raise NotImplementedError("readers follow the log by polling `after`")
