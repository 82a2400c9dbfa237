"""Read models made anew beside the live ones, which take their place once they have caught up.

Two take part. The *builder* makes the copies, wherever it runs, under the lease `rebuild`: whoever starts it again
after a crash has it begin anew. The *finisher* is whoever follows the log, under the lease `projections`: it does not
follow while it folds the last events into the copies, so nothing moves any more, and then changes names and positions
in one transaction. `rebuilds` tells each of them, and everybody else, how far things are.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import msgspec
import sqlalchemy as sa

from orchestrator.database import Database, Lease, LeaseLostError
from orchestrator.database.tables import events, projections, rebuilds
from orchestrator.domain.decisions import RebuildOrdered
from orchestrator.domain.house import Service
from orchestrator.log import EventLog
from projections import bundles, campaigns, copies, countries, decisions, videos
from projections.copies import LIVE, NEW, OLD, Tables
from projections.fill import Filling
from projections.follower import COUNTED, NAMES, VERSIONS, Standing, is_trouble, read_standing
from projections.rows import UnreadableError, why

LEASE: Final = "rebuild"
WANTED, READING, INDEXING, FOLLOWING, READY = "wanted", "reading", "indexing", "following", "ready"
"""The stages of a rebuild under way, in their order."""
DONE, FAILED = "done", "failed"
UNDER_WAY = (WANTED, READING, INDEXING, FOLLOWING, READY)
NEAR = 2_000
"""As many events may be left for the finisher, while which nothing is followed."""
PAGE = 5_000
"""Events that are folded at a time into a copy that has been filled."""
TOLD_EVERY = 0.5
"""Seconds between two notes of the progress."""
RENEW = 1.0
PATIENCE_OF_READERS = "100ms"
"""How long those who begin to read may have to wait for those who have not finished."""


class Rebuild(NamedTuple):
    """A row of `rebuilds`."""

    name: str
    ordered: int
    stage: str
    version: int
    position: int
    done: int
    total: int
    began_at: float
    changed_at: float
    failure: str | None


def read_rebuilds(connection: sa.Connection) -> dict[str, Rebuild]:
    """The newest rebuild of each read model that ever was made anew."""
    return {row.name: Rebuild(*row) for row in connection.execute(sa.select(rebuilds))}


def is_ready(made: Rebuild) -> bool:
    """Whether a copy of this program's version waits to be put in place."""
    return made.stage == READY and made.version == VERSIONS[made.name]


def want(database: Database, connection: sa.Connection, names: Iterable[str], ordered: int | None = None) -> None:
    """Has these read models made anew. Those that are being made already are left as they are; `ordered` is the
    position of the order, if there was one."""
    now = database.now(connection)
    known = read_rebuilds(connection)
    for name in names:
        before = known.get(name)
        order = {"ordered": ordered} if ordered is not None else {}
        if before is not None and before.stage in UNDER_WAY:
            if order:
                connection.execute(rebuilds.update().where(rebuilds.c.name == name).values(order))
            continue
        values = {"stage": WANTED, "version": VERSIONS[name], "position": 0, "done": 0, "total": 0, "failure": None}
        values |= {"began_at": now, "changed_at": now, **order}
        if before is None:
            connection.execute(rebuilds.insert().values(name=name, **values))
        else:
            connection.execute(rebuilds.update().where(rebuilds.c.name == name).values(values))


def new_orders(connection: sa.Connection) -> dict[str, int]:
    """The positions of orders that nobody has taken up yet, by the name of the read model."""
    known = read_rebuilds(connection)
    taken = min((known[name].ordered if name in known else 0 for name in NAMES), default=0)
    query = sa.select(events.c.notification_id, events.c.state).where(
        events.c.originator_id == Service.KEY,
        events.c.topic == RebuildOrdered.TOPIC,
        events.c.notification_id > taken,
    )
    found: dict[str, int] = {}
    for position, state in connection.execute(query.order_by(events.c.originator_version)):
        name = _ordered(bytes(state))
        if name in NAMES and (name not in known or known[name].ordered < position):
            found[name] = position
    return found


def outdated(connection: sa.Connection) -> list[str]:
    """The read models whose rows another version of the code has made."""
    return [name for name, standing in read_standing(connection).items() if not standing.is_followed(name)]


def _ordered(state: bytes) -> str:
    return str(msgspec.json.decode(state)["data"]["name"])


class Chase:
    """Folds pages of the log into copies, as the follower does into what is live."""

    def __init__(self, source: Database, target: Database, tables: Tables, names: Iterable[str]) -> None:
        makers: dict[str, Callable[[], Any]] = {
            bundles.NAME: lambda: bundles.Bundles(target, tables, source),
            videos.NAME: lambda: videos.Videos(target, tables),
            campaigns.NAME: lambda: campaigns.Campaigns(target, tables),
            decisions.NAME: lambda: decisions.Decisions(tables),
        }
        self._models = [makers[name]() for name in names if name in makers]
        self._source, self._target = source, target
        self._log = EventLog(source)

    def fold(self, position: int, until: int, written: Callable[[sa.Connection, int], None]) -> int:
        """Folds in up to a page of what follows `position`, and returns where the copies stand then. `written` is
        called with that in the transaction."""
        with self._source.read() as connection:
            page = self._log.after(connection, position, min(PAGE, until - position))
        if not page:
            return position
        for model in self._models:
            model.prepare(page)
        reached = page[-1].position
        with self._target.write() as connection:
            for model in self._models:
                model.write(connection)
            written(connection, reached)
        for model in self._models:
            if hasattr(model, "trim"):
                model.trim()
        return reached


def anchor(names: Iterable[str], standing: dict[str, Standing], head: int) -> int:
    """Where the copies of these read models must stand: at the end of the log. Only bundles and videos are counted
    together, so where one of them stays, the other has to stand with it."""
    made = set(names)
    staying = [name for name in COUNTED if name not in made and set(COUNTED) & made]
    well = [standing[name] for name in staying if standing[name].is_followed(name) and not standing[name].has_failed]
    return max((other.position for other in well), default=head)


class Builder:
    """Makes the copies of whatever is wanted, up to where the finisher takes over.

    `give_way` is told after each write how many seconds were worked since the last one, and may wait.
    """

    def __init__(
        self, database: Database, lease: Lease, *, give_way: Callable[[float], None] = lambda seconds: None
    ) -> None:
        self._database = database
        self._lease = lease
        self._give_way = give_way
        self._log = EventLog(database)
        self._names: list[str] = []
        self._done = self._total = 0
        self._worked_until = self._told_at = time.monotonic()

    def run(self) -> bool:
        """Makes everything that is wanted; False where nothing is. Raises `LeaseLostError`, or the database's error: it
        can be run again then. What cannot be folded is noted in `rebuilds`."""
        with self._database.read() as connection:
            known = read_rebuilds(connection)
        self._names = [name for name in NAMES if name in known and known[name].stage in UNDER_WAY]
        if all(is_ready(known[name]) for name in self._names):
            return False
        made = [name for name in self._names if name != countries.NAME]
        try:
            position = self._make(made)
        except Exception as error:
            if isinstance(error, LeaseLostError) or is_trouble(error):
                raise
            self._drop(NEW, made)
            self._tell(FAILED, failure=str(error) if isinstance(error, UnreadableError) else why(error))
            raise
        self._tell(READY, position=position)
        return True

    def _make(self, names: Sequence[str]) -> int:
        self._begin()
        for suffix in (NEW, OLD):
            self._drop(suffix, names)
        with self._database.write() as connection:
            self._lease.fence(connection)
            copies.create(self._database, connection, names)
            until = self._target(connection)
        tables = copies.copy(NEW)
        filling = Filling(self._database, self._database, tables, until, written=self._written, pause=self._pause)
        with renewed(self._lease):
            self._total = max(filling.total(names), 1)
        self._tell(READING)
        for name in names:
            filling.fill(name)
        self._tell(INDEXING, position=until)
        with renewed(self._lease):
            for name in names:
                copies.index(self._database, name)
        return self._chase(names, tables, until)

    def _begin(self) -> None:
        self._tell(READING, failure=None)
        with self._database.write() as connection:
            self._lease.fence(connection)
            for name in self._names:
                # A copy that an earlier release began is of no use.
                values = {"version": VERSIONS[name]}
                connection.execute(rebuilds.update().where(rebuilds.c.name == name).values(values))

    def _chase(self, names: Sequence[str], tables: Tables, position: int) -> int:
        self._tell(FOLLOWING, position=position)
        chase = Chase(self._database, self._database, tables, names)
        while True:
            with self._database.read() as connection:
                target = self._target(connection)
            if target - position <= NEAR:
                return position
            position = chase.fold(position, target, self._followed)
            self._pause()

    def _target(self, connection: sa.Connection) -> int:
        return anchor(self._names, read_standing(connection), self._log.head(connection))

    def _drop(self, suffix: str, names: Sequence[str]) -> None:
        with renewed(self._lease):
            copies.drop(self._database, suffix, names)

    def _pause(self) -> None:
        now = time.monotonic()
        self._give_way(now - self._worked_until)
        self._worked_until = time.monotonic()

    def _written(self, connection: sa.Connection, done: int) -> None:
        self._done += done
        self._lease.fence(connection)
        if time.monotonic() - self._told_at > TOLD_EVERY:
            self._note(connection, READING, {})

    def _followed(self, connection: sa.Connection, position: int) -> None:
        self._lease.fence(connection)
        self._note(connection, FOLLOWING, {"position": position})

    def _tell(self, stage: str, **values: Any) -> None:
        with self._database.write() as connection:
            self._lease.fence(connection)
            self._note(connection, stage, values)

    def _note(self, connection: sa.Connection, stage: str, values: dict[str, Any]) -> None:
        self._told_at = time.monotonic()
        now = self._database.now(connection)
        progress = {"stage": stage, "done": min(self._done, self._total), "total": self._total, "changed_at": now}
        connection.execute(rebuilds.update().where(rebuilds.c.name.in_(self._names)).values(progress | values))


@contextmanager
def renewed(lease: Lease) -> Iterator[None]:
    """Renews the lease while something takes its time. Raises `LeaseLostError` at the end if it was lost meanwhile."""
    ended, lost = threading.Event(), threading.Event()

    def renew() -> None:
        while not ended.wait(RENEW):
            try:
                lease.renew()
            except LeaseLostError:
                lost.set()
                return
            except sa.exc.OperationalError:
                continue  # Somebody writes for longer; whether it is still ours shows at the next try.

    thread = threading.Thread(target=renew, name=f"renew {lease.name}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    if lost.is_set():
        raise LeaseLostError(f"the lease {lease.name!r} is held by another process")


class Finisher:
    """Puts copies that are ready in the place of the live read models. Whoever follows the log calls it, and does not
    follow meanwhile."""

    def __init__(self, database: Database, lease: Lease | None = None) -> None:
        self._database = database
        self._lease = lease
        self._log = EventLog(database)

    def finish(self) -> bool:
        """Whether they were put there; if not, it is to be called again. Raises `LeaseLostError`, or the database's
        error, after nothing was changed."""
        with self._database.read() as connection:
            known, standing = read_rebuilds(connection), read_standing(connection)
            head = self._log.head(connection)
        names = [name for name in NAMES if name in known and known[name].stage in UNDER_WAY]
        if not names or not all(is_ready(known[name]) for name in names):
            return False
        made = [name for name in names if name != countries.NAME]
        target = anchor(made, standing, head)
        if made and not self._catch_up(made, known[made[0]].position, target):
            return False
        stands = dict.fromkeys(made, target)
        rows = None
        if countries.NAME in names or set(COUNTED) & set(made):
            rows = self._count(made, standing, stands)
        return self._switch(names, made, standing, stands, rows)

    def _catch_up(self, names: Sequence[str], position: int, target: int) -> bool:
        if position > target:
            return False
        chase = Chase(self._database, self._database, copies.copy(NEW), names)
        while position < target:
            position = chase.fold(position, target, lambda connection, reached: self._note(connection, names, reached))
        return True

    def _note(self, connection: sa.Connection, names: Sequence[str], position: int) -> None:
        if self._lease is not None:
            self._lease.fence(connection)
        connection.execute(rebuilds.update().where(rebuilds.c.name.in_(names)).values(position=position))

    def _count(
        self, made: Sequence[str], standing: dict[str, Standing], stands: dict[str, int]
    ) -> list[tuple[object, ...]] | None:
        """The rows of `countries` after the switch, and in `stands` where they stand. None where they cannot be counted
        since bundles and videos will not stand together: the follower counts them once they do."""
        places = {stands[name] if name in made else standing[name].position for name in COUNTED}
        if len(places) > 1 or not all(name in made or standing[name].is_followed(name) for name in COUNTED):
            return None
        stands[countries.NAME] = place = places.pop()
        new, parts = copies.copy(NEW), copies.parts_of(made)
        tables = {name: new[name] if name in parts else table for name, table in LIVE.items()}
        with self._database.read() as connection:
            return countries.count_anew(connection, connection, tables, place)

    def _switch(
        self,
        names: Sequence[str],
        made: Sequence[str],
        standing: dict[str, Standing],
        stands: dict[str, int],
        rows: list[tuple[object, ...]] | None,
    ) -> bool:
        copies.drop(self._database, OLD, made)
        try:
            with self._database.write() as connection:
                if not self._database.is_sqlite:
                    # Every reader holds this table from before its snapshot on: none has one from before the switch and
                    # reads after it. Those who come meanwhile wait; so that they do not wait long, this may fail.
                    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{PATIENCE_OF_READERS}'")
                    connection.exec_driver_sql("LOCK TABLE projections IN ACCESS EXCLUSIVE MODE")
                if self._lease is not None:
                    self._lease.fence(connection)
                if read_standing(connection) != standing:
                    return False
                copies.switch(self._database, connection, made)
                well: dict[str, Any] = dict.fromkeys(("failed_at", "failed_topic", "failure", "failed_since"))
                for name, position in stands.items():
                    values = {"position": position, "version": VERSIONS[name], **well}
                    connection.execute(projections.update().where(projections.c.name == name).values(values))
                if rows is not None:
                    countries.replace(connection, rows)
                elif countries.NAME in names:
                    # What no version has made is counted anew as soon as it can be.
                    uncounted = projections.update().where(projections.c.name == countries.NAME)
                    connection.execute(uncounted.values(version=0))
                now = self._database.now(connection)
                connection.execute(
                    rebuilds.update()
                    .where(rebuilds.c.name.in_(names))
                    .values(stage=DONE, changed_at=now, done=rebuilds.c.total)
                )
        except sa.exc.OperationalError as error:
            if "lock timeout" in str(error):
                return False
            raise
        return True
