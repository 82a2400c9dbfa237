"""What a database remembers of its having been restored from a backup, and what follows from it.

What happened after the backup was made is not in it: accounts may have been banned, videos posted. So a service on it
watches, whatever its mode, until everything at TokPortal has been read once, or until an admin says that it may go on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

import msgspec
import sqlalchemy as sa

from orchestrator.database import Database
from orchestrator.database.tables import facts_of_database, outbox, sweeps
from orchestrator.outbox.outbox import ALERT, HELD, PENDING, RUNNING

logger = logging.getLogger(__name__)

KEY: Final = "restored"
LOOK: Final = 2.0
"""Seconds between two looks."""


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
    """From now on the service acts as its mode says. The restoration, if there was one that kept it from that.

    What the backup holds as not sent yet may have been sent, and paid, since: TokPortal is asked for it first, as for
    every command in doubt.
    """
    with database.write() as connection:
        found = restored(connection)
        if found is None or found.trusted:
            return None
        mark(connection, msgspec.structs.replace(found, trusted=True))
        is_open = sa.and_(outbox.c.status.in_([PENDING, HELD, RUNNING]), outbox.c.kind != ALERT)
        attempts = sa.case((outbox.c.attempts == 0, 1), else_=outbox.c.attempts)
        connection.execute(outbox.update().where(is_open).values(attempts=attempts, last_error=None))
    return found


def is_reconciled(database: Database) -> bool:
    """Whether everything that exists at TokPortal has been read since: a backup holds no notes of earlier reading."""
    query = sa.select(sweeps.c.body).where(sweeps.c.name == "discovery")
    with database.read() as connection:
        body = connection.execute(query).scalar_one_or_none()
    return body is not None and msgspec.json.decode(body).get("phase") == "done"


class Watch:
    """Lets a service that was started in `live` on a restored database go live, once everything has been read, or an
    admin said so. A duty of the process `outside`."""

    def __init__(
        self, database: Database, go_live: Callable[[], None], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """`go_live` journals the order."""
        self._database = database
        self._go_live = go_live
        self._monotonic = monotonic
        self._looked_at: float | None = None
        self._is_done = must_watch(database) is None

    def step(self) -> int:
        now = self._monotonic()
        if self._is_done or (self._looked_at is not None and now - self._looked_at < LOOK):
            return 0
        self._looked_at = now
        if must_watch(self._database) is not None:
            if not is_reconciled(self._database):
                return 0
            trust(self._database)
            logger.info("everything at TokPortal has been read since the database was restored")
        # Whoever dies before the order goes live at the next start.
        self._go_live()
        self._is_done = True
        logger.warning("the restored service goes live: commands go to TokPortal from now on")
        return 1

    def forget(self) -> None:
        self._looked_at = None

    def close(self) -> None:
        """There is nothing to give back."""
