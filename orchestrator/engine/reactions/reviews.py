"""Reviews: once TokPortal shows an account or a post, corrections may be asked for; 72 hours later it is final."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from orchestrator.desk import BundleEntry
from orchestrator.domain.bundle import Bundle
from orchestrator.domain.decisions import ReviewActed, ReviewOrdered
from orchestrator.domain.facts import API, Note, VideoPosted
from orchestrator.domain.video import Plan, Video
from orchestrator.engine.reactions import gates, vendor
from orchestrator.engine.turn import Turn, command_id
from orchestrator.outbox import Command

WINDOW = timedelta(hours=72)
WARNING = timedelta(hours=24)
"""How long before the end people are told."""
COMMANDS = {"finalize": "finalize_video", "corrections": "request_corrections"}
"""What a person orders, and what TokPortal is told."""
UNDER_WAY = frozenset({"pending", "held", "running", "unknown"})
ENDS = frozenset({"BundleReady", "AccountRemade"})
"""Facts with which the review of an account is over."""


def of_video(turn: Turn, video: Video, plan: Plan) -> datetime | None:
    """When to look again at the review of a posted video, if it is open."""
    newest = _in_review(plan.posts)
    if newest is None or _was_closed(video):
        return None
    about = {"video_id": video.video_id, "bundle_id": newest.bundle_id, "campaign_id": plan.wish["campaign_id"]}
    what = f"video {video.video_id} on {newest.bundle_id}"
    return _watch(turn, newest.occurred_at + WINDOW, what, str(newest.bundle_id), **about)


def _in_review(posts: Sequence[Note]) -> Note | None:
    """The post whose review is open, or was until its time was over; `posts` in the order of their keys."""
    reviews = [note for note in posts if "review" in note.detail]
    if not reviews or any(note.detail["review"] == "final" for note in reviews):
        return None
    return reviews[-1]


def _was_closed(video: Video) -> bool:
    """Whether TokPortal took a person's word that the post is final."""
    acted = (step.detail for step in video.steps if step.name == "ReviewActed")
    return any(detail["order"] == "finalize" and detail["outcome"] == "done" for detail in acted)


def order(turn: Turn, video: Video, what: str, reason: str | None, given: Mapping[str, Any]) -> str | None:
    """A person ends the review of a post (`finalize`), or asks for `corrections`, of which `given` has `comment` and
    `fields`. Why that is not possible."""
    posts = sorted((note for note in video.notes if note.name == "VideoPosted"), key=lambda note: note.key)
    if not posts:
        return "the video is not posted"
    newest = _in_review(posts)
    if newest is None or _was_closed(video):
        return "no review of the post is open"
    if turn.now >= newest.occurred_at + WINDOW:
        return f"the review of the post is over since {newest.occurred_at + WINDOW:%Y-%m-%d %H:%M} UTC"
    earlier = [step.detail for step in video.steps if step.name == "ReviewOrdered"]
    for found in turn.commands([detail["command_id"] for detail in earlier]).values():
        if found.kind == COMMANDS[what] and found.status in UNDER_WAY:
            return "TokPortal is to be told that already"
    bundle_id = str(newest.bundle_id)
    name = command_id("review", video.video_id, len(earlier) + 1)
    more = {"comment": given["comment"], "fields": given.get("fields") or {}} if what == "corrections" else {}
    turn.record(
        video,
        ReviewOrdered,
        reason=reason,
        actor=turn.person,
        order=what,
        bundle_id=bundle_id,
        command_id=name,
        **more,
    )
    turn.command(
        COMMANDS[what],
        name,
        {"bundle_id": bundle_id, **vendor.names_of(turn, video, bundle_id), **more},
        held=gates.sending(turn),
        video_id=video.video_id,
        bundle_id=bundle_id,
        **vendor.wish_of(video),
    )
    return None


def acted(turn: Turn, command: Command, outcome: str, report: dict[str, Any]) -> None:
    """What TokPortal said to it. That it is final is a fact where it says so itself; else its webhook tells."""
    video = turn.video(str(command.video_id))
    what = next(name for name, kind in COMMANDS.items() if kind == command.kind)
    status = report["data"].get("status")
    turn.record(
        video,
        ReviewActed,
        reason=report["message"],
        order=what,
        bundle_id=command.bundle_id,
        command_id=command.command_id,
        outcome=outcome,
        code=report["code"],
        status=status,
    )
    if outcome != "done" or status != "finalized":
        return
    at, data = vendor.dated(turn, report, "finalized_at")
    urls = [note.detail["url"] for note in video.notes if note.name == "VideoPosted" and note.detail.get("url")]
    video.record(
        VideoPosted,
        timestamp=turn.now,
        message_id=turn.message.message_id,
        occurred_at=at,
        event_id=command.command_id,
        dialect=API,
        bundle_id=command.bundle_id,
        account=None,
        country=None,
        platform=None,
        data={**data, "url": urls[-1] if urls else None, "review": "final"},
    )


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
    once = f"review:{subject}:{closes:%Y-%m-%dT%H}"
    turn.alert("needs_review", text, once=once, subject=once, cause=("closes", about.get("campaign_id")), **about)
    return None
