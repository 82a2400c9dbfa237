"""Campaigns and their progress."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from orchestrator.api import cursors
from orchestrator.api.queries.page import Page, page, read_position
from orchestrator.api.queries.projections import NAMES
from orchestrator.database.tables import campaigns, desk, events, videos
from orchestrator.desk import CampaignEntry, read_campaign
from orchestrator.domain.campaign import Campaign

DRAFT = "draft"
WAITING = "waiting"
ENDED = ("posted", "abandoned", "cancelled")
"""The states of videos that a campaign is done with."""

Progress = dict[str, dict[str, int]]


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
    position = _position(connection)
    names = [row.campaign_id for row in rows]
    progress, placing = _progress(connection, names), _placing(connection, names)
    return page(
        "campaigns",
        rows,
        limit,
        position,
        lambda row: _item(row, progress[row.campaign_id], placing, position),
        lambda row: [row.name, row.campaign_id],
    )


def campaign_item(connection: sa.Connection, campaign_id: str) -> dict[str, Any] | None:
    """The campaign with its whole plan, or None if there is none of this id."""
    row = connection.execute(sa.select(campaigns).where(campaigns.c.campaign_id == campaign_id)).first()
    if row is None:
        return None
    progress = _progress(connection, [campaign_id])[campaign_id]
    item = _item(row, progress, _placing(connection, [campaign_id]), _position(connection))
    if row.status == DRAFT:
        return {**item, "plan": msgspec.json.decode(row.plan), "unmet": msgspec.json.decode(row.unmet)}
    return {**item, **_standing(connection, campaign_id)}


def campaign_entry(connection: sa.Connection, campaign_id: str) -> CampaignEntry | None:
    """The campaign as the engine knows it; read models may be a moment behind."""
    query = sa.select(desk.c.body).where(desk.c.kind == "campaign", desk.c.name == campaign_id)
    return read_campaign(connection.execute(query).scalar_one_or_none())


def is_settled(connection: sa.Connection, campaign_id: str) -> bool:
    """Whether nothing of the campaign is left to be placed, or after its end to be cancelled, and whoever looks at it
    finds that."""
    entry = campaign_entry(connection, campaign_id)
    if entry is None or (entry.placing and entry.status == "running"):
        return False
    query = sa.select(sa.func.max(events.c.notification_id)).where(events.c.originator_id == Campaign.key(campaign_id))
    if read_position(connection, *NAMES) < connection.execute(query).scalar_one():
        return False
    if entry.status != "cancelled":
        return True
    left = sa.select(videos.c.video_id).where(videos.c.campaign_id == campaign_id, videos.c.state.not_in(ENDED))
    return connection.execute(left.limit(1)).first() is None


def _position(connection: sa.Connection) -> int:
    return read_position(connection, "campaigns", "videos")


def _progress(connection: sa.Connection, campaign_ids: Sequence[str]) -> defaultdict[str, Progress]:
    found: defaultdict[str, Progress] = defaultdict(lambda: {"by_state": {}, "by_country": {}, "by_day": {}})
    columns = (videos.c.campaign_id, videos.c.state, videos.c.country, videos.c.target_day)
    query = (
        sa.select(*columns, sa.func.count().label("number"))
        .where(videos.c.campaign_id.in_(campaign_ids))
        .group_by(*columns)
        .order_by(*columns)
    )
    for row in connection.execute(query):
        progress = found[row.campaign_id]
        for name, key in (("by_state", row.state), ("by_country", row.country), ("by_day", row.target_day)):
            if key is not None:
                progress[name][key] = progress[name].get(key, 0) + row.number
    return found


def _placing(connection: sa.Connection, campaign_ids: Sequence[str]) -> set[str]:
    """Those of the campaigns whose videos are still being placed for the first time."""
    query = sa.select(desk.c.name, desk.c.body).where(desk.c.kind == "campaign", desk.c.name.in_(campaign_ids))
    found = ((name, read_campaign(body)) for name, body in connection.execute(query))
    return {name for name, entry in found if entry is not None and entry.placing}


def _item(row: Any, progress: Progress, placing: set[str], position: int) -> dict[str, Any]:
    return {
        "campaign_id": row.campaign_id,
        "name": row.name,
        "group": row.group,
        "status": row.status,
        "reason": row.reason,
        "placing": row.campaign_id in placing,
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


def _standing(connection: sa.Connection, campaign_id: str) -> dict[str, list[dict[str, Any]]]:
    """Where its videos are now, and which of them wait for an account, and why."""
    columns = ("video_id", "ref", "bundle_id", "country", "platform", "target_day", "state", "reason")
    query = (
        sa.select(*(videos.c[name] for name in columns))
        .where(videos.c.campaign_id == campaign_id)
        .order_by(videos.c.ref, videos.c.video_id)
    )
    plan, unmet = [], []
    for row in connection.execute(query):
        where = {"video_id": row.video_id, "ref": row.ref, "country": row.country, "platform": row.platform}
        if row.state == WAITING:
            unmet.append({**where, "reason": row.reason})
        elif row.bundle_id is not None:
            plan.append({**where, "bundle_id": row.bundle_id, "target_day": row.target_day, "state": row.state})
    return {"plan": plan, "unmet": unmet}
