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

PLACE = ("country", "platform", "group")
COUNTRY, PLATFORM, GROUP = (sa.func.coalesce(videos.c[name], bundles.c[name]).label(name) for name in PLACE)
SHOWN = sa.select(
    *[column for column in videos.c if column.name not in ("memo", "error_code", *PLACE)], COUNTRY, PLATFORM, GROUP
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
    query = SHOWN.where(videos.c.merged_into.is_(None)).order_by(videos.c.video_id).limit(limit + 1)
    if cursor is not None:
        query = query.where(videos.c.video_id > cursors.decode("videos", cursor, str)[0])
    wanted = {
        videos.c.state: state,
        videos.c.bundle_id: bundle_id,
        videos.c.error_code: error_code,
        videos.c.campaign_id: campaign_id,
        videos.c.ref: ref,
    }
    for column, value in wanted.items():
        if value is not None:
            query = query.where(column == value)
    for name, wished in (("country", country), ("platform", platform)):
        if wished is not None:
            # Where a campaign wanted it; any other is where its bundle is.
            theirs = sa.and_(videos.c[name].is_(None), bundles.c[name] == wished)
            query = query.where(sa.or_(videos.c[name] == wished, theirs))
    position = _position(connection)
    rows = connection.execute(query).mappings().all()
    return page("videos", rows, limit, position, lambda row: item_of(row, position), lambda row: [row["video_id"]])


def video_item(connection: sa.Connection, video_id: str) -> dict[str, Any] | None:
    """The video, or None if there is none of this id."""
    row = connection.execute(SHOWN.where(videos.c.video_id == (ours_of(connection, video_id)))).mappings().first()
    return None if row is None else item_of(row, _position(connection))


def ours_of(connection: sa.Connection, video_id: str) -> str | None:
    """The id of the video that this one turned out to be, or its own; None if there is no such video."""
    query = sa.select(sa.func.coalesce(videos.c.merged_into, videos.c.video_id)).where(videos.c.video_id == video_id)
    found: str | None = connection.execute(query).scalar_one_or_none()
    return found


def _position(connection: sa.Connection) -> int:
    return read_position(connection, "videos", "bundles")


def item_of(row: Mapping[Any, Any], position: int) -> dict[str, Any]:
    return {
        "video_id": row["video_id"],
        "campaign_id": row["campaign_id"],
        "ref": row["ref"],
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
