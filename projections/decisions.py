"""The projection `decisions`: what was decided, why, by which policies, and who else was considered."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from orchestrator.domain.decisions import OURS
from orchestrator.domain.times import iso
from orchestrator.log import Stored
from projections.copies import LIVE, Tables
from projections.tables import Upsert

NAME = "decisions"
VERSION = 1
"""To be raised with every change of what a row says of the same log: the rows are then made anew."""

KINDS = {topic: kind.decision for topic, kind in OURS.items() if kind.decision is not None}
_encode = msgspec.json.Encoder().encode


class _Decision(msgspec.Struct):
    timestamp: datetime
    message_id: str
    reason: str | None
    actor: dict[str, str]
    policy: str | None
    answers: list[Any] | None
    data: dict[str, Any]


_decode = msgspec.json.Decoder(_Decision).decode


class Decisions:
    """One row for each decision. It depends on its event alone, so nothing is kept between pages."""

    def __init__(self, tables: Tables = LIVE) -> None:
        self._upsert = Upsert(tables["decisions"])
        self._pending: list[tuple[Any, ...]] = []

    def prepare(self, page: Iterable[Stored]) -> None:
        self._pending = [values_of(event) for event in page if event.topic in KINDS]

    def write(self, connection: sa.Connection) -> None:
        self._upsert.execute(connection, self._pending)


def values_of(event: Stored) -> tuple[Any, ...]:
    """The values of the row's columns."""
    subject, _, name = event.originator_id.partition(":")
    decision = _decode(event.state)
    data = decision.data
    kind = KINDS[event.topic]
    moves_to = data.get("bundle_id") if kind in ("place", "reroute") else None
    cause = {
        "message_id": decision.message_id,
        "event_id": decision.answers[2] if decision.answers is not None else None,
        "answers": decision.answers,
    }
    return (
        event.position,
        kind,
        name if subject == "video" else None,
        name if subject == "bundle" else data.get("bundle_id"),
        data.get("from_bundle"),
        moves_to,
        name if subject == "campaign" else data.get("campaign_id"),
        data.get("country"),
        data.get("platform"),
        decision.reason,
        _encode(cause).decode(),
        _encode(decision.actor).decode(),
        decision.policy,
        _encode(data.get("candidates") or {}).decode(),
        iso(decision.timestamp),
    )
