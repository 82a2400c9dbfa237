"""Whom a fact is about is told by names that may be learnt in any order: with the same attempts and answers, the same
facts end up with the same videos, in every order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.dialects import PUBLIC, public
from orchestrator.domain.decisions import VideoPlanned, VideoRequested
from orchestrator.domain.facts import VideoFact
from orchestrator.domain.video import Video, VideoView, video_view
from orchestrator.engine.decide import judge
from orchestrator.engine.reactions import joins, videos
from orchestrator.engine.turn import Turn
from orchestrator.journal.inbox import Taken
from tests.engine.test_invariant_two import NOON, NOON_MICROS, Memory, Sent, message, moment, optional, profile

OURS = ["vid_" + letter * 32 for letter in "abc"]
VENDORS = ["tp_1", "tp_2"]
BUNDLES = ["bdl_1", "bdl_2"]
MINUTES = st.integers(0, 9)
KINDS = [type for type, kind in public.EVENTS.items() if kind is not None and issubclass(kind, VideoFact)]


@dataclass(frozen=True)
class Wanted:
    """A campaign wants this video, and it is planned for both bundles in turn."""

    video_id: str


@dataclass(frozen=True)
class Answer:
    """TokPortal took the video and told its own names for it."""

    video_id: str
    bundle_id: str
    vendor_id: str | None
    position: int | None
    minute: int


@st.composite
def answers(draw: st.DrawFn) -> Answer:
    vendor_id, position = draw(optional(VENDORS)), draw(optional([1, 2]))
    return Answer(draw(st.sampled_from(OURS)), draw(st.sampled_from(BUNDLES)), vendor_id, position, draw(MINUTES))


@st.composite
def told(draw: st.DrawFn) -> Sent:
    data = {
        "video_id": draw(st.sampled_from([*VENDORS, *VENDORS, OURS[0]])),
        "bundle_id": draw(st.sampled_from(BUNDLES)),
        "platform_url": draw(optional(["https://t.example/1"])),
    }
    if data["video_id"] in VENDORS:
        data |= {"position": draw(optional([1, 2])), "external_ref": draw(optional([*OURS, "somebody else's"]))}
    content = {
        "id": f"evt_{draw(st.integers(0, 99))}",
        "type": draw(st.sampled_from(KINDS)),
        "created_at": moment(draw(MINUTES)),
        "data": data,
    }
    return Sent(PUBLIC, content)


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Any], list[Any]]:
    """Some of what happens, and the same in another order. What is answered was wanted."""
    facts = st.lists(told(), max_size=9, unique_by=lambda sent: str(sent.content["id"]))
    said = draw(st.lists(answers(), max_size=5, unique=True))
    wanted = [Wanted(video_id) for video_id in draw(st.sets(st.sampled_from(OURS)) | st.just(set(OURS)))]
    known = {one.video_id for one in wanted}
    happened = [*wanted, *(one for one in said if one.video_id in known), *draw(facts)]
    return _sorted(draw(st.permutations(happened))), _sorted(draw(st.permutations(happened)))


def _sorted(happened: Sequence[Any]) -> list[Any]:
    """The same, but each answer after the video was wanted."""
    done: list[Any] = []
    wanted: set[str] = set()
    early: list[Answer] = []
    for one in happened:
        if isinstance(one, Answer) and one.video_id not in wanted:
            early.append(one)
            continue
        done.append(one)
        if isinstance(one, Wanted):
            wanted.add(one.video_id)
            done += [answer for answer in early if answer.video_id == one.video_id]
    return done


class Joins(Memory):
    def happen(self, seq: int, one: Any) -> None:
        if isinstance(one, Sent):
            m = message(one, 0, NOON_MICROS)
            taken = Taken(
                seq, m.message_id, m.kind, m.endpoint, m.mode, m.dialect, m.event_id, m.body, m.actor, m.received_at
            )
            reading = judge(taken).reading
            assert reading is not None
            self.take(reading, taken)
            return
        own = Taken(seq, f"msg_{seq}", "result", "", "live", None, None, b"{}", "{}", NOON_MICROS)
        turn = self.turn(own)
        video = turn.video(one.video_id)
        if isinstance(one, Wanted):
            self.want(turn, video)
        else:
            data = {"video_id": one.vendor_id, "position": one.position}
            at = NOON + timedelta(minutes=one.minute)
            joins.answered(turn, video, 1, one.bundle_id, data, at.isoformat())

    def want(self, turn: Turn, video: Video) -> None:
        wish = {"campaign_id": "cmp_1", "target": 0, "ref": "r", "country": "US", "platform": "tiktok", "group": "g"}
        turn.record(video, VideoRequested, **wish)
        for number, bundle_id in enumerate(BUNDLES, start=1):
            turn.record(
                video, VideoPlanned, number=number, bundle_id=bundle_id, account=bundle_id, target_day="2026-11-24"
            )
        videos.consider(turn, video.video_id)
        joins.wanted(turn, video.video_id)


def shown(happened: Sequence[Any]) -> dict[str, VideoView | str]:
    """What each video is in the end; of a stranger that turned out to be ours, which."""
    memory = Joins()
    for seq, one in enumerate(happened):
        memory.happen(seq, one)
    seen: dict[str, VideoView | str] = {}
    for video in memory.kept.values():
        if isinstance(video, Video):
            merged = [step.detail["video_id"] for step in video.steps if step.name == "Merged"]
            seen[video.video_id] = merged[-1] if merged else video_view(video.notes, video.steps)
    return seen


@profile(500)
@given(histories())
def test_order_does_not_matter_to_whom_a_fact_is_about(history: tuple[list[Any], list[Any]]) -> None:
    first, second = history
    assert shown(first) == shown(second)
