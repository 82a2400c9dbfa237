"""What a database remembers of the world that it stands for: which one it is, and when its clock was started."""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa

from orchestrator.clock import Clock, RealClock, Scale
from orchestrator.database import Database
from orchestrator.database.tables import facts_of_database


class OtherWorldError(Exception):
    """The database belongs to another world; the text says to which, and what to do."""


def settle(database: Database, world: str, scale: Scale | None) -> Clock:
    """Makes sure that the database stands for `world`, and returns the world's clock.

    A scaled clock goes on from where the world's time is: its beginning is kept in the database.
    Raises `OtherWorldError`.
    """
    with database.write() as connection:
        known = _remember(connection, "world", world)
        if known != world:
            raise OtherWorldError(
                f"the database belongs to the world {known!r} and this service is set up for {world!r}: "
                "use another ORCHESTRATOR_DATABASE_URL, or the mode that it was made with"
            )
        if scale is None:
            return RealClock()
        began = _remember(connection, f"clock {scale}", datetime.now(UTC).isoformat())
    return scale.clock(datetime.fromisoformat(began))


def clock_of(database: Database) -> Clock:
    """The clock of the world that the database stands for, whichever it is."""
    table = facts_of_database
    with database.read() as connection:
        scaled = connection.execute(sa.select(table.c.key, table.c.value).where(table.c.key.like("clock %"))).first()
    if scaled is None:
        return RealClock()
    return Scale.parse(scaled.key.removeprefix("clock ")).clock(datetime.fromisoformat(scaled.value))


def _remember(connection: sa.Connection, key: str, value: str) -> str:
    """The value kept under `key`; `value`, if there was none."""
    table = facts_of_database
    known: str | None = connection.execute(sa.select(table.c.value).where(table.c.key == key)).scalar()
    if known is not None:
        return known
    connection.execute(table.insert().values(key=key, value=value))
    return value
