"""The policies in force."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from orchestrator.api.queries.page import log_head
from orchestrator.database.tables import events
from orchestrator.domain.house import Service
from orchestrator.policies.schema import parse


def policies_in_force(connection: sa.Connection) -> dict[str, Any]:
    """The text and what to know of it; all None where none are in force yet."""
    query = (
        sa.select(events)
        .where(events.c.originator_id == Service.KEY, events.c.topic == "PoliciesApplied")
        .order_by(events.c.originator_version.desc())
        .limit(1)
    )
    row = connection.execute(query).first()
    position = log_head(connection)
    if row is None:
        names = ("version", "text", "sha256", "since", "actor")
        return {**dict.fromkeys(names), "warnings": [], "position": position}
    state = msgspec.json.decode(bytes(row.state))
    text = state["data"]["text"]
    return {
        "version": state["data"]["sha256"],
        "text": text,
        "sha256": state["data"]["sha256"],
        "since": {"position": row.notification_id, "recorded_at": state["timestamp"].replace("+00:00", "Z")},
        "actor": state["actor"],
        "warnings": [
            {"line": p.line, "column": p.column, "key": p.key, "message": p.message} for p in parse(text).warnings
        ],
        "position": position,
    }
