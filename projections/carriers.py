"""Part of the projection `videos`: which videos an event ever named together with which bundle.

Where a video is now is in its row. Where it was is asked of the log, and this tells of which videos to ask.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import sqlalchemy as sa

from orchestrator.domain.decisions import OURS, FactsAdopted, read_note
from orchestrator.domain.facts import KINDS
from orchestrator.log import Stored
from projections.copies import LIVE, Tables
from projections.tables import Upsert


class _Fact(msgspec.Struct):
    bundle_id: str | None = None


class _Said(msgspec.Struct):
    bundle_id: str | None = None


class _Ours(msgspec.Struct):
    data: _Said


class _Moved(msgspec.Struct):
    notes: list[Any]


class _Adopted(msgspec.Struct):
    data: _Moved


_decode_fact = msgspec.json.Decoder(_Fact).decode
_decode_ours = msgspec.json.Decoder(_Ours).decode
_decode_adopted = msgspec.json.Decoder(_Adopted).decode


def bundles_of(topic: str, state: bytes) -> set[str]:
    """The bundles that an event of a video names."""
    if topic in KINDS:
        named = {_decode_fact(state).bundle_id}
    elif topic == FactsAdopted.TOPIC:
        named = {read_note(written).bundle_id for written in _decode_adopted(state).data.notes}
    elif topic in OURS:
        named = {_decode_ours(state).data.bundle_id}
    else:
        return set()
    return {name for name in named if name is not None}


class Carriers:
    """Collects the pairs of a page. That they are known already is found when they are written."""

    def __init__(self, tables: Tables = LIVE) -> None:
        self._upsert = Upsert(tables["bundle_videos"])
        self._pending: list[tuple[str, str]] = []

    def prepare(self, page: Iterable[Stored]) -> None:
        self._pending = sorted(
            {
                (bundle_id, event.originator_id.removeprefix("video:"))
                for event in page
                if event.originator_id.startswith("video:")
                for bundle_id in bundles_of(event.topic, event.state)
            }
        )

    def write(self, connection: sa.Connection) -> None:
        self._upsert.execute(connection, self._pending)
