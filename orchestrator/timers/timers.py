"""Timers: rows of the table `due`, which the engine sets, and a loop that turns what is due into messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import sqlalchemy as sa

from orchestrator.database import Database
from orchestrator.database.tables import due
from orchestrator.journal.journal import TIMER, Journal, Message, ours

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ACTOR = '{"kind":"policy","name":"timers"}'
AT_ONCE = 500
MOST_WAITING = 1_000
"""Timers that have rung and that the engine has not taken: more ring when it has caught up."""


class Timers:
    def __init__(self, database: Database) -> None:
        self._database = database

    def apply(
        self, connection: sa.Connection, set_: Mapping[str, tuple[int, dict[str, Any]]], cancel: Iterable[str]
    ) -> None:
        """Sets timers to microseconds of the service's clock, and cancels others, in the engine's transaction."""
        cancelled = list(cancel)
        for start in range(0, len(cancelled), 1_000):
            connection.execute(due.delete().where(due.c.name.in_(cancelled[start : start + 1_000])))
        if not set_:
            return
        rows = [(name, at, msgspec.json.encode(body).decode()) for name, (at, body) in set_.items()]
        then = "ON CONFLICT (name) DO UPDATE SET due_at = excluded.due_at, body = excluded.body"
        cursor: Any = connection.connection.cursor()
        try:
            if self._database.is_sqlite:
                cursor.executemany(f"INSERT INTO due (name, due_at, body) VALUES (?, ?, ?) {then}", rows)
            else:
                cursor.execute(
                    "INSERT INTO due (name, due_at, body) "
                    f"SELECT * FROM unnest(%b::text[], %b::bigint[], %b::text[]) {then}",
                    [list(column) for column in zip(*rows, strict=True)],
                )
        finally:
            cursor.close()

    def due(self, connection: sa.Connection, now: int, limit: int) -> list[tuple[str, int, dict[str, Any]]]:
        """Name, time and body of what is due, the oldest first."""
        query = sa.select(due).where(due.c.due_at <= now).order_by(due.c.due_at, due.c.name).limit(limit)
        return [(row.name, row.due_at, msgspec.json.decode(row.body)) for row in connection.execute(query)]


class Ringer:
    """Rings what is due: one message for each timer and time, however often it is looked at.

    After downtime everything that became due meanwhile rings once, the oldest first, marked `late`. Whoever sets a
    timer that has rung, and is still to be taken, sets it to another time, which rings as well.
    """

    def __init__(self, database: Database, clock: Callable[[], int]) -> None:
        """`clock` tells the service's time in microseconds."""
        self._database = database
        self._clock = clock
        self._timers = Timers(database)
        self._journal = Journal(database)
        self._rung: set[tuple[str, int]] = set()
        self._looked_at: int | None = None

    def step(self) -> int:
        """Rings some of what is due; how many rang."""
        now = self._clock()
        with self._database.read() as connection:
            found = self._timers.due(connection, now, MOST_WAITING)
        # The engine takes a timer away when it applies the message; until then it is found again.
        self._rung &= {(name, at) for name, at, _ in found}
        new = [item for item in found if item[:2] not in self._rung][:AT_ONCE]
        if new:
            self._journal.append([_message(*item, now, self._looked_at) for item in new])
            self._rung |= {(name, at) for name, at, _ in new}
        self._looked_at = now
        return len(new)

    def forget(self) -> None:
        """Rings again what was rung and not taken away. The journal knows a message that it has."""
        self._rung.clear()
        self._looked_at = None

    def close(self) -> None:
        self._journal.close()


def _message(name: str, at: int, body: dict[str, Any], now: int, looked_at: int | None) -> Message:
    """`looked_at`: when it was last looked what is due. What was due by then should have rung before, and is late,
    whatever the speed of the clock; as is what was due before anybody looked."""
    late_by = (now - at) // 1_000_000
    late = late_by > 0 and (looked_at is None or at <= looked_at)
    text = msgspec.json.encode(
        {**body, "name": name, "due_at": _iso(at), "fired_at": _iso(now), "late": late, "late_by": late_by}
    )
    return ours(TIMER, text, endpoint="timers", actor=ACTOR, received_at=now, once=f"timer\0{name}\0{at}")


def _iso(microseconds: int) -> str:
    return (EPOCH + timedelta(microseconds=microseconds)).isoformat().replace("+00:00", "Z")
