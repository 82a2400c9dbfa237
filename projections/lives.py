"""The log read aggregate by aggregate, which is how a read model is made of all of it.

Read in its own order, the log would have everything be remembered to its end. Read by aggregates, each is done with as
soon as the next one begins: what is in memory does not grow with the log. The unique index on aggregate and version is
that order. Pages are bounded by events, so the life of an aggregate may come in several parts.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

import sqlalchemy as sa

from orchestrator.database import Database, read_ahead
from orchestrator.database.tables import events

PAGE = 20_000
"""Events in one page."""

_SQLITE = """
SELECT originator_id, originator_version, topic, state FROM events
WHERE (originator_id, originator_version) > (?, ?) AND originator_id < ? AND notification_id <= ?
ORDER BY originator_id, originator_version LIMIT ?
"""
# PostgreSQL joins the events of an aggregate into one row: so many fewer values cross over. Neither a topic nor the
# JSON of an event has a line end in it.
_POSTGRES = """
SELECT originator_id, max(originator_version), count(*),
       string_agg(topic, E'\\n' ORDER BY originator_version),
       string_agg(state, '\\x0a'::bytea ORDER BY originator_version)
FROM (
    SELECT originator_id, originator_version, topic, state FROM events
    WHERE (originator_id, originator_version) > (%s, %s) AND originator_id < %s AND notification_id <= %s
    ORDER BY originator_id, originator_version LIMIT %s
) page
GROUP BY originator_id ORDER BY originator_id
"""


class Part(NamedTuple):
    """Some events of one aggregate, in order. Its next ones, if any, come with the next part."""

    originator_id: str
    topics: list[str]
    states: list[bytes]


def lives(database: Database, kind: str, until: int, page: int = PAGE) -> Iterator[list[Part]]:
    """All events of the aggregates of a kind (`bundle`, `video`, …) up to the position `until`, in pages."""
    pages = _on_sqlite(database, kind, until, page) if database.is_sqlite else _on_postgres(database, kind, until, page)
    return pages if database.is_sqlite else read_ahead(pages)


def count(connection: sa.Connection, kind: str) -> int:
    """How many events there are of aggregates of this kind."""
    owner = events.c.originator_id
    query = sa.select(sa.func.count()).where(owner > f"{kind}:", owner < f"{kind};").select_from(events)
    return int(connection.execute(query).scalar_one())


def _on_sqlite(database: Database, kind: str, until: int, page: int) -> Iterator[list[Part]]:
    name, version = f"{kind}:", 0
    while True:
        rows = _rows(database, _SQLITE, (name, version, f"{kind};", until, page))
        if rows:
            parts = []
            for owner, theirs in groupby(rows, itemgetter(0)):
                _, _, topics, states = zip(*theirs, strict=True)
                parts.append(Part(owner, list(topics), list(states)))
            name, version = rows[-1][:2]
            yield parts
        if len(rows) < page:
            return


def _on_postgres(database: Database, kind: str, until: int, page: int) -> Iterator[list[Part]]:
    name, version = f"{kind}:", 0
    while True:
        rows = _rows(database, _POSTGRES, (name, version, f"{kind};", until, page))
        if rows:
            name, version = rows[-1][:2]
            yield [Part(owner, topics.split("\n"), states.split(b"\n")) for owner, _, _, topics, states in rows]
        if sum(row[2] for row in rows) < page:
            return


def _rows(database: Database, statement: str, parameters: tuple[Any, ...]) -> list[Any]:
    with database.read() as connection:
        cursor: Any = connection.connection.cursor()
        try:
            if database.is_sqlite:
                cursor.execute(statement, parameters)
            else:
                cursor.execute(statement, parameters, binary=True)
            rows: list[Any] = cursor.fetchall()
            return rows
        finally:
            cursor.close()
