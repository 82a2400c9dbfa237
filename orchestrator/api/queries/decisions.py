"""What was decided, and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from orchestrator.api import cursors
from orchestrator.api.queries.causes import name_causes
from orchestrator.api.queries.page import Page, page, read_position
from orchestrator.database.tables import decisions, events

MOST_CANDIDATES = 200


def list_decisions(
    connection: sa.Connection,
    *,
    limit: int = 50,
    cursor: str | None = None,
    video_id: str | None = None,
    bundle_id: str | None = None,
    kind: str | None = None,
) -> Page:
    """Decisions, the newest first. `bundle_id`: those about it, and those that moved a video to or from it."""
    query = sa.select(decisions).order_by(decisions.c.position.desc()).limit(limit + 1)
    if cursor is not None:
        query = query.where(decisions.c.position < cursors.decode("decisions", cursor, int)[0])
    if video_id is not None:
        query = query.where(decisions.c.video_id == video_id)
    if kind is not None:
        query = query.where(decisions.c.kind == kind)
    if bundle_id is not None:
        columns = (decisions.c.bundle_id, decisions.c.from_bundle, decisions.c.to_bundle)
        query = query.where(sa.or_(*(column == bundle_id for column in columns)))
    rows = connection.execute(query).all()
    shared = _shared(connection, rows)
    position = read_position(connection, "decisions")
    found = page("decisions", rows, limit, position, lambda row: _item(row, shared), lambda row: [row.position])
    name_causes(connection, found["items"])
    return found


def _shared(connection: sa.Connection, rows: Sequence[Any]) -> dict[tuple[str, int], dict[str, list[str]]]:
    """Verdicts that several of the decisions refer to: reason to bundles."""
    named = set()
    for row in rows:
        judged = msgspec.json.decode(row.candidates).get("judged")
        if judged is not None:
            named.add((judged["market"], judged["version"]))
    found = {}
    for market, version in sorted(named):
        query = sa.select(events.c.state).where(
            events.c.originator_id == market, events.c.originator_version == version
        )
        state = connection.execute(query).scalar_one()
        found[market, version] = msgspec.json.decode(bytes(state))["data"]["why"]
    return found


def _item(row: Any, shared: dict[tuple[str, int], dict[str, list[str]]]) -> dict[str, Any]:
    candidates = msgspec.json.decode(row.candidates)
    shown = [{"bundle_id": name, "chosen": bool(chosen), "why": why} for name, why, chosen in candidates.get("own", ())]
    judged = candidates.get("judged")
    if judged is not None:
        for why, names in shared[judged["market"], judged["version"]].items():
            shown += [{"bundle_id": name, "chosen": False, "why": why} for name in names]
    return {
        "position": row.position,
        "kind": row.kind,
        "video_id": row.video_id,
        "bundle_id": row.bundle_id,
        "from_bundle": row.from_bundle,
        "to_bundle": row.to_bundle,
        "country": row.country,
        "platform": row.platform,
        "reason": row.reason,
        "cause": msgspec.json.decode(row.cause),
        "actor": msgspec.json.decode(row.actor),
        "policy": row.policy,
        "candidates": shown[:MOST_CANDIDATES],
        "counts": candidates.get("counts", {}),
        "at": row.at,
    }
