"""A video: one piece of content on its way to an account, over one or more attempts.

An attempt is the video on one bundle. Attempts that we did not plan are numbered by their smallest key, and the one
with the greatest fact is the live one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from orchestrator.domain.aggregate import Registered, Remembering
from orchestrator.domain.facts import KINDS, DomainEvent, Note

STATES = (
    "unknown",
    "waiting",
    "planned",
    "scheduled",
    "uploading",
    "uploaded",
    "posted",
    "failed",
    "abandoned",
    "cancelled",
)

FLAGS = {
    "CorrectionsRequested": "pending_corrections",
    "NotRecommended": "not_recommended",
    "AiLabeled": "ai_labeled",
    "SoundRestricted": "sound_restricted",
}

METRICS = ("views", "likes", "shares", "comments")


class Video(Remembering):
    TOPIC = "Video"

    class Event(DomainEvent):
        TOPIC = "Video.Event"

    @dataclass(frozen=True)
    class VideoRegistered(Registered):
        TOPIC = "VideoRegistered"
        video_id: str

    def __init__(self, video_id: str) -> None:
        super().__init__()
        self.video_id = video_id

    @staticmethod
    def key(video_id: str) -> str:
        """The aggregate's id in the log."""
        return f"video:{video_id}"

    @classmethod
    def register(cls, video_id: str, *, message_id: str, now: datetime) -> Video:
        return cls._create(
            cls.VideoRegistered, id=cls.key(video_id), timestamp=now, message_id=message_id, video_id=video_id
        )

    def remember(self, note: Note) -> None:
        remember(self.notes, note)


def remember(notes: list[Note], note: Note) -> None:
    """Adds `note`. Of metrics only the greatest key is ever current, so the others are not kept: a video may be
    measured for years."""
    if note.name == "MetricsUpdated":
        for index, other in enumerate(notes):
            if other.name == "MetricsUpdated":
                if other.key < note.key:
                    notes[index] = note
                return
    notes.append(note)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A video on a bundle. `error` is the newest failure that still counts: `{code, message}`."""

    number: int
    bundle_id: str
    state: str
    tries: int
    target_day: str | None
    error: dict[str, str | None] | None


@dataclass(frozen=True, slots=True)
class VideoView:
    """What a video is, by all facts known. Times are the vendor's, UTC."""

    state: str
    bundle_id: str | None
    post_url: str | None
    posted_at: datetime | None
    flags: tuple[str, ...]
    attempts: tuple[Attempt, ...]
    metrics: dict[str, Any] | None


def video_view(notes: Sequence[Note]) -> VideoView:
    """The state of the video with `notes`."""
    slots: dict[str, list[Note]] = {}
    for note in sorted(notes, key=lambda note: note.key):
        if KINDS[note.name].state is not None and note.bundle_id is not None:
            slots.setdefault(note.bundle_id, []).append(note)
    live = max(slots, key=lambda bundle_id: slots[bundle_id][-1].key, default=None)
    posts = [note for facts in slots.values() for note in facts if note.name == "VideoPosted"]
    # A post on any bundle ends the video's way: what is under way elsewhere is no longer wanted.
    attempts = tuple(
        _attempt(number, bundle_id, facts, live=bundle_id == live and not posts)
        for number, (bundle_id, facts) in enumerate(slots.items(), start=1)
    )
    first_post = min(posts, key=lambda note: note.key, default=None)
    flags = {FLAGS[note.name] for note in notes if note.name in FLAGS}
    if sum(attempt.state == "posted" for attempt in attempts) > 1:
        flags.add("double_posted")
    if any(attempt.state == "posted" and attempt.error for attempt in attempts):
        flags.add("failed_after_posted")
    last = max(notes, key=lambda note: note.key, default=None)
    state = "unknown"
    bundle_id = last.bundle_id if last else None
    if first_post is not None:
        state, bundle_id = "posted", first_post.bundle_id
    elif live is not None:
        state, bundle_id = next(attempt.state for attempt in attempts if attempt.bundle_id == live), live
    return VideoView(
        state=state,
        bundle_id=bundle_id,
        post_url=_url(posts, bundle_id),
        posted_at=first_post.occurred_at if first_post else None,
        flags=tuple(sorted(flags)),
        attempts=attempts,
        metrics=_metrics(notes),
    )


def _attempt(number: int, bundle_id: str, facts: Sequence[Note], *, live: bool) -> Attempt:
    """`facts` in the order of their keys; at least one."""
    posted = next((note for note in facts if note.name == "VideoPosted"), None)
    last = facts[-1]
    failure: Note | None = None
    if posted is not None:
        state = "posted"
        # A failure before the post was overcome; one at the same time or later contradicts it.
        failures = [n for n in facts if n.name == "PostFailed" and n.occurred_at >= posted.occurred_at]
        failure = failures[-1] if failures else None
    else:
        state = str(KINDS[last.name].state)
        failure = last if state == "failed" else None
        if not live and state != "failed":
            state = "cancelled"
    error = None
    if failure is not None:
        error = {"code": failure.detail.get("error_code"), "message": failure.detail.get("message")}
    return Attempt(number, bundle_id, state, tries=1, target_day=None, error=error)


def _url(posts: Sequence[Note], bundle_id: str | None) -> str | None:
    told = [note for note in posts if note.detail.get("url") and note.bundle_id == bundle_id]
    return str(max(told, key=lambda note: note.key).detail["url"]) if told else None


def _metrics(notes: Sequence[Note]) -> dict[str, Any] | None:
    measured = max((n for n in notes if n.name == "MetricsUpdated"), key=lambda note: note.key, default=None)
    if measured is None:
        return None
    return {name: measured.detail.get(name) for name in METRICS} | {"as_of": measured.occurred_at}
