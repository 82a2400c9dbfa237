"""Logs as no engine would write them: facts and decisions in any order, so that read models are tried with more than
what happens to follow from some story."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from eventsourcing.persistence import StoredEvent

from orchestrator.campaigns.spec import CampaignSpec, Content, Target
from orchestrator.domain import decisions as ours
from orchestrator.domain.bundle import Account, Bundle
from orchestrator.domain.campaign import Campaign
from orchestrator.domain.facts import ARTICLE, PUBLIC, BundleFact, BundleMentioned, Reinstated, VideoFact, leaves
from orchestrator.domain.house import Market, Service
from orchestrator.domain.video import Plan, Video
from orchestrator.log import EventMapper

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
ANN = {"kind": "person", "name": "ann"}
POLICIES = (
    "version: 1\n",
    "defaults: {posting: {postable: [ready, completed]}}\ngroups: {acme: [b1, b2]}\n",
    "defaults: {warming: {mode: none}}\ncountries: {US: {posting: {postable: [warming]}}}\ngroups: {beta: [b2, b3]}\n",
)
BUNDLES = [f"b{number}" for number in range(6)]
ACCOUNTS = ["s1", "s2", "s3", None]
STRANGERS = [f"v{number}" for number in range(8)]
PLACES = [(country, platform) for country in ("US", "FR") for platform in ("tiktok", "instagram")]


def wild(seed: int, acts: int = 250) -> list[StoredEvent]:
    """A random log; the same one for the same seed."""
    world = _World(random.Random(seed))
    for _ in range(acts):
        world.act()
    return world.log


class _World:
    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.log: list[StoredEvent] = []
        self.mapper = EventMapper()
        self.now = NOON
        self.known: dict[str, Any] = {}
        self.open: set[tuple[str, str]] = set()
        self.acts: list[Callable[[], None]] = [
            *[self.bundle_fact] * 6,
            *[self.account_fact] * 2,
            *[self.video_fact] * 6,
            *[self.bundle_order] * 3,
            *[self.want] * 2,
            *[self.attempt] * 8,
            *[self.merge] * 1,
            *[self.campaign] * 2,
            *[self.market] * 2,
            self.policies,
        ]

    def act(self) -> None:
        self.now += timedelta(seconds=self.rng.randrange(90))
        self.rng.choice(self.acts)()

    def get(self, kind: type[Any], *name: str) -> Any:
        key = kind.key(*name) if name else kind.KEY
        if key not in self.known:
            self.known[key] = kind.register(*name, message_id=self.message_id, now=self.now)
            self.collect(self.known[key])
        return self.known[key]

    @property
    def message_id(self) -> str:
        return f"msg_{len(self.log)}"

    def record(self, aggregate: Any, kind: type[Any], **values: Any) -> None:
        aggregate.record(kind, timestamp=self.now, message_id=self.message_id, **values)
        self.collect(aggregate)

    def collect(self, aggregate: Any) -> None:
        self.log += [self.mapper.to_stored_event(event) for _, event in aggregate.collect()]

    def ours(self, aggregate: Any, kind: type[ours.Ours], answers: Any = None, **data: Any) -> None:
        reason = self.rng.choice([None, "because", "why not"])
        actor, policy = self.rng.choice([(ANN, None), (ours.POLICY, "abc")])
        self.record(aggregate, kind, reason=reason, actor=actor, policy=policy, answers=answers, data=data)

    def fact(self, aggregate: Any, kind: type[Any], bundle: str | None, account: str | None, **data: Any) -> None:
        self.record(
            aggregate,
            kind,
            occurred_at=NOON + timedelta(minutes=self.rng.randrange(40)),
            event_id=f"evt_{len(self.log)}",
            dialect=self.rng.choice([ARTICLE, PUBLIC]),
            bundle_id=bundle,
            account=account,
            country=self.rng.choice(["US", "FR", None]),
            platform=self.rng.choice(["tiktok", "instagram", None]),
            data=data,
        )

    # What the vendor reports.

    def bundle_fact(self) -> None:
        name = self.rng.choice(BUNDLES)
        bundle = self.get(Bundle, name)
        kind = self.rng.choice([*leaves(BundleFact), BundleMentioned, Reinstated])
        if kind is BundleMentioned or kind is Reinstated:
            at = {"occurred_at": self.now, "event_id": f"evt_{len(self.log)}", "dialect": PUBLIC}
            if kind is Reinstated:
                self.record(bundle, kind, **at, reason=None, actor=ANN)
            else:
                self.record(bundle, kind, **at, account=self.rng.choice(ACCOUNTS), country="US", platform=None)
            return
        outcome = self.rng.choice(["accepted", "refused", None])
        self.fact(bundle, kind, name, self.rng.choice(ACCOUNTS), username=f"u{name}", outcome=outcome)

    def account_fact(self) -> None:
        name = self.rng.choice(["s1", "s2", "s3"])
        self.fact(self.get(Account, name), self.rng.choice(leaves(BundleFact)), None, name)

    def video_fact(self) -> None:
        name, bundle = self.rng.choice([*STRANGERS, *self.wanted()]), self.rng.choice(BUNDLES)
        self.get(Bundle, bundle)
        if not self.is_merged(name):
            code = self.rng.choice(["network_error", "content_policy"])
            kind = self.rng.choice(leaves(VideoFact))
            self.fact(self.get(Video, name), kind, bundle, None, error_code=code, url="https://example.com/1")

    def wanted(self) -> list[str]:
        return [key.removeprefix("video:") for key in self.known if key.startswith("video:w")]

    def is_merged(self, name: str) -> bool:
        found = self.known.get(Video.key(name))
        return found is not None and any(step.name == "Merged" for step in found.steps)

    # What is decided.

    def bundle_order(self) -> None:
        bundle = self.get(Bundle, self.rng.choice(BUNDLES))
        if self.rng.random() < 0.3:
            total = self.rng.choice([None, 10])
            at = self.now.isoformat()
            self.ours(bundle, ours.SlotsCounted, bundle_id=bundle.bundle_id, total=total, free=len(self.log) % 7, at=at)
            self.ours(bundle, ours.DayFilled, day=f"2026-11-2{len(self.log) % 9}", count=3)
            return
        kinds = (ours.BundlePaused, ours.BundleResumed, ours.ReviewRequested, ours.Reviewed, ours.WarmingRequested)
        kind = self.rng.choice([*kinds, ours.CommandRefused])
        up_to = max((note.key for note in bundle.notes), default=None)
        self.ours(bundle, kind, up_to=ours.write_key(up_to) if up_to is not None else None)

    def want(self) -> None:
        video = self.get(Video, f"w{len(self.wanted())}")
        country, platform = self.rng.choice(PLACES)
        campaign = self.rng.choice(["cmp_1", "cmp_2"])
        self.ours(
            video,
            ours.VideoRequested,
            campaign_id=campaign,
            target=0,
            ref=self.rng.choice(["teaser", "trailer"]),
            platform=platform,
            country=country,
            group="default",
            starts=None,
            ends=None,
            bundles=None,
            accounts=None,
            day=None,
        )

    def attempt(self) -> None:
        """Something about an attempt of a video of ours, whether or not it makes sense."""
        if not self.wanted():
            return
        video = self.get(Video, self.rng.choice(self.wanted()))
        plan = Plan(video.notes, video.steps)
        free = [name for name in BUNDLES if name not in {leg.bundle_id for leg in plan.legs}]
        day = f"2026-11-2{self.rng.randrange(1, 8)}"
        answers = self.rng.choice([None, [self.now.isoformat(), 6, "evt_1", PUBLIC]])
        if free and (not plan.legs or self.rng.random() < 0.2):
            bundle = self.rng.choice(free)
            self.get(Bundle, bundle)
            data = {"number": len(plan.legs) + 1, "bundle_id": bundle, "account": bundle, "target_day": day}
            data["candidates"] = self.candidates(bundle)
            if plan.legs:
                self.ours(video, ours.VideoRerouted, answers, from_bundle=plan.legs[-1].bundle_id, **data)
            else:
                self.ours(video, ours.VideoPlanned, answers, **data)
            return
        leg = self.rng.choice(plan.legs)
        on = {"number": leg.number, "bundle_id": leg.bundle_id}
        last = leg.facts[-1].key if leg.facts else None
        since = ours.write_key(last) if last is not None else None
        kind, data = self.rng.choice(
            [
                (ours.VideoRetried, {**on, "tries": leg.tries + 1, "since": since, "not_before": None}),
                (ours.VideoRescheduled, {**on, "target_day": day}),
                (ours.AttemptCancelled, on),
                (ours.HandoverStarted, {**on, "command_id": "c1"}),
                (ours.HandoverRefused, {**on, "command_id": "c1", "code": "no"}),
                (ours.HandoverRefused, {**on, "command_id": "c1", "code": "NO_FREE_SLOT", "details": {}}),
                (ours.ReviewActed, {"order": "finalize", "outcome": "done", "code": None, "status": None}),
                (ours.SlotQuestioned, {**on, "why": "silence", "times": 1, "command_id": "c2"}),
                (ours.SlotAnswered, {**on, "slot": self.rng.choice(["free", "busy", "unknown"])}),
                (ours.SlotJoined, {**on, "vendor_id": "v1", "position": 1, "at": self.now.isoformat()}),
                (ours.VideoWaiting, {"original_day": day, "deadline": None, "candidates": {}}),
                (ours.VideoAbandoned, {"bundle_id": leg.bundle_id}),
                (ours.VideoCancelled, {"bundle_id": leg.bundle_id}),
                (ours.VideoHeld, {"why": "stop"}),
                (ours.VideoReleased, {}),
                (ours.CommandRefused, {"command": "video.retry"}),
            ]
        )
        self.ours(video, kind, answers, **data)

    def candidates(self, chosen: str) -> dict[str, Any]:
        country, platform = self.rng.choice(PLACES)
        market = self.get(Market, country, platform)
        self.ours(market, ours.CandidatesJudged, country=country, platform=platform, why={"banned": ["b9"]})
        judged = {"market": Market.key(country, platform), "version": market.version}
        own = [[chosen, "chosen: least loaded", 1], ["b8", "other group", 0]]
        return {"judged": judged, "own": own, "counts": {"banned": 1, "other group": 1}}

    def merge(self) -> None:
        """A stranger turns out to be ours."""
        strangers = [name for name in STRANGERS if Video.key(name) in self.known and not self.is_merged(name)]
        if not strangers or not self.wanted():
            return
        stranger = self.get(Video, self.rng.choice(strangers))
        video = self.get(Video, self.rng.choice(self.wanted()))
        self.ours(stranger, ours.Merged, video_id=video.video_id)
        notes = [ours.write_note(note) for note in stranger.notes]
        self.ours(video, ours.FactsAdopted, stranger=stranger.video_id, notes=notes)

    def campaign(self) -> None:
        name = self.rng.choice(["cmp_1", "cmp_2", "cmp_3"])
        if Campaign.key(name) not in self.known:
            spec = CampaignSpec(
                name=f"Campaign {name}",
                group="default",
                starts=self.now.date(),
                ends=None,
                videos=(Content("teaser", "video", "https://example.com/1.mp4"),),
                targets=(Target("US", "tiktok"),),
                spread="every_account",
                disclose_as_ads=True,
                ai_content_disclaimer=False,
                origin=self.rng.choice([None, {"system": "hubspot"}]),
                labels={"product": "p1"},
            ).to_json()
            plan = [{"video_id": "w1", "bundle_id": "b1", "target_day": "2026-11-21"}]
            self.ours(self.get(Campaign, name), ours.CampaignDrafted, spec=spec, plan=plan, unmet=[], wanted=2)
            return
        kind, data = self.rng.choice(
            [
                (ours.CampaignStarted, {"existing": {}}),
                (ours.CampaignPlaced, {"placed": 1, "waiting": 1, "moved": [], "unmet": [{"reason": f"{self.now}"}]}),
                (ours.CampaignPaused, {}),
                (ours.CampaignResumed, {}),
                (ours.CampaignCompleted, {}),
                (ours.CampaignCancelled, {}),
                (ours.CommandRefused, {"command": "campaign.start"}),
            ]
        )
        self.ours(self.get(Campaign, name), kind, **data)

    def market(self) -> None:
        place = self.rng.choice(PLACES)
        about: dict[str, Any] = {"country": place[0], "platform": place[1]}
        market = self.get(Market, *place)
        if self.rng.random() < 0.3:
            self.ours(market, ours.MarketPaused, **about)
        elif place in self.open or self.rng.random() < 0.5:
            self.ours(market, ours.MarketResumed, **about, breaker=place in self.open)
            self.open.discard(place)
        else:
            self.ours(market, ours.BreakerOpened, **about, accounts=["s1", "s2"])
            self.open.add(place)

    def policies(self) -> None:
        text = self.rng.choice(POLICIES)
        self.ours(self.get(Service), ours.PoliciesApplied, text=text, sha256="…")
