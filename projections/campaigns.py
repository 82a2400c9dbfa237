"""The projection `campaigns`: what people asked for, and how far it got."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from orchestrator.database import Database
from orchestrator.database.tables import campaigns
from orchestrator.domain.campaign import STATUS
from orchestrator.domain.times import iso
from orchestrator.log import Stored
from projections.copies import LIVE, Tables
from projections.tables import Upsert, select_by

NAME = "campaigns"
PLACED = "CampaignPlaced"
VERSION = 2
"""To be raised with every change of what a row says of the same log: the rows are then made anew."""

_encode = msgspec.json.Encoder().encode
_NAMES = [column.name for column in campaigns.c]


class _Event(msgspec.Struct):
    timestamp: datetime
    reason: str | None
    data: dict[str, Any]


_decode = msgspec.json.Decoder(_Event).decode


class Campaigns:
    """Folds the events of a batch into rows. `prepare` reads and computes, `write` writes what it found."""

    def __init__(self, database: Database, tables: Tables = LIVE) -> None:
        self._database = database
        self._table = tables["campaigns"]
        self._upsert = Upsert(self._table)
        self._pending: list[tuple[Any, ...]] = []

    def prepare(self, page: Iterable[Stored]) -> None:
        told = [
            (event.originator_id.partition(":")[2], event.topic, _decode(event.state))
            for event in page
            if event.topic in STATUS or event.topic == PLACED
        ]
        known = select_by(self._database, self._table, _NAMES, "campaign_id", sorted({name for name, _, _ in told}))
        rows: dict[str, dict[str, Any]] = {row.campaign_id: dict(row._mapping) for row in known}
        for name, topic, event in told:
            if topic == "CampaignDrafted":
                rows[name] = _drafted(name, event)
            row = rows[name]
            if topic == PLACED:
                # Accounts may have come, or gone, since the draft was counted.
                row["wanted"] = event.data["placed"] + event.data["waiting"]
                continue
            row["changed_at"] = iso(event.timestamp)
            row["status"], row["reason"] = STATUS[topic], event.reason
        self._pending = [tuple(row[column] for column in _NAMES) for _, row in sorted(rows.items())]

    def write(self, connection: sa.Connection) -> None:
        self._upsert.execute(connection, self._pending)


def _drafted(name: str, event: _Event) -> dict[str, Any]:
    spec = event.data["spec"]
    return {
        "campaign_id": name,
        "name": spec["name"],
        "group": spec["group"],
        "status": "draft",
        "reason": None,
        "starts": spec["starts"],
        "ends": spec["ends"],
        "labels": _text(spec["labels"]),
        "origin": _text(spec["origin"]) if spec["origin"] is not None else None,
        "wanted": event.data["wanted"],
        "unmet": _text(event.data["unmet"]),
        "plan": _text(event.data["plan"]),
        "created_at": iso(event.timestamp),
        "changed_at": iso(event.timestamp),
    }


def _text(value: Any) -> str:
    return _encode(value).decode()
