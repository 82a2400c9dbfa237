"""How posts do. TokPortal never tells by itself: it is asked one, three and seven days after a post, and on request."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from orchestrator.domain.facts import API, MetricsUpdated, Note
from orchestrator.domain.video import METRICS, Plan, Video, video_view
from orchestrator.engine.reactions import gates, vendor
from orchestrator.engine.turn import Turn, command_id
from orchestrator.outbox import WHENEVER, Command

AFTER = (1, 3, 7)
"""Days after the post."""


def watch(turn: Turn, video: Video, plan: Plan) -> None:
    """Sets the timers of a video that is posted. What was due before it was known to be is not made up for."""
    posted_at = plan.posts[0].occurred_at
    for days in AFTER:
        due = posted_at + timedelta(days=days)
        if due > turn.now:
            name = f"metrics:{video.video_id}:{days}"
            turn.timer(name, due, timer="metrics", video_id=video.video_id, days=days)


def due(turn: Turn, video_id: str, days: int) -> None:
    """So many days have passed since the post."""
    video = turn.video(video_id)
    if turn.is_ours(video_id) and _posts(video) and turn.desk.service().reads:
        _read(turn, video, days)


def order(turn: Turn, video: Video) -> str | None:
    """A person wants to know. Why not."""
    if not _posts(video):
        return "the video is not posted"
    why = gates.reading(turn)
    if why is None:
        _read(turn, video, turn.message.message_id)
    return why


def _posts(video: Video) -> list[Note]:
    return sorted((note for note in video.notes if note.name == "VideoPosted"), key=lambda note: note.key)


def _read(turn: Turn, video: Video, *when: object) -> None:
    bundle_id = str(_posts(video)[0].bundle_id)
    turn.command(
        "read_metrics",
        command_id("metrics", video.video_id, *when),
        {"bundle_id": bundle_id, **vendor.names_of(turn, video, bundle_id)},
        held=gates.reading(turn),
        video_id=video.video_id,
        bundle_id=bundle_id,
        urgency=WHENEVER,
        **vendor.wish_of(video),
    )


def told(turn: Turn, command: Command, report: dict[str, Any]) -> None:
    """Records what TokPortal said, where it differs from what is known. It may leave out any of the numbers."""
    video = turn.video(str(command.video_id))
    said = report["data"]
    data = {name: said[name] for name in METRICS if type(said.get(name)) is int and said[name] >= 0}
    as_of = _as_of(turn, report)
    known = video_view(video.notes, video.steps).metrics
    if known is not None and (as_of <= known["as_of"] or all(known[name] == data[name] for name in data)):
        return
    if not data:
        return
    video.record(
        MetricsUpdated,
        timestamp=turn.now,
        message_id=turn.message.message_id,
        occurred_at=as_of,
        event_id=command.command_id,
        dialect=API,
        bundle_id=command.bundle_id,
        account=None,
        country=None,
        platform=None,
        data=data,
    )


def _as_of(turn: Turn, report: dict[str, Any]) -> datetime:
    """When TokPortal measured: its numbers come from snapshots."""
    at = vendor.moment(report["data"].get("as_of"))
    return min(at, turn.now) if at is not None else vendor.asked_at(turn, report)
