"""Speaking with TokPortal of a video: under which names, and as of when its answers speak."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from orchestrator.domain.times import iso
from orchestrator.domain.video import Video
from orchestrator.engine.turn import Turn


def names_of(turn: Turn, video: Video, bundle_id: str) -> dict[str, Any]:
    """Under which names TokPortal may know a video on a bundle: ours, and its own as far as it told."""
    if not turn.is_ours(video.video_id):
        names: dict[str, Any] = {"external_ref": None, "vendor_id": video.video_id}
        slots = turn.desk.slots_of(video.video_id)
        told = [slot.name.rpartition("#") for slot in slots if slot.name.startswith(f"{bundle_id}#")]
        return names | {"position": int(told[0][2])} if told else names
    names = {"external_ref": video.video_id}
    joined = [s.detail for s in video.steps if s.name == "SlotJoined" and s.detail["bundle_id"] == bundle_id]
    vendor_ids = turn.desk.told_of(video.video_id)
    if joined:
        names |= {name: joined[-1][name] for name in ("vendor_id", "position") if joined[-1][name] is not None}
    elif len(vendor_ids) == 1:
        names["vendor_id"] = vendor_ids[0]
    return names


def wish_of(video: Video) -> dict[str, Any]:
    """Whose video it is, and where, as commands about it say; nothing of one that no campaign planned."""
    wish = next((step.detail for step in video.steps if step.name == "VideoRequested"), None)
    return {} if wish is None else {name: wish[name] for name in ("campaign_id", "country", "platform")}


def asked_at(turn: Turn, report: dict[str, Any]) -> datetime:
    """As of when TokPortal's answer speaks: its own clock is not known, and it may have changed since it was asked."""
    told = report["data"].get("asked_at") or report["answered_at"]
    return min(datetime.fromisoformat(told), turn.now)


def dated(turn: Turn, report: dict[str, Any], name: str) -> tuple[datetime, dict[str, Any]]:
    """Since when what TokPortal's answer says is so, and what the fact says of that. Where the answer does not name the
    time itself (`name`), it is known only as of when it was asked, until something tells more."""
    told = moment(report["data"].get(name))
    if told is not None:
        return min(told, turn.now), {}
    at = asked_at(turn, report)
    return at, {"as_of": iso(at)}


def moment(text: object) -> datetime | None:
    """A time of TokPortal's; None for what is none."""
    try:
        at = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return at if at is not None and at.tzinfo is not None else None
