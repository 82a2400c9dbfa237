"""One page of a list."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa

from orchestrator.api import cursors
from orchestrator.database.tables import events, projections

Page = dict[str, Any]


def page(
    name: str,
    rows: Sequence[Any],
    limit: int,
    position: int,
    item: Callable[[Any], Any],
    key: Callable[[Any], cursors.Key],
) -> Page:
    """The answer made of `rows`, of which there is one more than `limit` if the list goes on."""
    shown = rows[:limit]
    return {
        "items": [item(row) for row in shown],
        "next": cursors.encode(name, key(shown[-1])) if len(rows) > limit else None,
        "position": position,
    }


def read_position(connection: sa.Connection, *names: str) -> int:
    """The log position up to which all the projections of `names` reflect it."""
    rows = connection.execute(sa.select(projections.c.position).where(projections.c.name.in_(names))).scalars().all()
    return min(rows) if len(rows) == len(names) else 0


def log_head(connection: sa.Connection) -> int:
    """The last position of the log; 0 for an empty one."""
    query = sa.select(sa.func.coalesce(sa.func.max(events.c.notification_id), 0))
    return int(connection.execute(query).scalar_one())
