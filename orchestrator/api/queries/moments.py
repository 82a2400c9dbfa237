"""Moments of the past that can be asked for: a position of the log, or a time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa

from orchestrator.api.queries.page import log_head
from orchestrator.database.tables import events
from orchestrator.domain.times import iso
from orchestrator.log import recorded_at


class BadMoment(Exception):
    """Nothing can be shown as of this moment; the text says why, and what would be right."""


@dataclass(frozen=True, slots=True)
class Moment:
    """As of the event at a position, or as of a time: what was recorded until then.

    `now` is the service's time: nothing later is known yet.
    """

    at: int | datetime
    now: datetime

    def resolve(self, connection: sa.Connection) -> int:
        """The position of the last event of that moment; 0 where there was none yet. Raises `BadMoment` for what is
        still to come."""
        head = log_head(connection)
        if isinstance(self.at, int):
            if self.at > head:
                raise BadMoment(f"there is no position {self.at} yet, the log ends at {head}")
            return self.at
        if self.at > self.now and (not head or self.at > _recorded_at(connection, head)):
            raise BadMoment(f"{iso(self.at)} is still to come, it is {iso(self.now)}")
        return _last_until(connection, self.at, head)


def parse_moment(text: str, now: datetime) -> Moment:
    """The moment that `text` names: a position, or a time in ISO 8601, which is UTC where it names no offset. Raises
    `BadMoment`."""
    if text.isascii() and text.isdigit():
        if len(text) > 19 or int(text) >= 2**63:
            raise BadMoment("there is no such position, no log is that long")
        return Moment(int(text), now)
    for written in (text, text.replace(" ", "+")):  # A plus sign in an address stands for a blank.
        try:
            time = datetime.fromisoformat(written)
            time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
        except (ValueError, OverflowError):
            continue
        return Moment(time, now)
    raise BadMoment("it must be a position of the log, such as 4711, or a time, such as 2026-11-20T17:00:00Z")


def _last_until(connection: sa.Connection, time: datetime, head: int) -> int:
    """The last position that was recorded until `time`. Along the log that time never runs backwards."""
    below, above = 0, head + 1
    while above - below > 1:
        middle = (below + above) // 2
        if _recorded_at(connection, middle) <= time:
            below = middle
        else:
            above = middle
    return below


def _recorded_at(connection: sa.Connection, position: int) -> datetime:
    query = sa.select(events.c.state).where(events.c.notification_id == position)
    return recorded_at(connection.execute(query).scalar_one())
