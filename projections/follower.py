"""Follows the log: reads a page, folds it into every read model, and commits rows and positions together."""

from __future__ import annotations

import sqlalchemy as sa

from orchestrator.database import Database, Lease
from orchestrator.database.tables import projections
from orchestrator.log import EventLog
from projections import campaigns, decisions
from projections.bundles import NAME as BUNDLES
from projections.bundles import Bundles
from projections.countries import NAME as COUNTRIES
from projections.countries import Countries
from projections.videos import NAME as VIDEOS
from projections.videos import Videos

NAMES = (BUNDLES, VIDEOS, COUNTRIES, campaigns.NAME, decisions.NAME)
PAGE = 20_000


class OvertakenError(Exception):
    """Another runner has moved the projections since this one looked; nothing was written."""


class Follower:
    """Keeps the read models at the head of the log.

    All are folded together: a page is read once, and countries count what bundles and videos changed. Every commit
    moves the positions from where this runner read them, so of two runners only one can apply a page. `lease` None
    is for tools and tests that are alone with their database.
    """

    def __init__(self, database: Database, lease: Lease | None = None, *, page: int = PAGE) -> None:
        self._database = database
        self._lease = lease
        self._page = page
        self._log = EventLog(database)
        self._bundles, self._videos, self._countries = Bundles(database), Videos(database), Countries(database)
        self._campaigns, self._decisions = campaigns.Campaigns(database), decisions.Decisions()
        self._position: int | None = None

    @property
    def full(self) -> int:
        """As many events as one step follows."""
        return self._page

    def forget(self) -> None:
        """To be called when the lease was lost or a commit failed: the next step starts from what is stored."""
        self._bundles.forget()
        self._videos.forget()
        self._position = None

    def step(self) -> int:
        """Folds in one page; the number of events in it. Raises `OvertakenError`, `LeaseLostError` or the database's
        error after nothing was written."""
        try:
            return self._step()
        except Exception:
            self.forget()
            raise

    def _step(self) -> int:
        with self._database.read() as connection:
            position = self._position
            if position is None:
                position = self._stored_position(connection)
            stored = self._log.after(connection, position, self._page)
        if not stored:
            self._position = position
            return 0
        if stored[0].position != position + 1 or stored[-1].position != position + len(stored):
            raise AssertionError(f"the log has a gap after position {position}")
        bundle_changes = self._bundles.prepare(stored)
        video_changes = self._videos.prepare(stored)
        self._countries.prepare(stored, bundle_changes, video_changes, self._bundles)
        self._campaigns.prepare(stored)
        self._decisions.prepare(stored)
        head = stored[-1].position
        with self._database.write() as connection:
            if self._lease is not None:
                self._lease.fence(connection)
            moved = connection.execute(
                projections.update()
                .where(projections.c.name.in_(NAMES), projections.c.position == position)
                .values(position=head)
            )
            if moved.rowcount != len(NAMES):
                raise OvertakenError(f"the projections are no longer at position {position}")
            self._bundles.write(connection)
            self._videos.write(connection)
            self._countries.write(connection)
            self._campaigns.write(connection)
            self._decisions.write(connection)
        self._position = head
        self._bundles.trim()
        self._videos.trim()
        return len(stored)

    def _stored_position(self, connection: sa.Connection) -> int:
        rows = connection.execute(
            sa.select(projections.c.name, projections.c.position).where(projections.c.name.in_(NAMES))
        ).all()
        positions = {position for _, position in rows}
        if len(rows) != len(NAMES) or len(positions) != 1:
            raise AssertionError("the projections are not at one position")
        return int(positions.pop())
