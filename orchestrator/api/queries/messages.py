"""The journal: every message, and what became of it."""

from __future__ import annotations

import base64
import codecs
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import sqlalchemy as sa

from orchestrator.api import cursors
from orchestrator.api.queries.page import Page, log_head, page
from orchestrator.database.tables import inbox, journal, marks
from orchestrator.domain.times import iso
from orchestrator.journal.inbox import PENDING

EXCERPT = 2000
"""Characters of a body that lists show."""
LOADED = 4 * EXCERPT
"""Bytes that always hold as many characters in UTF-8."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

COLUMNS = (
    journal.c.seq,
    journal.c.message_id,
    journal.c.kind,
    journal.c.event_id,
    journal.c.dialect,
    journal.c.received_at,
    journal.c.deliveries,
    journal.c.actor,
    marks.c.status,
    marks.c.reason,
    marks.c.first_position,
    marks.c.events,
)
SHOWN = journal.outerjoin(marks, marks.c.seq == journal.c.seq)


def list_messages(
    connection: sa.Connection,
    *,
    limit: int = 50,
    cursor: str | None = None,
    status: str | None = None,
    event_id: str | None = None,
) -> Page:
    """Messages, the newest first, with the beginnings of their bodies."""
    body = sa.type_coerce(sa.func.substr(journal.c.body, 1, LOADED), sa.LargeBinary).label("body")
    length = sa.func.length(journal.c.body).label("length")
    # Of a status there may be few among millions: the index of marks finds them in this order.
    seq = journal.c.seq if status in (None, PENDING) else marks.c.seq
    query = sa.select(*COLUMNS, body, length).select_from(SHOWN).order_by(seq.desc()).limit(limit + 1)
    if cursor is not None:
        query = query.where(seq < cursors.decode("messages", cursor, int)[0])
    if status == PENDING:
        query = query.where(journal.c.seq.in_(sa.select(inbox.c.seq)))
    elif status is not None:
        query = query.where(marks.c.status == status)
    if event_id is not None:
        # Marks know the event ids of all that was taken; the few that wait are looked at one by one.
        waiting = sa.select(journal.c.seq).where(journal.c.seq.in_(sa.select(inbox.c.seq)))
        query = query.where(
            journal.c.seq.in_(
                sa.union_all(
                    sa.select(marks.c.seq).where(marks.c.event_id == event_id),
                    waiting.where(journal.c.event_id == event_id),
                )
            )
        )
    rows = connection.execute(query).all()
    position = log_head(connection)
    return page("messages", rows, limit, position, lambda row: _item(row, position), lambda row: [row.seq])


def message_item(connection: sa.Connection, message_id: str) -> dict[str, Any] | None:
    """The message with its whole body, or None if there is none of this id."""
    length = sa.func.length(journal.c.body).label("length")
    query = sa.select(*COLUMNS, journal.c.body, length).select_from(SHOWN).where(journal.c.message_id == message_id)
    row = connection.execute(query).first()
    return None if row is None else _item(row, log_head(connection), whole=True)


def _item(row: Any, position: int, *, whole: bool = False) -> dict[str, Any]:
    return {
        "message_id": row.message_id,
        "kind": row.kind,
        "event_id": row.event_id,
        "dialect": row.dialect,
        "received_at": iso(EPOCH + timedelta(microseconds=row.received_at)),
        "deliveries": row.deliveries,
        "status": row.status or PENDING,
        "reason": row.reason,
        "actor": msgspec.json.decode(row.actor),
        "events": list(range(row.first_position, row.first_position + row.events)) if row.events else [],
        **_body(bytes(row.body or b""), row.length, whole=whole),
        "position": position,
    }


def _body(raw: bytes, length: int, *, whole: bool) -> dict[str, Any]:
    """The body as text where it is UTF-8, else as base64. What is not `whole` is cut."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(raw, final=len(raw) == length)
    except UnicodeDecodeError:
        encoded = base64.b64encode(raw).decode()
        if whole or len(encoded) <= EXCERPT:
            return {"body": None, "body_base64": encoded}
        return {"body": None, "body_base64": encoded[:EXCERPT], "body_truncated": True}
    if whole or (len(raw) == length and len(text) <= EXCERPT):
        return {"body": text}
    return {"body": text[:EXCERPT], "body_truncated": True}
