"""The outbox: commands to TokPortal, and alerts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import sqlalchemy as sa

from orchestrator.api import cursors
from orchestrator.api.queries.page import Page, log_head, page
from orchestrator.database.tables import outbox
from orchestrator.domain.times import iso

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def list_commands(
    connection: sa.Connection,
    *,
    limit: int = 50,
    cursor: str | None = None,
    status: str | None = None,
    kind: str | None = None,
    bundle_id: str | None = None,
    video_id: str | None = None,
) -> Page:
    """Commands, the newest first."""
    query = sa.select(outbox).order_by(outbox.c.seq.desc()).limit(limit + 1)
    if cursor is not None:
        query = query.where(outbox.c.seq < cursors.decode("commands", cursor, int)[0])
    wanted = {"status": status, "kind": kind, "bundle_id": bundle_id, "video_id": video_id}
    for name, value in wanted.items():
        if value is not None:
            query = query.where(outbox.c[name] == value)
    rows = connection.execute(query).all()
    position = log_head(connection)
    return page("commands", rows, limit, position, lambda row: _item(row, position), lambda row: [row.seq])


def command_item(connection: sa.Connection, command_id: str) -> dict[str, Any] | None:
    """The command, or None if there is none of this id."""
    row = connection.execute(sa.select(outbox).where(outbox.c.command_id == command_id)).first()
    return None if row is None else _item(row, log_head(connection))


def _item(row: Any, position: int) -> dict[str, Any]:
    return {
        "command_id": row.command_id,
        "kind": row.kind,
        "status": row.status,
        "reason": row.reason,
        "bundle_id": row.bundle_id,
        "video_id": row.video_id,
        "campaign_id": row.campaign_id,
        "country": row.country,
        "platform": row.platform,
        "body": msgspec.json.decode(row.body),
        "idempotency_key": row.idempotency_key if row.kind != "alert" else None,
        "price": row.price,
        "attempts": row.attempts,
        "last_error": row.last_error,
        "not_before": _time(row.not_before),
        "created_at": _time(row.created_at),
        "message_id": row.message_id,
        "position": position,
    }


def _time(microseconds: int) -> str:
    return iso(EPOCH + timedelta(microseconds=microseconds))
