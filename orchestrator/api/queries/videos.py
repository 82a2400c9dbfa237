"""Videos, as the read model has them. Their country, platform and group are those of their bundle at this moment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import sqlalchemy as sa

from orchestrator.api import cursors
from orchestrator.api.queries.page import Page, page, read_position
from orchestrator.database.tables import bundles, videos

DEFAULT_GROUP = "default"

SHOWN = sa.select(
    *[column for column in videos.c if column.name not in ("memo", "error_code")],
    bundles.c.country,
    bundles.c.platform,
    bundles.c.group,
).select_from(videos.outerjoin(bundles, videos.c.bundle_id == bundles.c.bundle_id))


def list_videos(
    connection: sa.Connection,
    *,
    limit: int = 50,
    cursor: str | None = None,
    state: str | None = None,
    country: str | None = None,
    platform: str | None = None,
    bundle_id: str | None = None,
    campaign_id: str | None = None,
    ref: str | None = None,
    error_code: str | None = None,
) -> Page:
    """Videos by their ids; `country` is ISO 3166 alpha-2."""
    query = SHOWN.order_by(videos.c.video_id).limit(limit + 1)
    if cursor is not None:
        query = query.where(videos.c.video_id > cursors.decode("videos", cursor, str)[0])
    wanted = {
        videos.c.state: state,
        videos.c.bundle_id: bundle_id,
        videos.c.error_code: error_code,
        bundles.c.country: country,
        bundles.c.platform: platform,
    }
    for column, value in wanted.items():
        if value is not None:
            query = query.where(column == value)
    if campaign_id is not None or ref is not None:
        # Every video of ours so far is one that the vendor reported: none belongs to a campaign.
        query = query.where(sa.false())
    position = _position(connection)
    rows = connection.execute(query).mappings().all()
    return page("videos", rows, limit, position, lambda row: _item(row, position), lambda row: [row["video_id"]])


def video_item(connection: sa.Connection, video_id: str) -> dict[str, Any] | None:
    """The video, or None if there is none of this id."""
    row = connection.execute(SHOWN.where(videos.c.video_id == video_id)).mappings().first()
    return None if row is None else _item(row, _position(connection))


def _position(connection: sa.Connection) -> int:
    return read_position(connection, "videos", "bundles")


def _item(row: Mapping[Any, Any], position: int) -> dict[str, Any]:
    return {
        "video_id": row["video_id"],
        "campaign_id": None,
        "ref": None,
        "platform": row["platform"],
        "country": row["country"],
        "group": row["group"] or DEFAULT_GROUP,
        "state": row["state"],
        "reason": row["reason"],
        "bundle_id": row["bundle_id"],
        "post_url": row["post_url"],
        "posted_at": row["posted_at"],
        "flags": msgspec.json.decode(row["flags"]),
        "attempts": msgspec.json.decode(row["attempts"]),
        "metrics": None if row["metrics"] is None else msgspec.json.decode(row["metrics"]),
        "position": position,
    }
