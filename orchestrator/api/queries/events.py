"""The log."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from orchestrator.api import cursors
from orchestrator.api.queries.causes import name_causes
from orchestrator.api.queries.page import Page, log_head
from orchestrator.database.tables import events
from orchestrator.domain.decisions import OURS
from orchestrator.domain.facts import KINDS, Fact, Reinstated
from orchestrator.domain.times import iso
from orchestrator.log import current

_decode = msgspec.json.Decoder(dict[str, Any]).decode

CAUSE = ("timestamp", "message_id", "occurred_at", "event_id", "dialect", "originator_topic", "class_version")
OF_OURS = ("actor", "reason", "policy")
SUBJECT = {"bundle_id": "bundle_id", "account": "saved_account_id", "country": "country", "platform": "platform"}
"""What the log calls the members of a fact, and what they are called outside."""


def list_events(connection: sa.Connection, *, limit: int = 50, cursor: str | None = None) -> Page:
    """The events after a position, which is also the cursor. `next` is None at the head."""
    after = 0
    if cursor is not None:
        if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 19 and int(cursor) < 2**63):
            raise cursors.BadCursor
        after = int(cursor)
    items = events_after(connection, after, limit + 1)
    goes_on = len(items) > limit
    items = items[:limit]
    return {
        "items": items,
        "next": str(items[-1]["position"]) if goes_on else None,
        "position": log_head(connection),
    }


def events_after(connection: sa.Connection, position: int, limit: int) -> list[dict[str, Any]]:
    """Up to `limit` events that follow `position`, in order."""
    query = sa.select(events).where(events.c.notification_id > position).order_by(events.c.notification_id).limit(limit)
    items = [event_item(row) for row in connection.execute(query)]
    name_causes(connection, items)
    return items


def event_item(row: Any) -> dict[str, Any]:
    """The event of a row of the log. It is read as plain JSON, so that events of a newer program can be shown too."""
    state = _decode(current(row.topic, row.state))
    kind, _, name = row.originator_id.partition(":")
    known = KINDS.get(row.topic)
    item: dict[str, Any] = {
        "position": row.notification_id,
        "aggregate": {"kind": kind, "id": name},
        "version": row.originator_version,
        "event": row.topic,
        "occurred_at": None,
        "recorded_at": _time(state["timestamp"]),
        "data": {},
        "cause": {"message_id": state.get("message_id"), "event_id": state.get("event_id")},
    }
    if known is not None and issubclass(known, Fact):
        item["occurred_at"] = _time(state["occurred_at"])
        item["data"] = state["data"]
        item["subject"] = {shown: state.get(name) for name, shown in SUBJECT.items()}
    elif row.topic in OURS:
        item["data"] = state["data"]
        item["cause"]["event_id"] = state["answers"][2] if state["answers"] is not None else None
        item["ours"] = {name: state[name] for name in OF_OURS}
    elif known is Reinstated:
        item["ours"] = {name: state.get(name) for name in OF_OURS}
    else:
        item["data"] = {SUBJECT.get(name, name): value for name, value in state.items() if name not in CAUSE}
    return item


def _time(text: str) -> str:
    return iso(datetime.fromisoformat(text))
