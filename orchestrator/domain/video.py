"""A video: one piece of content on its way to an account, over one or more attempts.

An attempt is the video on one bundle; it never returns to a bundle that it was on. Attempts that we did not plan are
numbered by their smallest key, and the one with the greatest fact is the live one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter
from typing import Any

from orchestrator.domain.aggregate import Registered, Remembering
from orchestrator.domain.decisions import Step, read_key
from orchestrator.domain.facts import API, KINDS, DomainEvent, Key, Note
from orchestrator.domain.found import WAY, spoken, spoken_posts

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

_by_key = attrgetter("key")


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
        self._heard: dict[Key, str] = {}
        """Under which id of TokPortal's the facts came that do not name this very video."""

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

    def hear(self, note: Note, vendor_id: str | None) -> None:
        """Remembers a fact that came under this name."""
        self.remember(note)
        if vendor_id not in (None, self.video_id) and note.detail.get("external_ref") != self.video_id:
            self._heard[note.key] = str(vendor_id)

    def heard_as(self, vendor_id: str) -> list[Note]:
        """The facts that came under this id of TokPortal's and may be about another video: they did not name this."""
        return [note for note in self.notes if self._heard.get(note.key, self.video_id) == vendor_id]

    def release(self, keys: set[Key]) -> None:
        """The facts with these keys are about another video."""
        self.notes[:] = [note for note in self.notes if note.key not in keys]


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
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """TokPortal did not take it, and said why: its code, and what its documentation says that comes with the code."""

    code: str
    said: str | None
    details: Mapping[str, Any]


@dataclass(slots=True)
class Leg:
    """An attempt that we planned, by our own events: where it goes and how far it got by them."""

    number: int
    bundle_id: str
    account: str
    target_day: str
    tries: int = 1
    since: Key | None = None
    """Up to this key facts no longer speak."""
    left: bool = False
    """A decision ended it."""
    left_at: datetime | None = None
    sent: str | None = None
    """The command by which TokPortal may have got it."""
    questioned: str | None = None
    """Why TokPortal is asked whether it can still post it."""
    asked: int = 0
    asked_at: datetime | None = None
    is_free: bool = False
    """Whether TokPortal answered that it took its slot back."""
    is_unanswered: bool = False
    """Whether TokPortal was asked, and has not answered yet."""
    released: bool = False
    """A person released it from the hold that the ban of its account brought."""
    to: str | None = None
    """The bundle that a person named for it, to whom it goes once its slot is free."""
    by: Mapping[str, str] | None = None
    """The person who ordered that."""
    accepted: bool = False
    """Whether TokPortal took the command. That is our own news: it has no place in the order of the vendor's facts."""
    taken_at: datetime | None = None
    """When it was first known to have a slot, by TokPortal's answer or by a fact."""
    refusals: list[str] = field(default_factory=list)
    """The codes with which TokPortal refused it, in their order."""
    refusal: Refusal | None = None
    """The last refusal, until it is handed over again."""
    facts: list[Note] = field(default_factory=list)
    """In the order of their keys."""

    def speaking(self) -> Sequence[Note]:
        return spoken([note for note in self.facts if self.since is None or note.key > self.since], WAY)

    @property
    def posted(self) -> Note | None:
        return next((note for note in self.facts if note.name == "VideoPosted"), None)

    @property
    def last(self) -> Note | None:
        """The greatest fact that speaks."""
        speaking = self.speaking()
        return speaking[-1] if speaking else None

    @property
    def failure(self) -> Note | None:
        """The failure that the attempt is in, if it is."""
        last = self.last
        return last if last is not None and last.name == "PostFailed" else None

    @property
    def state(self) -> str:
        if self.posted is not None:
            return "posted"
        speaking = self.speaking()
        if self.left:
            return "failed" if any(note.name == "PostFailed" for note in speaking) else "cancelled"
        if speaking:
            return str(KINDS[speaking[-1].name].state)
        return "scheduled" if self.accepted else "planned"

    @property
    def is_with_vendor(self) -> bool:
        """Whether TokPortal may post it: a command was sent, or it reports progress."""
        return self.sent is not None or bool(self.speaking())


class Plan:
    """The way of a video that a campaign wanted, by our steps and the vendor's facts together."""

    def __init__(self, notes: Sequence[Note], steps: Sequence[Step]) -> None:
        self.wish: Mapping[str, Any] = next(step.detail for step in steps if step.name == "VideoRequested")
        self.legs: list[Leg] = []
        self.end: str | None = None
        """What a decision made of it: waiting, abandoned or cancelled; None while an attempt is under way."""
        self.reason: str | None = None
        self.held: str | None = None
        self._held_for: str | None = None
        self.is_cleared = False
        """A person released it although the platform rejected its content."""
        self.original_day: str | None = None
        """The first day that it was planned for."""
        self.deadline: str | None = None
        for step in steps:
            self._take(step)
        by_bundle = {leg.bundle_id: leg for leg in self.legs}
        self.elsewhere: list[Note] = []
        """Facts from bundles that never carried it."""
        for note in sorted(spoken_posts(notes), key=_by_key):
            leg = by_bundle.get(note.bundle_id or "")
            if leg is None:
                self.elsewhere.append(note)
                continue
            if note.dialect == API and note.name == "VideoScheduled":
                leg.accepted = leg.accepted or note.event_id == leg.sent
            elif KINDS[note.name].state is not None:
                leg.facts.append(note)
            else:
                continue
            leg.taken_at = leg.taken_at or note.occurred_at

    def _take(self, step: Step) -> None:
        detail = step.detail
        if step.name in ("VideoPlanned", "VideoRerouted"):
            self.legs.append(Leg(detail["number"], detail["bundle_id"], detail["account"], detail["target_day"]))
            self.original_day = self.original_day or detail["target_day"]
            self.end = self.reason = None
        elif step.name in ENDS:
            self.end, self.reason = ENDS[step.name], detail.get("reason")
            if step.name == "VideoWaiting":
                self.deadline = detail.get("deadline")
        elif step.name == "VideoHeld":
            self.held, self._held_for = detail.get("reason"), detail.get("why")
        elif step.name == "VideoReleased":
            self.held = None
            self.is_cleared = self.is_cleared or self._held_for == "stop"
            if self.legs and self._held_for == "ban":
                self.legs[-1].released = True
        elif step.name in OF_LEGS:
            self._advance(self.legs[detail["number"] - 1], step)

    def _advance(self, leg: Leg, step: Step) -> None:
        name, detail = step.name, step.detail
        if name == "VideoRetried":
            self.end = self.reason = None
            leg.tries, leg.left = detail["tries"], False
            leg.sent = leg.questioned = leg.asked_at = leg.refusal = None
            leg.asked, leg.is_unanswered = 0, False
            leg.since = read_key(detail["since"]) if detail["since"] is not None else None
        elif name == "VideoRescheduled":
            leg.target_day, leg.refusal = detail["target_day"], None
        elif name == "AttemptCancelled":
            leg.left, leg.left_at, leg.questioned = True, step.at, None
        elif name == "HandoverStarted":
            leg.sent, leg.is_free, leg.refusal = detail["command_id"], False, None
        elif name == "HandoverRefused":
            leg.sent = None
            if detail.get("details") is not None:
                leg.refusal = Refusal(str(detail["code"]), detail.get("reason"), detail["details"])
                leg.refusals.append(leg.refusal.code)
        elif name == "SlotQuestioned":
            leg.questioned, leg.asked, leg.asked_at = detail["why"], leg.asked + 1, step.at
            leg.is_unanswered = True
            leg.to, leg.by = detail.get("to"), detail.get("by")
        elif name == "SlotAnswered":
            leg.is_unanswered, leg.is_free = False, detail["slot"] == "free"

    @property
    def live(self) -> Leg | None:
        """The attempt under way: the only one that may post."""
        if self.end is not None or not self.legs or self.posts:
            return None
        leg = self.legs[-1]
        return None if leg.left else leg

    @property
    def posts(self) -> list[Note]:
        found = [note for leg in self.legs for note in leg.facts if note.name == "VideoPosted"]
        return sorted([*found, *(n for n in self.elsewhere if n.name == "VideoPosted")], key=_by_key)

    @property
    def state(self) -> str:
        if self.posts:
            return "posted"
        live = self.live
        if live is not None:
            return live.state
        return self.end or ("cancelled" if self.legs else "waiting")

    def attempts(self) -> tuple[Attempt, ...]:
        posted = bool(self.posts)
        shown = []
        for leg in self.legs:
            state = leg.state
            if posted and state not in ("posted", "failed"):
                state = "cancelled"
            failure = _failure(leg.speaking(), leg.posted)
            if leg.left and state == "failed":
                failure = next(note for note in reversed(leg.speaking()) if note.name == "PostFailed")
            shown.append(Attempt(leg.number, leg.bundle_id, state, leg.tries, leg.target_day, _error(failure)))
        return tuple(shown)


ENDS = {"VideoWaiting": "waiting", "VideoAbandoned": "abandoned", "VideoCancelled": "cancelled"}
OF_LEGS = frozenset(
    {
        "VideoRetried",
        "VideoRescheduled",
        "AttemptCancelled",
        "HandoverStarted",
        "HandoverRefused",
        "SlotQuestioned",
        "SlotAnswered",
    }
)


def is_ours(steps: Sequence[Step]) -> bool:
    """Whether a campaign wanted the video."""
    return any(step.name == "VideoRequested" for step in steps)


def video_view(notes: Sequence[Note], steps: Sequence[Step] = ()) -> VideoView:
    """The state of the video with `notes` and `steps`."""
    return _ours(notes, Plan(notes, steps)) if is_ours(steps) else _strangers(notes)


def _ours(notes: Sequence[Note], plan: Plan) -> VideoView:
    posts = plan.posts
    flags = {FLAGS[note.name] for note in notes if note.name in FLAGS}
    if len({note.bundle_id for note in posts}) > 1:
        flags.add("double_posted")
    attempts = plan.attempts()
    if any(attempt.state == "posted" and attempt.error for attempt in attempts):
        flags.add("failed_after_posted")
    if plan.elsewhere:
        flags.add("wrong_bundle")
    if plan.held is not None:
        flags.add("held")
    live = plan.live
    bundle_id = plan.legs[-1].bundle_id if plan.legs and plan.end != "waiting" else None
    if posts:
        bundle_id = posts[0].bundle_id
    elif live is not None:
        bundle_id = live.bundle_id
    reason = None
    if not posts:
        reason = plan.reason or plan.held or (live.questioned if live is not None and live.is_unanswered else None)
    return VideoView(
        state=plan.state,
        bundle_id=bundle_id,
        post_url=_url(posts, bundle_id),
        posted_at=posts[0].occurred_at if posts else None,
        flags=tuple(sorted(flags)),
        attempts=attempts,
        metrics=_metrics(notes),
        reason=reason,
    )


def _strangers(notes: Sequence[Note]) -> VideoView:
    """A video that TokPortal reports and nobody here planned."""
    slots: dict[str, list[Note]] = {}
    for note in sorted(notes, key=_by_key):
        if KINDS[note.name].state is not None and note.bundle_id is not None:
            slots.setdefault(note.bundle_id, []).append(note)
    slots = {bundle_id: list(spoken(facts, WAY)) for bundle_id, facts in slots.items()}
    live = max(slots, key=lambda bundle_id: slots[bundle_id][-1].key, default=None)
    posts = [note for facts in slots.values() for note in facts if note.name == "VideoPosted"]
    # A post on any bundle ends the video's way: what is under way elsewhere is no longer wanted.
    attempts = tuple(
        _attempt(number, bundle_id, facts, live=bundle_id == live and not posts)
        for number, (bundle_id, facts) in enumerate(slots.items(), start=1)
    )
    first_post = min(posts, key=_by_key, default=None)
    flags = {FLAGS[note.name] for note in notes if note.name in FLAGS}
    if sum(attempt.state == "posted" for attempt in attempts) > 1:
        flags.add("double_posted")
    if any(attempt.state == "posted" and attempt.error for attempt in attempts):
        flags.add("failed_after_posted")
    last = max(notes, key=_by_key, default=None)
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
    state = "posted" if posted is not None else str(KINDS[facts[-1].name].state)
    failure = _failure(facts, posted)
    if state not in ("posted", "failed") and not live:
        state = "cancelled"
    return Attempt(number, bundle_id, state, tries=1, target_day=None, error=_error(failure))


def _failure(facts: Sequence[Note], posted: Note | None) -> Note | None:
    """The newest failure that counts: one before the post was overcome, one at its time or later contradicts it."""
    failures = [note for note in facts if note.name == "PostFailed"]
    if posted is not None:
        failures = [note for note in failures if note.occurred_at >= posted.occurred_at]
    elif not facts or facts[-1].name != "PostFailed":
        return None
    return failures[-1] if failures else None


def _error(failure: Note | None) -> dict[str, str | None] | None:
    if failure is None:
        return None
    return {"code": failure.detail.get("error_code"), "message": failure.detail.get("message")}


def _url(posts: Sequence[Note], bundle_id: str | None) -> str | None:
    told = [note for note in posts if note.detail.get("url") and note.bundle_id == bundle_id]
    return str(max(told, key=_by_key).detail["url"]) if told else None


def _metrics(notes: Sequence[Note]) -> dict[str, Any] | None:
    measured = max((n for n in notes if n.name == "MetricsUpdated"), key=_by_key, default=None)
    if measured is None:
        return None
    return {name: measured.detail.get(name) for name in METRICS} | {"as_of": measured.occurred_at}
