"""Follows the log: reads a page, folds it into every read model, and commits rows and positions together."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import psycopg
import sqlalchemy as sa

from orchestrator.database import Database, Lease, LeaseLostError
from orchestrator.database.tables import projections
from orchestrator.log import EventLog, Stored
from projections import bundles, campaigns, countries, decisions, videos
from projections.copies import LIVE
from projections.rows import UnreadableError, why

logger = logging.getLogger(__name__)

NAMES = (bundles.NAME, videos.NAME, countries.NAME, campaigns.NAME, decisions.NAME)
VERSIONS: Final[Mapping[str, int]] = {
    module.NAME: module.VERSION for module in (bundles, videos, countries, campaigns, decisions)
}
"""The versions of this program's code. Rows of any other version are not followed but made anew."""
COUNTED = (bundles.NAME, videos.NAME)
"""Those whose changes `countries` counts."""
PAGE = 20_000
FIRST_PAUSE = 1.0
"""Seconds until a read model that stopped is tried again; doubled each time."""
LONGEST_PAUSE = 60.0
TROUBLE = (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError, psycopg.OperationalError)
"""What the drivers raise where the database cannot be reached, is locked, or takes too long."""

Told = Callable[["Failure"], None]


class Model(Protocol):
    """A read model's rows, as far as they are prepared."""

    def write(self, connection: sa.Connection) -> None: ...


class OvertakenError(LeaseLostError):
    """Another runner has moved the projections since this one looked; nothing was written."""


class GapError(AssertionError):
    """The log does not go on where it should."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A read model stopped before the event at `position`; `why` is None once it goes on."""

    name: str
    position: int
    topic: str | None
    why: str | None


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a read model has come, and whether it stopped there."""

    position: int
    version: int
    has_failed: bool = False

    def is_followed(self, name: str) -> bool:
        """Whether the rows were made by this version of the code, or there are none yet."""
        return self.version == VERSIONS[name] or self.position == 0


class Follower:
    """Keeps the read models at the head of the log.

    All are folded together while all are well: a page is read once, and countries count what bundles and videos
    changed. One that cannot be folded any further stops before the event that it cannot take, says so, and is tried
    again after a pause; the others go on without it. Countries are counted anew once bundles and videos stand at one
    position again.

    Every commit moves the positions from where this runner read them, so of two runners only one can apply a page.
    `lease` None is for tools and tests that are alone with their database. `told` hears of whatever stops or goes on.
    """

    def __init__(
        self,
        database: Database,
        lease: Lease | None = None,
        *,
        page: int = PAGE,
        told: Told = lambda failure: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._lease = lease
        self._page = page
        self._told = told
        self._clock = clock
        self._log = EventLog(database)
        self._bundles, self._videos = bundles.Bundles(database), videos.Videos(database)
        self._countries = countries.Countries(database)
        self._campaigns, self._decisions = campaigns.Campaigns(database), decisions.Decisions()
        self._models: dict[str, Model] = {
            bundles.NAME: self._bundles,
            videos.NAME: self._videos,
            countries.NAME: self._countries,
            campaigns.NAME: self._campaigns,
            decisions.NAME: self._decisions,
        }
        self._standing: dict[str, Standing] | None = None
        self._pauses: dict[str, tuple[float, float]] = {}
        """Of those that stopped: when they are tried again, and how long the pause was."""

    @property
    def full(self) -> int:
        """As many events as one step follows."""
        return self._page

    def forget(self) -> None:
        """To be called when the lease was lost or a commit failed: the next step starts from what is stored."""
        self._bundles.forget()
        self._videos.forget()
        self._standing = None

    def step(self) -> int:
        """Folds one page into each; the number of events in the longest. Raises `OvertakenError`, `LeaseLostError`,
        `GapError` or the database's error after nothing was written."""
        try:
            return self._step()
        except Exception:
            self.forget()
            raise

    def _step(self) -> int:
        standing = self._read_standing()
        able = [name for name in NAMES if standing[name].is_followed(name) and self._is_due(name)]
        places = sorted({standing[name].position for name in able})
        done = 0
        for position, end in zip(places, [*places[1:], None], strict=True):
            group = [name for name in able if standing[name].position == position]
            if countries.NAME in group and not set(COUNTED) <= set(group):
                group.remove(countries.NAME)
            # Those that are behind stop where the next ones stand, and go on with them.
            limit = self._page if end is None else min(self._page, end - position)
            if group:
                done = max(done, self._follow(group, position, limit))
        return max(done, self._count_countries())

    # One page.

    def _follow(self, names: Sequence[str], position: int, limit: int) -> int:
        """Folds a page into these read models, which all stand at `position`. Those that fail do so alone, at the very
        event that they cannot take."""
        with self._database.read() as connection:
            page = self._log.after(connection, position, limit)
        if not page:
            return 0
        if page[0].position != position + 1 or page[-1].position != position + len(page):
            raise GapError(f"the log has a gap after position {position}")
        return self._fold_or_part(names, position, page)

    def _fold_or_part(self, names: Sequence[str], position: int, page: Sequence[Stored]) -> int:
        error = self._try(names, position, page)
        if error is None:
            return len(page)
        if len(names) > 1:
            logger.warning("read models are followed one by one: %s", why(error))
            return max(self._fold_or_part([name], position, page) for name in names if name != countries.NAME)
        if len(page) > 1:
            half = len(page) // 2
            done = self._fold_or_part(names, position, page[:half])
            return done if done < half else done + self._fold_or_part(names, position + half, page[half:])
        self._stop(names[0], position, page[0], error)
        return 0

    def _try(self, names: Sequence[str], position: int, page: Sequence[Stored]) -> Exception | None:
        """Why the page cannot be folded; None if it was."""
        try:
            self._fold(names, position, page)
        except LeaseLostError:
            raise
        except Exception as error:
            if is_trouble(error):
                raise
            self._drop_memory()
            return error
        return None

    def _fold(self, names: Sequence[str], position: int, page: Sequence[Stored]) -> None:
        head = page[-1].position
        changed_bundles = self._bundles.prepare(page) if bundles.NAME in names else {}
        changed_videos = self._videos.prepare(page) if videos.NAME in names else {}
        if countries.NAME in names:
            self._countries.prepare(page, changed_bundles, changed_videos, self._bundles)
        if campaigns.NAME in names:
            self._campaigns.prepare(page)
        if decisions.NAME in names:
            self._decisions.prepare(page)
        with self._database.write() as connection:
            self._move(connection, names, position, head)
            for name in names:
                self._models[name].write(connection)
        self._note_moved(names, head)
        self._bundles.trim()
        self._videos.trim()

    def _move(self, connection: sa.Connection, names: Sequence[str], position: int, head: int) -> None:
        if self._lease is not None:
            self._lease.fence(connection)
        moved = connection.execute(
            projections.update()
            .where(projections.c.name.in_(names), projections.c.position == position)
            .values(position=head, failed_at=None, failed_topic=None, failure=None, failed_since=None)
        )
        if moved.rowcount != len(names):
            raise OvertakenError(f"the projections are no longer at position {position}")
        for name in names:
            if self._read_standing()[name].version != VERSIONS[name]:
                values = {"version": VERSIONS[name]}
                connection.execute(projections.update().where(projections.c.name == name).values(values))

    def _note_moved(self, names: Iterable[str], head: int) -> None:
        standing = self._read_standing()
        for name in names:
            had_failed = standing[name].has_failed
            standing[name] = Standing(head, VERSIONS[name])
            self._pauses.pop(name, None)
            if had_failed:
                logger.warning("the read model %s goes on", name, extra={"position": head})
                self._told(Failure(name, head, None, None))

    # Countries.

    def _count_countries(self) -> int:
        """Counts them anew where they do not stand with bundles and videos, which stand together."""
        standing = self._read_standing()
        mine, others = standing[countries.NAME], [standing[name] for name in COUNTED]
        is_together = len({other.position for other in others}) == 1
        is_followed = all(standing[name].is_followed(name) for name in COUNTED)
        is_current = mine.position == others[0].position and mine.is_followed(countries.NAME)
        if not (is_together and is_followed) or is_current or not self._is_due(countries.NAME):
            return 0
        position = others[0].position
        try:
            with self._database.read() as connection:
                rows = countries.count_anew(connection, connection, LIVE, position)
            with self._database.write() as connection:
                self._move(connection, [countries.NAME], mine.position, position)
                countries.replace(connection, rows)
        except LeaseLostError:
            raise
        except Exception as error:
            if is_trouble(error):
                raise
            self._stop(countries.NAME, mine.position, None, error)
            return 0
        self._note_moved([countries.NAME], position)
        return 1

    # Those that stop.

    def _stop(self, name: str, position: int, event: Stored | None, error: Exception) -> None:
        standing = self._read_standing()
        _, pause = self._pauses.get(name, (0.0, FIRST_PAUSE / 2))
        pause = min(pause * 2, LONGEST_PAUSE)
        self._pauses[name] = (self._clock() + pause, pause)
        failed_at, topic = (event.position, event.topic) if event is not None else (position, None)
        if isinstance(error, UnreadableError):
            failed_at, topic, error = error.position or position, error.topic, error.cause
        reason = why(error)
        if not standing[name].has_failed:
            about = {"position": failed_at, "event": topic}
            logger.error("the read model %s stopped: %s", name, reason, extra=about, exc_info=error)
            self._told(Failure(name, failed_at, topic, reason))
        with self._database.write() as connection:
            if self._lease is not None:
                self._lease.fence(connection)
            stopped = projections.update().where(projections.c.name == name)
            values = {"failed_at": failed_at, "failed_topic": topic, "failure": reason}
            connection.execute(stopped.values(values))
            now = self._database.now(connection)
            connection.execute(stopped.where(projections.c.failed_since.is_(None)).values(failed_since=now))
        standing[name] = Standing(standing[name].position, standing[name].version, has_failed=True)

    def _is_due(self, name: str) -> bool:
        return name not in self._pauses or self._pauses[name][0] <= self._clock()

    def _drop_memory(self) -> None:
        self._bundles.forget()
        self._videos.forget()

    def _read_standing(self) -> dict[str, Standing]:
        if self._standing is None:
            with self._database.read() as connection:
                self._standing = read_standing(connection)
        return self._standing


def read_standing(connection: sa.Connection) -> dict[str, Standing]:
    """How every read model stands."""
    columns = (projections.c.name, projections.c.position, projections.c.version, projections.c.failure)
    rows = connection.execute(sa.select(*columns).where(projections.c.name.in_(NAMES))).all()
    if len(rows) != len(NAMES):
        raise AssertionError(f"the table of projections has {len(rows)} of {len(NAMES)} rows")
    return {row.name: Standing(row.position, row.version, row.failure is not None) for row in rows}


def is_trouble(error: Exception) -> bool:
    """Whether it is the database that cannot be reached or used, rather than a read model that cannot be folded."""
    if isinstance(error, (*TROUBLE, sqlite3.OperationalError)):
        return "no such" not in str(error)
    return False
