"""The invariants, checked from outside: from the log and the journal alone, by rules written a second time."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from orchestrator.domain.bundle import bundle_view
from orchestrator.domain.decisions import Ours, PoliciesApplied, read_note
from orchestrator.domain.facts import KINDS, BundleMentioned, Fact, Note, Reinstated, VideoFact
from orchestrator.policies.schema import Policies, parse


class Broken(AssertionError):
    """An invariant does not hold. The first word says which."""


def check(invariant: int, condition: bool, text: str) -> None:
    if not condition:
        raise Broken(f"{invariant}: {text}")


@dataclass
class Leg:
    bundle_id: str
    day: date
    left: bool = False
    sent: bool = False
    over: bool = False
    """TokPortal said that it does not post it: failed, or its slot free, or the command refused."""
    failed: bool = False
    posted: bool = False
    taken_at: datetime | None = None
    """When it got its slot."""
    refusals: int = 0
    """Want of credits aside."""


@dataclass
class Video:
    wish: dict[str, Any] | None = None
    legs: list[Leg] = field(default_factory=list)
    ended: bool = False
    held: bool = False
    released: bool = False
    since: Any = None


class Checker:
    """Takes events in the order of the log; raises `Broken` at the first that breaks an invariant."""

    def __init__(self) -> None:
        self.policies: Policies = parse("")
        self.bundles: defaultdict[str, list[Note]] = defaultdict(list)
        self.steps: defaultdict[str, list[Any]] = defaultdict(list)
        self.accounts: defaultdict[str, list[Note]] = defaultdict(list)
        self.videos: defaultdict[str, Video] = defaultdict(Video)
        self.rejected: set[tuple[str, str]] = set()
        self.facts: Counter[tuple[str, str]] = Counter()
        self.judged: dict[tuple[str, int], set[str]] = {}
        self.closed: set[tuple[str, str]] = set()
        self.slots: dict[str, tuple[int, datetime]] = {}
        self.full: defaultdict[str, set[date]] = defaultdict(set)

    def take(self, events: Iterable[Any]) -> None:
        for event in events:
            self._take(event)

    def _take(self, event: Any) -> None:
        kind, _, name = event.originator_id.partition(":")
        if isinstance(event, Fact | BundleMentioned | Reinstated):
            note = event.note()
            if isinstance(event, Fact) and event.dialect != "api":
                self.facts[event.event_id, event.dialect] += 1
                check(1, self.facts[event.event_id, event.dialect] == 1, f"{event.event_id} took effect twice")
            if kind == "bundle":
                self.bundles[name].append(note)
            elif kind == "account":
                self.accounts[name].append(note)
            elif isinstance(event, VideoFact):
                self._fact(self.videos[name], note)
        elif isinstance(event, Ours):
            self._ours(event, kind, name)

    def _fact(self, video: Video, note: Note) -> None:
        for leg in video.legs:
            if leg.bundle_id != note.bundle_id:
                continue
            if KINDS[note.name].state is not None:
                leg.taken_at = min(leg.taken_at or note.occurred_at, note.occurred_at)
            if note.name == "VideoPosted":
                leg.posted = True
            elif note.name == "PostFailed":
                retry = note.detail.get("retry") or {}
                leg.failed = leg.failed or retry.get("will_retry") is not True
                leg.over = leg.over or retry.get("will_retry") is not True

    def _ours(self, event: Ours, kind: str, name: str) -> None:
        if event.decision is not None:
            check(6, bool(event.reason), f"{type(event).__name__} of {name} gives no reason")
            check(6, event.policy is not None, f"{type(event).__name__} of {name} names no policies")
            check(6, event.message_id.startswith("msg_"), f"{type(event).__name__} of {name} names no cause")
        if isinstance(event, PoliciesApplied):
            self.policies = parse(event.data["text"])
        topic = type(event).__name__
        if topic == "CandidatesJudged":
            names = {bundle for bundles in event.data["why"].values() for bundle in bundles}
            self.judged[event.originator_id, event.originator_version] = names
        elif topic == "BreakerOpened" or topic == "MarketPaused":
            self.closed.add((event.data["country"], event.data["platform"]))
        elif topic == "MarketResumed":
            self.closed.discard((event.data["country"], event.data["platform"]))
        elif topic == "SlotsCounted":
            self.slots[name] = event.data["free"], datetime.fromisoformat(event.data["at"])
        elif topic == "DayFilled":
            self.full[name].add(date.fromisoformat(event.data["day"]))
        if kind == "bundle":
            self.steps[name].append(event.step())
        elif kind == "video":
            self._step(self.videos[name], topic, event, name)

    def _step(self, video: Video, topic: str, event: Ours, name: str) -> None:
        data = event.data
        if topic == "VideoRequested":
            video.wish = data
        elif topic == "FactsAdopted":
            for written in data["notes"]:
                self._fact(video, read_note(written))
        elif topic in ("VideoPlanned", "VideoRerouted"):
            self._placed(video, topic, event, name)
        elif topic == "VideoRescheduled":
            leg = video.legs[data["number"] - 1]
            check(3, not leg.left, f"{name} is moved on an attempt that was left")
            leg.day = date.fromisoformat(data["target_day"])
            self._check_is_open(leg.bundle_id, leg.day, name)
        elif topic == "VideoRetried":
            leg = video.legs[data["number"] - 1]
            check(3, data["number"] == len(video.legs), f"{name} is tried again on an attempt that is not the last")
            leg.left = leg.sent = leg.over = leg.failed = video.ended = False
        elif topic == "AttemptCancelled":
            video.legs[data["number"] - 1].left = True
        elif topic in ("VideoWaiting", "VideoAbandoned", "VideoCancelled"):
            check(3, all(leg.left for leg in video.legs), f"{name} ends with an attempt that may still post")
            video.ended = True
            if topic == "VideoAbandoned" and event.reason is not None and "platform rejected" in event.reason:
                assert video.wish is not None
                self.rejected.add((video.wish["campaign_id"], video.wish["ref"]))
        elif topic == "VideoHeld":
            video.held = True
        elif topic == "VideoReleased":
            video.held, video.released = False, True
        elif topic == "SlotAnswered":
            video.legs[data["number"] - 1].over = data["slot"] == "free"
        elif topic == "HandoverRefused":
            leg = video.legs[data["number"] - 1]
            leg.sent, leg.over = False, True
            leg.refusals += "details" in data and data["code"] != "INSUFFICIENT_CREDITS"
            check(4, leg.refusals <= 6, f"{leg.bundle_id} refused {name} {leg.refusals} times, and goes on")
        elif topic == "HandoverStarted":
            self._handed_over(video, data, name)

    def _placed(self, video: Video, topic: str, event: Ours, name: str) -> None:
        data, wish = event.data, video.wish
        assert wish is not None
        check(3, all(leg.left for leg in video.legs), f"{name} gets a second live attempt")
        check(3, data["number"] == len(video.legs) + 1, f"{name}'s attempts are not numbered one after another")
        place = (wish["country"], wish["platform"])
        bundle_id = data["bundle_id"]
        view = self.view(bundle_id)
        check(4, (view.country, view.platform) == place, f"{name} leaves {place} for {bundle_id}")
        check(4, self.policies.group_of(bundle_id) == wish["group"], f"{name} leaves its group for {bundle_id}")
        policy = self.policies.at(*place)
        why = self.why_not_postable(view, policy)
        check(4, why is None, f"{name} goes to {bundle_id}, which is {why}")
        check(4, place not in self.closed, f"{name} goes to {bundle_id} while its market is closed")
        account = self.account(bundle_id)
        for leg in video.legs:
            check(4, self.account(leg.bundle_id) != account, f"{name} returns to the account {account}")
        content = (wish["campaign_id"], wish["ref"])
        for other_name, other in self.videos.items():
            if other is not video and other.wish and (other.wish["campaign_id"], other.wish["ref"]) == content:
                carried = {self.account(leg.bundle_id) for leg in other.legs}
                check(4, account not in carried, f"{name} goes to {account}, which has the content by {other_name}")
        day = date.fromisoformat(data["target_day"])
        self._check_caps(account, day, policy, view, name)
        self._check_is_open(bundle_id, day, name)
        self._check_slots(bundle_id, name)
        if topic == "VideoRerouted":
            check(5, content not in self.rejected, f"{name} is rerouted, and the platform rejected its content")
        self._check_verdicts(event, name, bundle_id)
        video.legs.append(Leg(bundle_id, day))
        video.ended = False

    def _check_caps(self, account: str, day: date, policy: Any, view: Any, name: str) -> None:
        booked = sum(
            leg.day == day and self.account(leg.bundle_id) == account and (not leg.left or leg.posted or leg.failed)
            for video in self.videos.values()
            for leg in video.legs
        )
        cap = policy.posting.per_day
        check(4, booked < cap, f"{name} is one too many for {account} on {day}: {booked} of {cap}")
        weekday = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")[day.weekday()]
        check(4, weekday in policy.posting.days, f"{name} is to be posted on a {weekday}")
        for first, last in policy.posting.blackout:
            check(4, not first <= day <= last, f"{name} is to be posted on {day}, which is blacked out")

    def _check_is_open(self, bundle_id: str, day: date, name: str) -> None:
        check(4, day not in self.full[bundle_id], f"{name} is planned for {day}, which is full there on {bundle_id}")

    def _check_slots(self, bundle_id: str, name: str) -> None:
        """As many videos as were planned there and not counted need a slot, and one more for this one."""
        if bundle_id not in self.slots:
            return
        free, counted_at = self.slots[bundle_id]
        live = [
            v.legs[-1] for v in self.videos.values() if v.legs and not v.ended and not any(x.posted for x in v.legs)
        ]
        uncounted = [leg for leg in live if not leg.left and leg.bundle_id == bundle_id]
        using = sum(leg.taken_at is None or leg.taken_at > counted_at for leg in uncounted)
        check(4, using < free, f"{name} goes to {bundle_id}, where {using} videos need its {free} free slots")

    def _check_verdicts(self, event: Ours, name: str, bundle_id: str) -> None:
        candidates = event.data["candidates"]
        chosen = [bundle for bundle, _, is_chosen in candidates["own"] if is_chosen]
        check(6, chosen == [bundle_id], f"{name} went to {bundle_id}, and {chosen} was chosen")
        check(6, all(why for _, why, _ in candidates["own"]), f"a candidate for {name} has no verdict")
        judged = candidates["judged"]
        if judged is not None:
            check(6, (judged["market"], judged["version"]) in self.judged, f"verdicts for {name} are nowhere")

    def _handed_over(self, video: Video, data: dict[str, Any], name: str) -> None:
        assert video.wish is not None
        leg = video.legs[data["number"] - 1]
        check(3, not leg.left, f"{name} is handed over on an attempt that was left")
        check(5, not video.held, f"{name} is handed over while it is held")
        content = (video.wish["campaign_id"], video.wish["ref"])
        check(5, content not in self.rejected or video.released, f"rejected content of {name} is handed over")
        for earlier in video.legs[: data["number"] - 1]:
            is_over = earlier.over or not earlier.sent or self.was_banned(earlier.bundle_id)
            check(3, is_over, f"{name} is handed to {leg.bundle_id} while {earlier.bundle_id} may still post it")
        place = (video.wish["country"], video.wish["platform"])
        check(4, place not in self.closed, f"{name} is handed over while its market is closed")
        has_slot = leg.taken_at is not None or self.slots.get(leg.bundle_id, (1,))[0] != 0
        check(4, has_slot, f"{name} is handed to {leg.bundle_id}, which has no free slot")
        leg.sent, leg.over = True, False

    # What bundles are.

    def view(self, bundle_id: str) -> Any:
        own = self.bundles[bundle_id]
        named = {note.account for note in own if note.account}
        kin = [
            notes
            for other, notes in self.bundles.items()
            if other != bundle_id and named & {note.account for note in notes if note.account}
        ]
        return bundle_view(own, self.accounts, kin, self.steps[bundle_id])

    def account(self, bundle_id: str) -> str:
        return self.view(bundle_id).saved_account_id or bundle_id

    def was_banned(self, bundle_id: str) -> bool:
        return any(note.name in ("BundleBanned", "AccountRemade") for note in self.bundles[bundle_id])

    @staticmethod
    def why_not_postable(view: Any, policy: Any) -> str | None:
        if view.holds or view.state in ("unknown", "banned", "failed"):
            return ", ".join(view.holds) or str(view.state)
        wanted = policy.posting.postable
        if wanted == "auto":
            nothing_warms = policy.warming.mode == "none" and view.state in ("ready", "completed")
            return None if view.warmed or nothing_warms else f"not warm but {view.state}"
        return None if view.state in wanted or (view.warmed and "completed" in wanted) else f"{view.state}"
