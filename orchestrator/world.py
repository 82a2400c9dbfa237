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
    table = facts_of_database
    with database.write() as connection:
        known = _remember(connection, "world", world)
        if known != world:
            raise OtherWorldError(
                f"the database belongs to the world {known!r} and this service is set up for {world!r}: "
                "use another ORCHESTRATOR_DATABASE_URL, or the mode that it was made with"
            )
        connection.execute(table.delete().where(table.c.key == "clock"))
        if scale is None:
            return RealClock()
        connection.execute(table.insert().values(key="clock", value=str(scale)))
        began = _remember(connection, _beginning(scale), datetime.now(UTC).isoformat())
    return scale.clock(datetime.fromisoformat(began))


def clock_of(database: Database) -> Clock:
    """The clock of the world that the database stands for, as the service that was started last set it."""
    table = facts_of_database
    with database.read() as connection:
        known = {row.key: row.value for row in connection.execute(sa.select(table))}
    if "clock" not in known:
        return RealClock()
    scale = Scale.parse(known["clock"])
    return scale.clock(datetime.fromisoformat(known[_beginning(scale)]))


def beginning_of(database: Database, scale: Scale) -> datetime:
    """The real time at which the clock of the world began to run by `scale`, for a database that was settled so."""
    query = sa.select(facts_of_database.c.value).where(facts_of_database.c.key == _beginning(scale))
    with database.read() as connection:
        return datetime.fromisoformat(connection.execute(query).scalar_one())


def remembered(database: Database, key: str, value: str) -> str:
    """What the database remembers under `key`: `value` from now on, if that is nothing yet."""
    with database.write() as connection:
        return _remember(connection, key, value)


def known(database: Database, key: str) -> str | None:
    """What the database remembers under `key`."""
    query = sa.select(facts_of_database.c.value).where(facts_of_database.c.key == key)
    with database.read() as connection:
        found: str | None = connection.execute(query).scalar_one_or_none()
    return found


def replace(database: Database, key: str, value: str) -> None:
    """Has the database remember `value` under `key`, whatever that was before."""
    with database.write() as connection:
        connection.execute(facts_of_database.delete().where(facts_of_database.c.key == key))
        connection.execute(facts_of_database.insert().values(key=key, value=value))


def _beginning(scale: Scale) -> str:
    return f"clock {scale} began"


def _remember(connection: sa.Connection, key: str, value: str) -> str:
    """The value kept under `key`; `value`, if there was none."""
    table = facts_of_database
    # Two services may start at once: whoever is second finds the row of the first.
    connection.execute(
        sa.text("INSERT INTO world (key, value) VALUES (:key, :value) ON CONFLICT (key) DO NOTHING"),
        {"key": key, "value": value},
    )
    known: str = connection.execute(sa.select(table.c.value).where(table.c.key == key)).scalar_one()
    return known
