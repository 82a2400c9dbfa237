"""Which video is meant: TokPortal has its own names, and what they stand for may be learnt late.

A fact names the video by our id (`external_ref`), by TokPortal's (`video_id`), and perhaps by the slot (bundle and
position). Whom TokPortal's id stands for is told by its answers, by the slot that it came with, or by facts that gave
our id beside it. Whenever more is learnt, facts that came under the id go to whom they are about, so that it does not
matter in which order things were learnt.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from orchestrator.desk import JoinEntry, Line, slot_name
from orchestrator.domain.decisions import FactsAdopted, FactsReleased, Merged, SlotJoined, write_key, write_note
from orchestrator.domain.facts import Key, Note
from orchestrator.domain.video import Video
from orchestrator.engine.reactions import videos
from orchestrator.engine.turn import Turn

OF_OURS = re.compile("vid_[0-9a-f]{32}")
"""What the ids of our videos look like, so that one that is not wanted yet is told from names that others gave."""


def named(turn: Turn, vendor_id: str, bundle_id: str | None, data: Mapping[str, Any], occurred_at: datetime) -> str:
    """The id of the video that a fact is about, ours where it can be told, else the vendor's own; what the fact tells
    of the vendor's names is learnt first."""
    reference, position = data.get("external_ref"), data.get("position")
    if not isinstance(reference, str):
        reference = None
    slot = slot_name(bundle_id, position) if bundle_id is not None and type(position) is int else None
    if reference is None and slot is None and turn.desk.is_unheard(vendor_id):
        return vendor_id
    if not turn.is_ours(vendor_id):
        _learn(turn, vendor_id, slot, reference, occurred_at)
    return _owner(turn, vendor_id, reference, occurred_at)


def answered(turn: Turn, video: Video, number: int, bundle_id: str, data: Mapping[str, Any], answered_at: str) -> None:
    """TokPortal took the video, and told under which names it will speak of it."""
    vendor_id, position = data.get("video_id"), data.get("position")
    if vendor_id is None and position is None:
        return
    turn.record(
        video,
        SlotJoined,
        number=number,
        bundle_id=bundle_id,
        vendor_id=vendor_id,
        position=position,
        at=answered_at,
    )
    since = (datetime.fromisoformat(answered_at), video.video_id)
    names: set[str] = set()
    if position is not None:
        slot = turn.desk.slot(slot_name(bundle_id, position))
        names = {*slot.names, *([vendor_id] if vendor_id is not None else [])}
        slot = msgspec.structs.replace(slot, ours=_after(slot.ours, since), names=tuple(sorted(names)))
        turn.desk.put("slot", slot.name, slot)
    if vendor_id is not None:
        names.add(vendor_id)
        join = turn.desk.join(vendor_id)
        turn.desk.put("join", vendor_id, msgspec.structs.replace(join, ours=_after(join.ours, since)))
    for name in sorted(names):
        _settle(turn, name)


def wanted(turn: Turn, video_id: str) -> None:
    """A campaign wants the video from now on: what was told of it before counts."""
    for vendor_id in turn.desk.told_of(video_id):
        for name in sorted({vendor_id, *(name for slot in turn.desk.slots_of(vendor_id) for name in slot.names)}):
            _settle(turn, name)


def _learn(turn: Turn, vendor_id: str, slot_: str | None, reference: str | None, occurred_at: datetime) -> None:
    """What a fact tells of the vendor's names."""
    is_told = reference is not None and (turn.is_ours(reference) or OF_OURS.fullmatch(reference) is not None)
    changed: set[str] = set()
    if is_told:
        join = _told(turn.desk.join(vendor_id), occurred_at, str(reference))
        if join != turn.desk.join(vendor_id):
            turn.desk.put("join", vendor_id, join)
            changed.add(vendor_id)
    if slot_ is not None:
        before = slot = turn.desk.slot(slot_)
        if vendor_id not in slot.names:
            slot = msgspec.structs.replace(slot, names=tuple(sorted([*slot.names, vendor_id])))
            changed.add(vendor_id)
        if is_told:
            slot = _told(slot, occurred_at, str(reference))
            changed |= set(slot.names) if slot.told != before.told else set()
        if slot != before:
            turn.desk.put("slot", slot_, slot)
    for name in sorted(changed):
        _settle(turn, name)


def _told(entry: JoinEntry, occurred_at: datetime, video_id: str) -> JoinEntry:
    """A fact of this moment gave this id of ours."""
    first = {name: since for since, name in entry.told}
    first[video_id] = min(first.get(video_id, occurred_at), occurred_at)
    return msgspec.structs.replace(entry, told=tuple(sorted((since, name) for name, since in first.items())))


def _after(line: Line, since: tuple[datetime, str]) -> Line:
    return tuple(sorted({*line, since}))


def _lines(turn: Turn, vendor_id: str) -> list[Line]:
    """What is known of whom the id stood for, the surest first."""
    join, slots = turn.desk.join(vendor_id), turn.desk.slots_of(vendor_id)
    lines = [join.ours, *(slot.ours for slot in slots), join.told, *(slot.told for slot in slots)]
    of_ours = (tuple(one for one in line if turn.is_ours(one[1])) for line in lines)
    return [line for line in of_ours if line]


def _owner(turn: Turn, vendor_id: str, reference: Any, moment: datetime) -> str:
    if isinstance(reference, str) and turn.is_ours(reference):
        return reference
    if turn.is_ours(vendor_id):
        return vendor_id
    lines = _lines(turn, vendor_id)
    return _carried(lines[0], moment) if lines else vendor_id


def _carried(line: Line, moment: datetime) -> str:
    """Whom it stood for last before the moment; the first ever, where that was later."""
    carried = line[0][1]
    for since, video_id in line:
        if since <= moment:
            carried = video_id
    return carried


def _settle(turn: Turn, vendor_id: str) -> None:
    """Has the facts that came under this id go to the videos that they are about."""
    lines = _lines(turn, vendor_id)
    if not lines or turn.is_ours(vendor_id):
        return
    stranger = turn.video(vendor_id)
    _merge(turn, stranger, lines[0][-1][1])
    ours = {video_id: turn.video(video_id) for video_id in sorted({one[1] for line in lines for one in line})}
    heard = {note.key: note for video in (stranger, *ours.values()) for note in video.heard_as(vendor_id)}
    gains: defaultdict[str, list[Note]] = defaultdict(list)
    losses: defaultdict[str, list[Key]] = defaultdict(list)
    for key, note in sorted(heard.items(), key=lambda one: one[0]):
        owner = _owner(turn, vendor_id, note.detail.get("external_ref"), note.occurred_at)
        for name, video in {**ours, owner: turn.video(owner)}.items():
            has = any(other.key == key for other in video.notes)
            if has and name != owner:
                losses[name].append(key)
            elif name == owner and not has and not _is_outdated(note, video):
                gains[name].append(note)
    for name, keys in losses.items():
        turn.record(turn.video(name), FactsReleased, stranger=vendor_id, keys=[write_key(key) for key in keys])
    for name, notes in gains.items():
        turn.record(turn.video(name), FactsAdopted, stranger=vendor_id, notes=[write_note(note) for note in notes])
    for name in losses:
        videos.consider(turn, name)
    for name, notes in gains.items():
        for note in notes:
            videos.on_news(turn, turn.video(name), note.key)


def _merge(turn: Turn, stranger: Video, video_id: str) -> None:
    """Who asks for the stranger is answered ours, even where nothing was ever recorded for it."""
    merged = [step.detail["video_id"] for step in stranger.steps if step.name == "Merged"]
    if merged[-1:] != [video_id]:
        turn.record(stranger, Merged, video_id=video_id)


def _is_outdated(note: Note, video: Video) -> bool:
    """Of metrics a video remembers only the newest."""
    return note.name == "MetricsUpdated" and any(
        other.name == note.name and other.key > note.key for other in video.notes
    )
