"""Bundles, as the read model has them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from orchestrator.api import cursors
from orchestrator.api.queries.page import Page, page, read_position
from orchestrator.database.tables import bundles, videos

SHOWN = [column for column in bundles.c if column.name != "memo"]


def list_bundles(
    connection: sa.Connection,
    *,
    limit: int = 50,
    cursor: str | None = None,
    country: str | None = None,
    platform: str | None = None,
    state: str | None = None,
    postable: bool | None = None,
    group: str | None = None,
    username: str | None = None,
) -> Page:
    """Bundles by their ids; `country` is ISO 3166 alpha-2."""
    query = sa.select(*SHOWN).order_by(bundles.c.bundle_id).limit(limit + 1)
    if cursor is not None:
        query = query.where(bundles.c.bundle_id > cursors.decode("bundles", cursor, str)[0])
    wanted = {"country": country, "platform": platform, "state": state, "group": group, "username": username}
    for name, value in wanted.items():
        if value is not None:
            query = query.where(bundles.c[name] == value)
    if postable is not None:
        query = query.where(bundles.c.postable == postable)
    rows = connection.execute(query).mappings().all()
    position = _position(connection)
    counts = _video_counts(connection, [row["bundle_id"] for row in rows])
    return page(
        "bundles",
        rows,
        limit,
        position,
        lambda row: item_of(row, counts[row["bundle_id"]], position),
        lambda row: [row["bundle_id"]],
    )


def bundle_item(connection: sa.Connection, bundle_id: str) -> dict[str, Any] | None:
    """The bundle, or None if there is none of this id."""
    row = connection.execute(sa.select(*SHOWN).where(bundles.c.bundle_id == bundle_id)).mappings().first()
    if row is None:
        return None
    return item_of(row, _video_counts(connection, [bundle_id])[bundle_id], _position(connection))


def _position(connection: sa.Connection) -> int:
    return read_position(connection, "bundles", "videos")


def _video_counts(connection: sa.Connection, bundle_ids: Sequence[str]) -> defaultdict[str, dict[str, int]]:
    counts: defaultdict[str, dict[str, int]] = defaultdict(dict)
    query = (
        sa.select(videos.c.bundle_id, videos.c.state, sa.func.count())
        .where(videos.c.bundle_id.in_(bundle_ids), videos.c.merged_into.is_(None))
        .group_by(videos.c.bundle_id, videos.c.state)
        .order_by(videos.c.bundle_id, videos.c.state)
    )
    for bundle_id, state, count in connection.execute(query):
        counts[bundle_id][state] = count
    return counts


def _slots(row: Mapping[Any, Any]) -> dict[str, int] | None:
    """None where TokPortal did not tell both numbers."""
    if row["slots_total"] is None or row["slots_free"] is None:
        return None
    return {"total": row["slots_total"], "free": row["slots_free"]}


def item_of(row: Mapping[Any, Any], video_counts: dict[str, int], position: int) -> dict[str, Any]:
    return {
        "bundle_id": row["bundle_id"],
        "platform": row["platform"],
        "country": row["country"],
        "group": row["group"],
        "state": row["state"],
        "state_since": row["state_since"],
        "warmed": bool(row["warmed"]),
        "postable": bool(row["postable"]),
        "holds": msgspec.json.decode(row["holds"]),
        "flags": msgspec.json.decode(row["flags"]),
        "username": row["username"],
        "saved_account_id": row["saved_account_id"],
        "slots": _slots(row),
        "last_error": None if row["last_error"] is None else msgspec.json.decode(row["last_error"]),
        "videos": video_counts,
        "first_seen": row["first_seen"],
        "last_event_at": row["last_event_at"],
        "position": position,
    }
