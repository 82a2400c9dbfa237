"""Reviews: once TokPortal shows an account or a post, corrections may be asked for; 72 hours later it is final."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from orchestrator.desk import BundleEntry
from orchestrator.domain.bundle import Bundle
from orchestrator.domain.video import Plan, Video
from orchestrator.engine.turn import Turn

WINDOW = timedelta(hours=72)
WARNING = timedelta(hours=24)
"""How long before the end people are told."""
ENDS = frozenset({"BundleReady", "AccountRemade"})
"""Facts with which the review of an account is over."""


def of_video(turn: Turn, video: Video, plan: Plan) -> datetime | None:
    """When to look again at the review of a posted video, if it is open."""
    reviews = [note for note in plan.posts if "review" in note.detail]
    if not reviews or any(note.detail["review"] == "final" for note in reviews):
        return None
    newest = reviews[-1]
    about = {"video_id": video.video_id, "bundle_id": newest.bundle_id, "campaign_id": plan.wish["campaign_id"]}
    what = f"video {video.video_id} on {newest.bundle_id}"
    return _watch(turn, newest.occurred_at + WINDOW, what, str(newest.bundle_id), **about)


def of_account(turn: Turn, entry: BundleEntry, bundle: Bundle) -> None:
    """Sets the timer for the review of an account, if there is or was one."""
    opened = max((note.key for note in bundle.notes if note.name == "AccountInReview"), default=None)
    if opened is None:
        return
    is_over = entry.state == "banned" or any(note.name in ENDS and note.key > opened for note in bundle.notes)
    about = {"bundle_id": entry.bundle_id, "country": entry.country, "platform": entry.platform}
    what = f"the account of {entry.bundle_id}"
    again = None if is_over else _watch(turn, opened[0] + WINDOW, what, f"{entry.bundle_id}:account", **about)
    turn.timer(f"review:{entry.bundle_id}", again, timer="bundle", bundle_id=entry.bundle_id)


def _watch(turn: Turn, closes: datetime, what: str, subject: str, **about: Any) -> datetime | None:
    """Tells people while there is still time, for one subject once an hour; when to look again."""
    if turn.now >= closes:
        return None
    if turn.now < closes - WARNING:
        return closes - WARNING
    text = f"the review of {what} closes at {closes:%Y-%m-%d %H:%M} UTC: ask for corrections before, if there are any"
    turn.alert("needs_review", text, once=f"review:{subject}:{closes:%Y-%m-%dT%H}", **about)
    return None
