"""What caused an event of ours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from orchestrator.database.tables import journal


def name_causes(connection: sa.Connection, items: Sequence[dict[str, Any]]) -> None:
    """Completes the `cause` of items that answer no fact with the event id of the message that caused them, if it has
    one: a decision is taken because of some news even where it answers none in particular."""
    causes = [item["cause"] for item in items if item["cause"]["event_id"] is None]
    message_ids = {cause["message_id"] for cause in causes if cause["message_id"] is not None}
    if not message_ids:
        return
    query = sa.select(journal.c.message_id, journal.c.event_id).where(journal.c.message_id.in_(message_ids))
    found = {row.message_id: row.event_id for row in connection.execute(query)}
    for cause in causes:
        cause["event_id"] = found.get(cause["message_id"])
