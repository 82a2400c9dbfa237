"""The read models themselves: how far each has come, what stopped it, and how a rebuild of it goes."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from orchestrator.api import cursors
from orchestrator.api.queries.page import Page, log_head, page
from orchestrator.database.tables import projections, rebuilds

NAMES = ("bundles", "campaigns", "countries", "decisions", "videos")
LIVE, REBUILDING, FAILED, BEHIND = "live", "rebuilding", "failed", "behind"
STATES = (LIVE, REBUILDING, FAILED, BEHIND)
UNDER_WAY = ("wanted", "reading", "indexing", "following", "ready")
"""The stages of a rebuild that has not ended."""
FAR = 20_000
"""Events behind the log from which on a read model is said to be behind: as many as are followed in one step."""


def list_projections(connection: sa.Connection, *, limit: int = 50, cursor: str | None = None) -> Page:
    """Every read model. `lag` is how many events of the log it has still to follow."""
    after = "" if cursor is None else str(cursors.decode("projections", cursor, str)[0])
    head = log_head(connection)
    rows = {row.name: row for row in connection.execute(sa.select(projections))}
    made = {row.name: row for row in connection.execute(sa.select(rebuilds))}
    names = sorted(name for name in NAMES if name > after)[: limit + 1]
    return page(
        "projections", names, limit, head, lambda name: _item(name, rows.get(name), made.get(name), head), lambda n: [n]
    )


def known_projection(connection: sa.Connection, name: str) -> str | None:
    """Its name; None if there is no such read model."""
    return name if name in NAMES else None


def _item(name: str, row: Any, made: Any, head: int) -> dict[str, Any]:
    position = row.position if row is not None else 0
    lag = max(head - position, 0)
    rebuild = _rebuild(made) if made is not None else None
    is_rebuilding = rebuild is not None and made.stage in UNDER_WAY
    failure = None
    if row is not None and row.failure is not None:
        failure = {"position": row.failed_at, "event": row.failed_topic, "reason": row.failure}
    state = FAILED if failure else REBUILDING if is_rebuilding else BEHIND if lag > FAR else LIVE
    return {
        "name": name,
        "position": position,
        "head": head,
        "lag": lag,
        "state": state,
        "progress": rebuild["progress"] if rebuild is not None and is_rebuilding else None,
        "version": row.version if row is not None else None,
        "failure": failure,
        "rebuild": rebuild,
    }


def _rebuild(made: Any) -> dict[str, Any]:
    """The newest rebuild. Rate and time left are known while the log is read."""
    seconds = made.changed_at - made.began_at
    rate = made.done / seconds if made.done and seconds > 0 else None
    is_under_way = made.stage in UNDER_WAY
    left = (made.total - made.done) / rate if rate and is_under_way else None
    return {
        "stage": made.stage,
        "progress": round(made.done / made.total, 4) if made.total else 1.0 if made.stage == "done" else 0.0,
        "events_per_second": round(rate) if rate is not None else None,
        "seconds_left": round(left, 1) if left is not None else None,
        "reason": made.failure,
    }
