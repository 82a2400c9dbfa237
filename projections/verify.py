"""Invariant 8, tried: read models made from the log in a scratch copy are held against the live ones, row for row.

The scratch copy is an SQLite file that is thrown away, so nothing is written to the database that is looked at. It is
brought to the position at which the live rows stand in one snapshot, and compared within that.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from orchestrator.database import Database
from orchestrator.log import EventLog
from projections import countries
from projections.copies import LIVE, PARTS, parts_of
from projections.fill import Filling
from projections.follower import COUNTED, NAMES, Standing, read_standing
from projections.rebuild import Chase

NEAR = 2_000
"""As many events may be folded while the snapshot is held."""
KEPT = 1_000
"""Differences that are kept; of further ones only the number."""
STREAM = 2_000

Key = tuple[Any, ...]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Difference:
    """A cell that is not what the log says. `column` None: the whole row is missing on one side, which has None."""

    table: str
    key: Key
    column: str | None
    live: Any
    rebuilt: Any


@dataclass(slots=True)
class Report:
    """What was compared, and what differs."""

    position: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    """By read model, how many rows were compared."""
    counts: dict[str, int] = field(default_factory=dict)
    """By read model, how many differences there are."""
    differences: list[Difference] = field(default_factory=list)
    """The first of them."""
    skipped: dict[str, str] = field(default_factory=dict)
    """By read model, why it could not be compared."""

    @property
    def is_clean(self) -> bool:
        return not any(self.counts.values()) and not self.skipped


def verify(
    database: Database, names: Sequence[str] = NAMES, *, progress: Progress = lambda done, total: None
) -> Report:
    """Raises `UnreadableError` where the log cannot be folded. `progress` hears how many events were read of how
    many."""
    report = Report()
    with database.read() as connection:
        standing = read_standing(connection)
    wanted = [name for name in NAMES if name in names]
    for name in list(wanted):
        if (reason := _why_not(name, standing)) is not None:
            report.skipped[name] = reason
            wanted.remove(name)
    for position in sorted({standing[name].position for name in wanted}):
        group = [name for name in wanted if standing[name].position == position]
        with tempfile.TemporaryDirectory(prefix="orchestrator-verify-") as folder:
            scratch = Database(f"sqlite:///{Path(folder)}/scratch.db", connections=2, name="orchestrator-verify")
            with closing(scratch):
                _Comparison(database, scratch, group, report, progress).run(position)
    return report


def _why_not(name: str, standing: dict[str, Standing]) -> str | None:
    needed = (name, *COUNTED) if name == countries.NAME else (name,)
    if not all(standing[other].is_followed(other) for other in needed):
        return "its rows were made by another version of the program, and are being made anew"
    if len({standing[other].position for other in needed}) > 1:
        return "it does not stand where the bundles and videos do that it counts"
    return None


class _Comparison:
    """Of read models that stand at one position."""

    def __init__(
        self, database: Database, scratch: Database, names: Sequence[str], report: Report, progress: Progress
    ) -> None:
        self._database, self._scratch, self._names = database, scratch, names
        self._report, self._progress = report, progress
        needed = {*names, *(COUNTED if countries.NAME in names else ())} - {countries.NAME}
        self._made = [name for name in NAMES if name in needed]
        self._log = EventLog(database)
        self._done = 0

    def run(self, position: int) -> None:
        self._fill(position)
        chase = Chase(self._database, self._scratch, LIVE, self._made)

        def fold(reached: int, until: int) -> int:
            while reached < until:
                reached = chase.fold(reached, until, lambda connection, position: None)
            return reached

        while True:
            with self._database.read() as connection:
                if not self._database.is_sqlite:
                    # The last events are folded, and rows are compared, while it waits.
                    connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = '60s'")
                live = self._live_position(connection)
                if live - position <= NEAR:
                    position = fold(position, live)
                    self._report.position = max(self._report.position, live)
                    for name in self._names:
                        self._compare(connection, name, live)
                    return
            position = fold(position, live)

    def _fill(self, until: int) -> None:
        with self._scratch.write() as connection:
            for part in parts_of(self._made):
                connection.execute(sa.schema.CreateTable(LIVE[part]))

        def written(_: sa.Connection, done: int) -> None:
            self._done += done
            self._progress(self._done, total)

        filling = Filling(self._database, self._scratch, LIVE, until, written=written)
        total = max(filling.total(self._made), 1)
        for name in self._made:
            filling.fill(name)
        self._progress(total, total)

    def _live_position(self, connection: sa.Connection) -> int:
        standing = read_standing(connection)
        return min(standing[name].position for name in self._names)

    def _compare(self, connection: sa.Connection, name: str, position: int) -> None:
        self._report.rows[name] = self._report.counts[name] = 0
        for part in PARTS[name]:
            table = LIVE[part]
            with self._scratch.read() as scratch:
                if name == countries.NAME:
                    rebuilt: Iterable[Sequence[Any]] = countries.count_anew(connection, scratch, LIVE, position)
                else:
                    rebuilt = _rows(scratch, table)
                for difference in _differences(table, _rows(connection, table), rebuilt, self._count(name)):
                    self._report.counts[name] += 1
                    if len(self._report.differences) < KEPT:
                        self._report.differences.append(difference)

    def _count(self, name: str) -> Callable[[], None]:
        def count() -> None:
            self._report.rows[name] += 1

        return count


def _rows(connection: sa.Connection, table: sa.Table) -> Iterator[Sequence[Any]]:
    """All rows in the order of their keys, which is one of bytes on either database."""
    query = sa.select(table).order_by(*table.primary_key)
    yield from connection.execution_options(stream_results=True, yield_per=STREAM).execute(query)


def _differences(
    table: sa.Table, live: Iterable[Sequence[Any]], rebuilt: Iterable[Sequence[Any]], count: Callable[[], None]
) -> Iterator[Difference]:
    places = [index for index, column in enumerate(table.columns) if column.primary_key]
    names = [column.name for column in table.columns]

    def key(row: Sequence[Any]) -> Key:
        return tuple(row[place] for place in places)

    lives, others = iter(live), iter(rebuilt)
    mine, other = next(lives, None), next(others, None)
    while mine is not None or other is not None:
        count()
        if mine is not None and (other is None or key(mine) < key(other)):
            yield Difference(table.name, key(mine), None, "a row", None)
            mine = next(lives, None)
        elif other is not None and (mine is None or key(other) < key(mine)):
            yield Difference(table.name, key(other), None, None, "a row")
            other = next(others, None)
        elif mine is not None and other is not None:
            for name, has, should in zip(names, mine, other, strict=True):
                if has != should:
                    yield Difference(table.name, key(mine), name, has, should)
            mine, other = next(lives, None), next(others, None)
