"""The read models themselves: how far each has come."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from orchestrator.api import cursors
from orchestrator.api.queries.page import Page, log_head, page
from orchestrator.database.tables import projections

NAMES = ("bundles", "campaigns", "countries", "decisions", "videos")


def list_projections(connection: sa.Connection, *, limit: int = 50, cursor: str | None = None) -> Page:
    """Every read model. `lag` is how many events of the log it has still to follow."""
    after = "" if cursor is None else str(cursors.decode("projections", cursor, str)[0])
    head = log_head(connection)
    positions = dict.fromkeys(NAMES, 0)
    for row in connection.execute(sa.select(projections.c.name, projections.c.position)):
        positions[row.name] = row.position
    names = sorted(name for name in positions if name > after)[: limit + 1]
    return page("projections", names, limit, head, lambda name: _item(name, positions[name], head), lambda name: [name])


def _item(name: str, position: int, head: int) -> dict[str, Any]:
    return {
        "name": name,
        "position": position,
        "head": head,
        "lag": max(head - position, 0),
        "state": "live",
        "progress": None,
    }
