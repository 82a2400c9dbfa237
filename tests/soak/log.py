"""What must hold of a log and its journal, whatever happened: read models and events follow from them alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from orchestrator.database import Database
from orchestrator.database.tables import inbox, journal, marks, projections
from orchestrator.engine import Engine
from orchestrator.log import EventLog
from projections import NAMES, Follower

READ_MODELS = ("bundles", "videos", "countries", "decisions", "campaigns", "accounts", "bundle_accounts")
EVERYTHING = 10_000_000


def take_the_rest(database: Database) -> None:
    """What came in the moment in which the service was stopped, as its next start would take it: timers go on firing
    until the end."""
    engine = Engine(database)
    while engine.step():
        pass


def check_log(database: Database) -> list[str]:
    """Positions count from 1 without a gap, and so do the versions of each aggregate."""
    with database.read() as connection:
        stored = EventLog(database).after(connection, 0, EVERYTHING)
    problems = []
    versions: dict[str, int] = {}
    for place, event in enumerate(stored, start=1):
        if event.position != place:
            problems.append(f"the log has the position {event.position} in the place of {place}")
            break
        name, version = event.originator_id, event.originator_version
        if version != versions.get(name, 0) + 1:
            problems.append(f"{name} goes from version {versions.get(name, 0)} to {version} at {place}")
        versions[name] = version
    return problems


def check_journal(database: Database) -> list[str]:
    """Every message was taken, and what was not applied says why."""
    problems = []
    query = sa.select(journal.c.kind, journal.c.event_id, journal.c.body, marks.c.status, marks.c.reason)
    with database.read() as connection:
        left = connection.execute(sa.select(sa.func.count()).select_from(inbox)).scalar_one()
        rows = connection.execute(query.select_from(journal.outerjoin(marks, marks.c.seq == journal.c.seq))).all()
    if left:
        problems.append(f"{left} messages were not taken")
    for row in rows:
        is_explained = row.status == "applied" or (row.status == "refused" and row.reason and row.kind != "webhook")
        if not is_explained:
            problems.append(f"a {row.kind} is {row.status}: {row.reason}: {bytes(row.body)[:400]!r}")
    return problems


def check_read_models(database: Database, page: int = 20_000) -> list[str]:
    """Invariant 8: made again from the log, every row is the same. Nothing else may be at work on the database."""
    _follow(database, page)
    live = _rows(database)
    with database.write() as connection:
        for name in READ_MODELS:
            connection.exec_driver_sql(f"DELETE FROM {name}")
        connection.execute(projections.update().where(projections.c.name.in_(NAMES)).values(position=0))
    _follow(database, page)
    again = _rows(database)
    problems = []
    for name in READ_MODELS:
        gone = sorted(live[name] - again[name])[:2]
        new = sorted(again[name] - live[name])[:2]
        if gone or new:
            problems.append(f"{name} made again from the log differs: it had {gone} and has {new}")
    return problems


def check_replay(database: Database, make: Callable[[], Database], max_batch: int = 500) -> list[str]:
    """Invariant 9: the same journal gives the same events, byte for byte. `make` makes an empty migrated database."""
    with database.read() as connection:
        query = sa.select(journal, marks.c.applied_seq).join(marks, marks.c.seq == journal.c.seq)
        rows = connection.execute(query.order_by(marks.c.applied_seq)).mappings().all()
        first = EventLog(database).after(connection, 0, EVERYTHING)
    other = make()
    try:
        for start in range(0, len(rows), 10_000):
            values = [
                {**{k: v for k, v in row.items() if k != "applied_seq"}, "seq": row["applied_seq"]}
                for row in rows[start : start + 10_000]
            ]
            with other.write() as connection:
                connection.execute(journal.insert(), values)
                connection.execute(inbox.insert(), [{"seq": value["seq"]} for value in values])
        engine = Engine(other, max_batch=max_batch)
        while engine.step():
            pass
        with other.read() as connection:
            second = EventLog(other).after(connection, 0, EVERYTHING)
    finally:
        other.close()
    for one, two in zip(first, second, strict=False):
        if one != two:
            return [f"the event at {one.position} differs when the journal is run again: {one} and {two}"]
    if len(first) != len(second):
        return [f"the journal gave {len(first)} events, and {len(second)} when it was run again"]
    return []


def _follow(database: Database, page: int) -> None:
    follower = Follower(database, page=page)
    while follower.step():
        pass


def _rows(database: Database) -> dict[str, set[Any]]:
    with database.read() as connection:
        return {name: set(map(repr, connection.exec_driver_sql(f"SELECT * FROM {name}").all())) for name in READ_MODELS}
