"""The projection `videos`: every video with its state, attempts and metrics."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import sqlalchemy as sa

from orchestrator.database import Database
from orchestrator.domain.decisions import FactsAdopted, FactsReleased, Step, read_key, read_note
from orchestrator.domain.facts import Key, Note
from orchestrator.domain.times import iso
from orchestrator.domain.video import ENDS, OF_LEGS, Attempt, Video, VideoView, remember, video_view
from orchestrator.log import Stored, note, step
from projections import memo
from projections.carriers import Carriers
from projections.copies import LIVE, Tables
from projections.rows import Changes, Rows
from projections.tables import Upsert, select_by

NAME = "videos"
VERSION = 1
"""To be raised with every change of what a row says of the same log: the rows are then made anew."""
STEPS = frozenset({"VideoRequested", "VideoPlanned", "VideoRerouted", "VideoHeld", "VideoReleased", "Merged"})
STEPS |= OF_LEGS | ENDS.keys()
"""Of our own events about a video, those that its row depends on."""

Released = frozenset[Key]
Part = Note | Step | Released

_json = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Standing:
    """What the countries count of a video."""

    state: str
    bundle_id: str | None
    place: tuple[str, str] | None = None
    """Where a campaign wants it. Any other video counts where its bundle is."""


@dataclass(slots=True)
class Row:
    notes: list[Note] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    standing: Standing | None = None
    """None for a stranger that turned out to be ours, too."""


class Videos:
    """Folds the events of a batch into rows. `prepare` reads and computes, `write` writes what it found."""

    def __init__(self, database: Database, tables: Tables = LIVE) -> None:
        self._database = database
        self._table = tables["videos"]
        self._upsert = Upsert(self._table)
        self._rows: Rows[Row] = Rows()
        self._carriers = Carriers(tables)
        self._pending: list[tuple[Any, ...]] = []

    def forget(self) -> None:
        """Drops what is remembered between batches: the table is the truth."""
        self._rows.clear()
        self._pending = []

    def prepare(self, page: Sequence[Stored]) -> Changes[Standing]:
        self._carriers.prepare(page)
        born: set[str] = set()
        told: defaultdict[str, list[Part]] = defaultdict(list)
        for event in page:
            kind, _, name = event.originator_id.partition(":")
            if kind != "video":
                continue
            if event.topic == Video.VideoRegistered.TOPIC:
                born.add(name)
            elif parts := parts_of(event.topic, event.state):
                told[name] += parts
        self._load([name for name in told if name not in born])
        changes: Changes[Standing] = {}
        self._pending = []
        for name in sorted(born | set(told)):
            if name in born:
                self._rows[name] = Row()
            row = self._rows[name]
            for part in told.get(name, ()):
                take(row, part)
            view = video_view(row.notes, row.steps)
            wish, merged = _wish_of(row), _merged_into(row)
            place = (wish["country"], wish["platform"]) if wish is not None else None
            standing = Standing(view.state, view.bundle_id, place) if merged is None else None
            changes[name] = row.standing, standing
            row.standing = standing
            self._pending.append(values_of(name, row, view, wish, merged))
        return changes

    def write(self, connection: sa.Connection) -> None:
        self._upsert.execute(connection, self._pending)
        self._carriers.write(connection)

    def trim(self) -> None:
        self._rows.trim()

    def _load(self, names: Sequence[str]) -> None:
        columns = ["video_id", "memo", "state", "bundle_id", "campaign_id", "country", "platform", "merged_into"]
        for name, packed, state, bundle_id, campaign_id, country, platform, merged in select_by(
            self._database, self._table, columns, "video_id", self._rows.missing(names)
        ):
            place = (country or "", platform or "") if campaign_id is not None else None
            standing = Standing(state, bundle_id, place) if merged is None else None
            self._rows[name] = Row(*memo.decode(packed), standing)


class _Moved(msgspec.Struct):
    notes: list[Any] = []
    keys: list[Any] = []


class _Move(msgspec.Struct):
    data: _Moved


_decode_move = msgspec.json.Decoder(_Move).decode


def _adopted(state: bytes) -> list[Note]:
    """The facts of a stranger that turned out to be ours."""
    return [read_note(written) for written in _decode_move(state).data.notes]


def _released(state: bytes) -> Released:
    """The keys of facts that turned out to be about another video."""
    return frozenset(read_key(written) for written in _decode_move(state).data.keys)


def _error_code(view: VideoView, shown: Attempt | None) -> str | None:
    """That of the attempt shown, or else of the newest that failed: a video that was moved on is found by it, too."""
    newest = (shown, *reversed(view.attempts)) if shown is not None else ()
    return next((attempt.error["code"] for attempt in newest if attempt.error is not None), None)


def parts_of(topic: str, state: bytes) -> Sequence[Part]:
    """What an event tells of its video."""
    fact = note(topic, state)
    if fact is not None:
        return (fact,)
    if topic == FactsAdopted.TOPIC:
        return _adopted(state)
    if topic == FactsReleased.TOPIC:
        return (_released(state),)
    taken = step(topic, state) if topic in STEPS else None
    return (taken,) if taken is not None else ()


def take(row: Row, part: Part) -> None:
    """Adds to what is known of a video."""
    if isinstance(part, Step):
        row.steps.append(part)
    elif isinstance(part, frozenset):
        row.notes = [kept for kept in row.notes if kept.key not in part]
    else:
        remember(row.notes, part)


def _wish_of(row: Row) -> Mapping[str, Any] | None:
    return next((step.detail for step in reversed(row.steps) if step.name == "VideoRequested"), None)


def _merged_into(row: Row) -> str | None:
    """The video of ours that this stranger turned out to be."""
    return next((step.detail["video_id"] for step in reversed(row.steps) if step.name == "Merged"), None)


def fold(name: str, events: Iterable[Stored]) -> tuple[Any, ...]:
    """The values of the columns of a video's row, by its events, the first ones of all."""
    row = Row()
    for event in events:
        for part in parts_of(event.topic, event.state):
            take(row, part)
    return values_known(name, row)


def values_known(name: str, row: Row) -> tuple[Any, ...]:
    """The values of the columns of a video's row, by all that is known of it."""
    return values_of(name, row, video_view(row.notes, row.steps), _wish_of(row), _merged_into(row))


def values_of(
    name: str, row: Row, view: VideoView, wish: Mapping[str, Any] | None, merged: str | None
) -> tuple[Any, ...]:
    """The values of the row's columns."""
    shown = next((attempt for attempt in view.attempts if attempt.bundle_id == view.bundle_id), None)
    if shown is None and view.attempts:
        shown = view.attempts[-1]
    metrics = None
    if view.metrics is not None:
        metrics = _json({**view.metrics, "as_of": iso(view.metrics["as_of"])}).decode()
    wish = wish or {}
    return (
        name,
        view.bundle_id,
        view.state,
        view.reason,
        view.post_url,
        iso(view.posted_at) if view.posted_at else None,
        _error_code(view, shown),
        _json(view.flags).decode(),
        _json(view.attempts).decode(),
        metrics,
        memo.encode(row.notes, row.steps),
        *(wish.get(key) or None for key in ("campaign_id", "ref", "country", "platform", "group")),
        shown.target_day if shown is not None else None,
        merged,
    )
