"""Campaigns and their progress."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from orchestrator.api import cursors
from orchestrator.api.queries.page import Page, page, read_position
from orchestrator.database.tables import campaigns, videos

MOST_OF_PLAN = 20_000


def list_campaigns(
    connection: sa.Connection, *, limit: int = 50, cursor: str | None = None, status: str | None = None
) -> Page:
    """Campaigns by their names."""
    query = sa.select(campaigns).order_by(campaigns.c.name, campaigns.c.campaign_id).limit(limit + 1)
    if cursor is not None:
        after = cursors.decode("campaigns", cursor, str, str)
        query = query.where(sa.tuple_(campaigns.c.name, campaigns.c.campaign_id) > sa.tuple_(*after))
    if status is not None:
        query = query.where(campaigns.c.status == status)
    rows = connection.execute(query).all()
    position = read_position(connection, "campaigns", "videos")
    return page(
        "campaigns",
        rows,
        limit,
        position,
        lambda row: _item(connection, row, position),
        lambda row: [row.name, row.campaign_id],
    )


def campaign_item(connection: sa.Connection, campaign_id: str) -> dict[str, Any] | None:
    """The campaign with its whole plan, or None if there is none of this id."""
    row = connection.execute(sa.select(campaigns).where(campaigns.c.campaign_id == campaign_id)).first()
    if row is None:
        return None
    item = _item(connection, row, read_position(connection, "campaigns", "videos"))
    return {**item, "plan": _plan(connection, row), "unmet": msgspec.json.decode(row.unmet)}


def _item(connection: sa.Connection, row: Any, position: int) -> dict[str, Any]:
    progress: dict[str, dict[str, int]] = {"by_state": {}, "by_country": {}, "by_day": {}}
    columns = (videos.c.state, videos.c.country, videos.c.target_day)
    query = (
        sa.select(*columns, sa.func.count().label("number"))
        .where(videos.c.campaign_id == row.campaign_id)
        .group_by(*columns)
        .order_by(*columns)
    )
    for found in connection.execute(query):
        for name, key in (("by_state", found.state), ("by_country", found.country), ("by_day", found.target_day)):
            if key is not None:
                progress[name][key] = progress[name].get(key, 0) + found.number
    return {
        "campaign_id": row.campaign_id,
        "name": row.name,
        "group": row.group,
        "status": row.status,
        "reason": row.reason,
        "starts": row.starts,
        "ends": row.ends,
        "labels": msgspec.json.decode(row.labels),
        "origin": msgspec.json.decode(row.origin) if row.origin is not None else None,
        "videos": row.wanted,
        "progress": progress,
        "created_at": row.created_at,
        "changed_at": row.changed_at,
        "position": position,
    }


def _plan(connection: sa.Connection, row: Any) -> list[dict[str, Any]]:
    """Where every video goes: as drafted, and since the start as it is."""
    if row.status == "draft":
        return [
            {"video_id": video_id, "bundle_id": bundle_id, "target_day": day}
            for video_id, bundle_id, day in msgspec.json.decode(row.plan)
        ]
    query = (
        sa.select(videos)
        .where(videos.c.campaign_id == row.campaign_id)
        .order_by(videos.c.ref, videos.c.video_id)
        .limit(MOST_OF_PLAN)
    )
    return [
        {
            "video_id": video.video_id,
            "ref": video.ref,
            "bundle_id": video.bundle_id,
            "country": video.country,
            "platform": video.platform,
            "target_day": video.target_day,
            "state": video.state,
        }
        for video in connection.execute(query)
    ]
