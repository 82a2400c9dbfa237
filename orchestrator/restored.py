"""What a database remembers of its having been restored from a backup, and what follows from it.

What happened after the backup was made is not in it: accounts may have been banned, videos posted. So a service on it
watches, whatever its mode, until everything at TokPortal has been read once, or until an admin says that it may go on.
"""

from __future__ import annotations

from typing import Final

import msgspec
import sqlalchemy as sa

from orchestrator.database import Database
from orchestrator.database.tables import facts_of_database, sweeps

KEY: Final = "restored"


class Restored(msgspec.Struct, frozen=True):
    """Where the backup ended: `batch` of the chain, `position` in the log. `name` tells this restoration from others;
    `trusted`: the service may do whatever its mode allows."""

    name: str
    made_at: str
    batch: int
    position: int
    trusted: bool = False


_decode = msgspec.json.Decoder(Restored).decode


def restored(connection: sa.Connection) -> Restored | None:
    """The newest restoration; None for a database that never was restored."""
    query = sa.select(facts_of_database.c.value).where(facts_of_database.c.key == KEY)
    value = connection.execute(query).scalar_one_or_none()
    return _decode(value) if value is not None else None


def mark(connection: sa.Connection, restoration: Restored) -> None:
    connection.execute(
        sa.text(
            "INSERT INTO world (key, value) VALUES (:key, :value) "
            "ON CONFLICT (key) DO UPDATE SET value = excluded.value"
        ),
        {"key": KEY, "value": msgspec.json.encode(restoration).decode()},
    )


def must_watch(database: Database) -> Restored | None:
    """The restoration that keeps the service from acting, if one does."""
    with database.read() as connection:
        found = restored(connection)
    return found if found is not None and not found.trusted else None


def trust(database: Database) -> Restored | None:
    """From now on the service acts as its mode says. The restoration, if there was one that kept it from that."""
    with database.write() as connection:
        found = restored(connection)
        if found is None or found.trusted:
            return None
        mark(connection, msgspec.structs.replace(found, trusted=True))
    return found


def is_reconciled(database: Database) -> bool:
    """Whether everything that exists at TokPortal has been read since: a backup holds no notes of earlier reading."""
    query = sa.select(sweeps.c.body).where(sweeps.c.name == "discovery")
    with database.read() as connection:
        body = connection.execute(query).scalar_one_or_none()
    return body is not None and msgspec.json.decode(body).get("phase") == "done"
