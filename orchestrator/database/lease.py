"""A lease: who of several processes may work on this database, and proof of it inside every commit."""

from __future__ import annotations

import sqlalchemy as sa

from orchestrator.database.connection import Database
from orchestrator.database.tables import leases

TERM = 4.0
"""Seconds that a lease lasts without being renewed: a standby takes over this long after a crash."""


class LeaseLostError(Exception):
    """Somebody else holds the lease now; nothing was written."""


class Lease:
    """The lease `name` as `holder` sees it. The token rises with every change of hands, so a holder that was frozen
    and wakes up late is refused by `fence`, however sure it is of itself."""

    def __init__(self, database: Database, name: str, holder: str) -> None:
        self._database = database
        self.name = name
        self.holder = holder
        self.token: int | None = None

    def acquire(self) -> bool:
        """Takes the lease if it is free, expired or ours already.

        To take it again is no sign of work: a worker whose every step fails does that too.
        """
        with self._database.write() as connection:
            now = self._database.now(connection)
            # Two may ask for a lease that nobody ever had: both find the row that one of them has made.
            connection.execute(
                sa.text(
                    "INSERT INTO leases (name, holder, token, expires_at, ticked_at) VALUES (:name, '', 0, 0, 0) "
                    "ON CONFLICT (name) DO NOTHING"
                ),
                {"name": self.name},
            )
            row = connection.execute(
                sa.select(leases.c.holder, leases.c.token, leases.c.expires_at)
                .where(leases.c.name == self.name)
                .with_for_update()
            ).one()
            if row.expires_at >= now and row.holder != self.holder:
                self.token = None
                return False
            token: int = row.token + 1
            taken = {"holder": self.holder, "token": token, "expires_at": now + TERM}
            if row.holder != self.holder:
                taken["ticked_at"] = now
            connection.execute(leases.update().where(leases.c.name == self.name).values(taken))
        self.token = token
        return True

    def fence(self, connection: sa.Connection) -> None:
        """Proves, and renews, the lease within the transaction of `connection`. Raises `LeaseLostError`."""
        now = self._database.now(connection)
        renewed = connection.execute(
            leases.update()
            .where(leases.c.name == self.name, leases.c.token == self.token)
            .values(expires_at=now + TERM, ticked_at=now)
        )
        if self.token is None or renewed.rowcount != 1:
            self.token = None
            raise LeaseLostError(f"the lease {self.name!r} is held by another process")

    def renew(self) -> None:
        """Raises `LeaseLostError`."""
        with self._database.write() as connection:
            self.fence(connection)

    def release(self) -> None:
        """Lets a standby in at once."""
        with self._database.write() as connection:
            connection.execute(
                leases.update().where(leases.c.name == self.name, leases.c.token == self.token).values(expires_at=0)
            )
        self.token = None
