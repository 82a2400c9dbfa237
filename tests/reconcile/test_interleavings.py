"""Webhooks and readings of one truth, in any order: in the end everything is as the webhooks alone would have it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.dialects import PUBLIC
from orchestrator.domain.bundle import Bundle
from orchestrator.domain.times import iso
from orchestrator.domain.video import Video, video_view
from orchestrator.engine.decide import judge
from orchestrator.engine.reactions import found
from orchestrator.engine.turn import Turn
from orchestrator.journal.inbox import Taken
from orchestrator.reconcile.reading import ban_facts, bundle_facts, slot_facts
from tests.engine.test_invariant_two import NOON, Sent, message, profile
from tests.engine.test_joins import Joins

HOUR = timedelta(hours=1)
LATE = NOON + timedelta(days=30)
OURS = "vid_" + "a" * 32


@dataclass
class Truth:
    """What TokPortal knows at each hour, and the webhooks with which it told so."""

    dated: bool
    names_remakes: bool
    sent: list[Sent] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    """Of each hour: the bundle's row, its account's sessions, its bans, its slots."""
    now: datetime = NOON
    number: int = 1
    bundle: dict[str, Any] = field(default_factory=dict)
    sessions: list[dict[str, Any]] = field(default_factory=list)
    bans: list[dict[str, Any]] = field(default_factory=list)
    slot: dict[str, Any] = field(default_factory=dict)

    @property
    def account(self) -> str:
        return f"acc_{self.number}"

    def happen(self, what: str) -> None:
        self.now += HOUR
        getattr(self, f"do_{what}")()
        if self.dated:
            self.bundle["updated_at"] = iso(self.now)
        self.rows.append(
            {
                "asked_at": self.now,
                "bundle": dict(self.bundle),
                "sessions": [dict(row) for row in self.sessions],
                "bans": [dict(row) for row in self.bans],
                "slot": dict(self.slot),
            }
        )

    def tell(self, type_: str, **data: Any) -> None:
        content = {"id": f"evt_{len(self.sent)}", "type": type_, "created_at": self.now.isoformat()}
        self.sent.append(Sent(PUBLIC, {**content, "data": {"bundle_id": "bdl_1", **data}}))

    def do_create(self) -> None:
        self.bundle = {
            "bundle_id": "bdl_1",
            "status": "pending_setup",
            "account_status": "pending",
            "saved_account_id": None,
            "country": "USA",
            "platform": "tiktok",
            "created_at": iso(self.now),
        }
        self.tell("bundle.created", country="USA", platform="tiktok")

    def do_finalize(self) -> None:
        self.bundle |= {"account_status": "finalized", "saved_account_id": self.account, "status": "accepted"}
        self.tell("account.finalized", saved_account_id=self.account)

    def do_warm(self) -> None:
        self.sessions.append({"status": "active", **({"started_at": iso(self.now)} if self.dated else {})})
        self.tell("warming.session_started", saved_account_id=self.account)

    def do_end_warming(self) -> None:
        self.sessions[-1] |= {"status": "completed", **({"completed_at": iso(self.now)} if self.dated else {})}
        self.tell("warming.session_completed", saved_account_id=self.account)

    def do_appeal(self) -> None:
        row = {"id": f"ban_{len(self.bans)}", "account_id": self.account, "bundle_id": "bdl_1"}
        self.bans.append({**row, "status": "appeal_pending", "reported_at": iso(self.now), "updated_at": iso(self.now)})
        self.tell("account.ban_appeal.submitted", saved_account_id=self.account)

    def do_accept(self) -> None:
        self.bans[-1] |= {"status": "appeal_accepted", "decided_at": iso(self.now), "updated_at": iso(self.now)}
        self.tell("account.ban_appeal.resolved", saved_account_id=self.account, outcome="accepted")

    def do_ban(self) -> None:
        if not self.bans or self.bans[-1]["status"] != "appeal_pending":
            self.do_appeal()
            self.sent.pop()
        self.bans[-1] |= {"status": "appeal_refused", "decided_at": iso(self.now), "updated_at": iso(self.now)}
        self.tell("account.banned", saved_account_id=self.account, banned_at=self.now.isoformat())

    def do_remake(self) -> None:
        self.number += 1
        self.sessions = []
        self.bundle |= {"saved_account_id": self.account, "account_status": "in_review"}
        self.tell("account.remade", **({"saved_account_id": self.account} if self.names_remakes else {}))

    def do_cancel(self) -> None:
        self.bundle["status"] = "cancelled"
        self.tell("bundle.cancelled")

    def do_publish(self) -> None:
        self.bundle["status"] = "published"
        self.tell("bundle.published")

    def do_configure(self) -> None:
        self.slot = {"video_id": "tp_1", "position": 1, "external_ref": OURS, "status": "configured"}
        self.tell("video.configured", video_id="tp_1", position=1)

    def do_hand(self) -> None:
        self.slot["status"] = "published"
        self.tell("video.published", video_id="tp_1", position=1)

    def do_post(self) -> None:
        url = "https://t.example/1"
        self.slot |= {"status": "in_review", "platform_url": url}
        if self.dated:
            self.slot["posted_at"] = iso(self.now)
        self.tell("video.in_review", video_id="tp_1", position=1, platform_url=url)

    def do_correct(self) -> None:
        self.slot["status"] = "pending_corrections"
        self.tell("video.pending_corrections", video_id="tp_1", position=1)

    def do_end_review(self) -> None:
        self.slot["status"] = "finalized"
        self.tell("video.finalized", video_id="tp_1", position=1, platform_url="https://t.example/1")


NEXT = {
    "create": ["finalize", "cancel"],
    "finalize": ["warm", "ban", "appeal", "cancel"],
    "warm": ["end_warming", "ban", "appeal"],
    "end_warming": ["warm", "ban", "appeal", "cancel"],
    "appeal": ["accept", "ban"],
    "accept": ["warm", "ban"],
    "ban": ["remake"],
    "remake": ["finalize"],
    "cancel": ["publish"],
    "publish": ["finalize"],
}
ON_THE_WAY = ["configure", "hand", "post", "correct", "end_review"]


@st.composite
def truths(draw: st.DrawFn, *, dated: bool = False) -> Truth:
    """`dated`: rows tell since when things are so; otherwise they may."""
    truth = Truth(dated or draw(st.booleans()), draw(st.booleans()))
    last = "create"
    truth.happen(last)
    steps = draw(st.integers(0, len(ON_THE_WAY)))
    way = [step for step in ON_THE_WAY[:steps] if step != "correct" or draw(st.booleans())]
    for _ in range(draw(st.integers(1, 8))):
        if way and draw(st.booleans()):
            truth.happen(way.pop(0))
            continue
        last = draw(st.sampled_from(NEXT[last]))
        truth.happen(last)
    return truth


@dataclass(frozen=True)
class Read:
    """What was read at one hour."""

    row: dict[str, Any]
    closely: bool
    """Whether the bundle was looked at, rather than a page of a list."""

    def bodies(self) -> list[dict[str, Any]]:
        at = self.row["asked_at"]
        facts = bundle_facts(self.row["bundle"], at, self.row["sessions"] if self.closely else None)
        facts += [fact for ban in self.row["bans"] for fact in ban_facts(ban, self.row["bundle"], at)]
        slots = slot_facts("bdl_1", [self.row["slot"]] if self.row["slot"] else [], at)
        return [
            {"source": "GET /bundles/{id}", "asked_at": iso(at), "facts": facts},
            {"source": "GET /bundles/{id}/videos", "asked_at": iso(at), "facts": slots},
        ]


class World(Joins):
    def turn(self, message: Taken) -> Turn:
        turn = super().turn(message)
        turn.now = LATE
        return turn

    def happen(self, seq: int, one: Any) -> None:
        if isinstance(one, Read):
            for body in one.bodies():
                found.take(self.turn(Taken(seq, f"msg_{seq}", "found", "", "live", None, None, b"{}", "{}", 0)), body)
            return
        m = message(one, 0, int(LATE.timestamp()) * 1_000_000)
        taken = Taken(
            seq, m.message_id, m.kind, m.endpoint, m.mode, m.dialect, m.event_id, m.body, m.actor, m.received_at
        )
        judged = judge(taken)
        assert judged.reading is not None, judged.reason
        self.take(judged.reading, taken)


def story(happened: Sequence[Any]) -> list[str]:
    """What happened, for people who have to find out why it went wrong."""
    return [
        f"{one.content['created_at'][11:16]} {one.content['type']}"
        if isinstance(one, Sent)
        else f"read{' closely' if one.closely else ''} {one.row['asked_at']:%H:%M}"
        for one in happened
    ]


def shown(happened: Sequence[Any], *, ours: bool) -> tuple[Any, ...]:
    """What the bundle and the video are in the end."""
    world = World()
    if ours:
        own = Taken(0, "msg_0", "result", "", "live", None, None, b"{}", "{}", 0)
        turn = world.turn(own)
        world.want(turn, turn.video(OURS))
    for seq, one in enumerate(happened, start=1):
        world.happen(seq, one)
    turn = world.turn(Taken(0, "msg_0", "result", "", "live", None, None, b"{}", "{}", 0))
    turn.load([Bundle.key("bdl_1")])
    view = turn.view("bdl_1")
    bundle = (view.state, view.state_since, view.warmed, view.warmed_at, view.holds, view.era, view.flags)
    names = [OURS] if ours else ["tp_1"]
    videos = [world.kept.get(Video.key(name)) for name in names]
    return (
        bundle,
        (view.country, view.platform, view.ban is not None),
        view.saved_account_id,
        [video_view(video.notes, video.steps) for video in videos if video is not None],
    )


def check(alone: Sequence[Any], mixed: Sequence[Any], *, ours: bool) -> None:
    told, seen = shown(alone, ours=ours), shown(mixed, ours=ours)
    if told[2] is None:
        # A webhook may not say which account there is now; that much is learnt by reading.
        told, seen = (*told[:2], *told[3:]), (*seen[:2], *seen[3:])
    assert seen == told, story(mixed)


@st.composite
def histories(draw: st.DrawFn, *, ours: bool) -> tuple[list[Any], list[Any]]:
    """Webhooks, and the same with readings between them in any order."""
    truth = draw(truths())
    if not ours:
        for row in truth.rows:
            row["slot"].pop("external_ref", None)
    else:
        for sent in truth.sent:
            if "video_id" in sent.content["data"]:
                sent.content["data"]["external_ref"] = OURS
    readings = [Read(row, draw(st.booleans())) for row in draw(st.lists(st.sampled_from(truth.rows), max_size=5))]
    return truth.sent, draw(st.permutations([*truth.sent, *readings]))


@profile(400)
@given(histories(ours=False))
def test_readings_between_webhooks_change_nothing_in_the_end(history: tuple[list[Any], list[Any]]) -> None:
    alone, mixed = history
    check(alone, mixed, ours=False)


@profile(250)
@given(histories(ours=True))
def test_readings_change_nothing_of_ours_in_the_end(history: tuple[list[Any], list[Any]]) -> None:
    alone, mixed = history
    check(alone, mixed, ours=True)


@st.composite
def losses(draw: st.DrawFn) -> tuple[Truth, list[Any]]:
    """Of the webhooks only some come, in any order, with readings between them; at the end everything is read once
    more."""
    truth = draw(truths(dated=True))
    kept = [sent for sent in truth.sent if draw(st.booleans())]
    readings = [Read(row, draw(st.booleans())) for row in draw(st.lists(st.sampled_from(truth.rows), max_size=3))]
    last = {**truth.rows[-1], "asked_at": truth.now + 24 * HOUR}
    return truth, [*draw(st.permutations([*kept, *readings])), Read(last, closely=True)]


@profile(250)
@given(losses())
def test_what_webhooks_did_not_tell_is_found_in_the_end(history: tuple[Truth, list[Any]]) -> None:
    truth, mixed = history
    bundle, (*_, banned), account, videos = shown(mixed, ours=False)
    (state, _, warmed, _, holds, *_), (*_, is_banned), _, told = shown(truth.sent, ours=False)
    assert (bundle[0], bundle[2], banned) == (state, warmed, is_banned), story(mixed)
    # Of an account that is banned it makes no difference that it appealed before.
    assert set(bundle[4]) - {"suspended" if banned else ""} == set(holds) - {"suspended" if banned else ""}, story(
        mixed
    )
    if truth.bundle["saved_account_id"] is not None:
        assert account == truth.bundle["saved_account_id"], story(mixed)
    assert [video.state for video in videos] == [video.state for video in told], story(mixed)
