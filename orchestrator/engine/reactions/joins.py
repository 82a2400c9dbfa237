"""Which video is meant: TokPortal has its own names, and what they stand for may be learnt late."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from orchestrator.desk import slot_name
from orchestrator.domain.decisions import FactsAdopted, Merged, write_note
from orchestrator.domain.video import Video
from orchestrator.engine.reactions import videos
from orchestrator.engine.turn import Turn


def named(turn: Turn, video_id: str, bundle_id: str | None, data: Mapping[str, Any], occurred_at: datetime) -> str:
    """The id of the video that a fact is about: ours where it can be told, else the vendor's own."""
    reference = data.get("external_ref")
    if isinstance(reference, str) and turn.desk.video(reference) is not None:
        return reference
    if turn.desk.video(video_id) is not None:
        return video_id
    known = turn.desk.join(video_id)
    if known is not None:
        return known.at(occurred_at)
    position = data.get("position")
    if bundle_id is not None and isinstance(position, int):
        slot = turn.desk.join(slot_name(bundle_id, position))
        if slot is not None:
            return slot.at(occurred_at)
    return video_id


def merge(turn: Turn, video: Video, stranger_id: str) -> None:
    """The stranger turned out to be `video`: what was recorded for it counts for ours."""
    stranger = turn.known_video(stranger_id)
    if stranger is None or turn.is_ours(stranger_id) or any(step.name == "Merged" for step in stranger.steps):
        return
    stranger = turn.video(stranger_id)
    turn.record(stranger, Merged, video_id=video.video_id)
    turn.record(video, FactsAdopted, stranger=stranger_id, notes=[write_note(note) for note in stranger.notes])
    videos.consider(turn, video.video_id)
