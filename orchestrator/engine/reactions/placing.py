"""Choosing accounts: for a video that a campaign wants, for one that has to leave its account, for those that wait."""

from __future__ import annotations

import hashlib
from datetime import date, timedelta
from typing import Any

import msgspec

from orchestrator.desk import Place, market_name, slice_after
from orchestrator.domain.decisions import CandidatesJudged, VideoPlanned, VideoRerouted, VideoRescheduled
from orchestrator.domain.facts import Key
from orchestrator.domain.house import Market as MarketAggregate
from orchestrator.domain.video import Leg, Plan, Video
from orchestrator.engine.reactions.attempts import (
    abandon,
    deadline,
    file,
    hand,
    handover_id,
    hold,
    leave,
    look_again_tomorrow,
    place_again_soon,
    plan_of,
    wait,
)
from orchestrator.engine.turn import Turn
from orchestrator.policies import recovery
from orchestrator.policies.placement import NO_SLOT, Choice, Market, Wish

SLICE = 100
"""Videos that wait, and are placed by one message."""
OF_A_PLAN = 20
OF_A_REROUTE = 200
"""How many verdicts are kept."""


def market_of(turn: Turn, place: Place) -> Market:
    """The accounts of a market, as they are judged in this turn."""
    found = turn.markets.get(place)
    if found is None:
        found = turn.markets[place] = new_market(turn, place)
    return found


def new_market(turn: Turn, place: Place, *, without_slots: bool = False) -> Market:
    """The accounts of a market, as they are now; `without_slots`: as if slots did not count."""
    entries = turn.desk.bundles_at(place)
    candidates = [turn.desk.candidate(entry, turn.rules.group_of(entry.bundle_id)) for entry in entries]
    return Market(*place, candidates, turn.rules, turn.desk.ledger, turn.now, without_slots=without_slots)


def wish_of(video_id: str, plan: Plan) -> Wish:
    wish = plan.wish
    return Wish(
        video_id=video_id,
        campaign_id=wish["campaign_id"],
        target=wish["target"],
        ref=wish["ref"],
        country=wish["country"],
        platform=wish["platform"],
        group=wish["group"],
        starts=_day(wish["starts"]),
        ends=_day(wish["ends"]),
        bundles=tuple(wish["bundles"]) if wish["bundles"] is not None else None,
        accounts=wish["accounts"],
        day=_day(wish["day"]),
    )


def _day(text: str | None) -> date | None:
    return None if text is None else date.fromisoformat(text)


def place(turn: Turn, video: Video, *, prefer: tuple[str, date] | None = None) -> Choice | None:
    """Finds the first account for a video. It waits where nobody qualifies (None: where nothing may be placed now),
    which people are told once for their whole campaign."""
    plan = plan_of(video)
    wish = wish_of(video.video_id, plan)
    shut = turn.desk.market(wish.country, wish.platform).closed_by
    if shut is not None:
        if plan.end != "waiting":
            wait(turn, video, shut, None, {}, is_told=True)
        return None
    choice = market_of(turn, (wish.country, wish.platform)).place(wish, prefer=prefer, keep=OF_A_PLAN)
    if choice.bundle_id is None or choice.day is None:
        if plan.end != "waiting" or plan.reason != choice.reason:
            wait(turn, video, choice.reason, None, _candidates(turn, choice, None), is_told=True)
        _want_slots(turn, plan, choice)
        return choice
    turn.record(
        video,
        VideoPlanned,
        reason=choice.reason,
        number=1,
        bundle_id=choice.bundle_id,
        account=choice.account,
        target_day=choice.day.isoformat(),
        candidates=_candidates(turn, choice, None),
    )
    _then(turn, video)
    return choice


def _then(turn: Turn, video: Video) -> None:
    """The video has a new account: it is handed over, unless the platform rejected its content before."""
    file(turn, video.video_id, plan_of(video))
    hand(turn, video)
    plan = plan_of(video)
    why = turn.desk.rejected(plan.wish["campaign_id"], plan.wish["ref"])
    if why is not None and plan.held is None and not plan.is_cleared:
        hold(turn, video, why, None, why="stop")


def move(
    turn: Turn,
    video: Video,
    plan: Plan,
    leg: Leg | None,
    why: str,
    answers: Key | None,
    *,
    to: str | None = None,
    actor: dict[str, str] | None = None,
) -> None:
    """Takes the video to another account (only to the bundle `to`, where one is named), else has it wait or gives it
    up. `leg` is the attempt to leave, None for a video that waits."""
    wish = plan.wish
    final = why_not_moved(turn, plan, actor)
    if final is not None:
        if leg is not None:
            leave(turn, video, plan, leg, why, answers)
        abandon(turn, video, plan, f"{why}; {final}", answers)
        return
    shut = turn.desk.market(wish["country"], wish["platform"]).closed_by
    if shut is not None:
        if leg is not None:
            leave(turn, video, plan, leg, why, answers)
        wait(turn, video, f"{why}; {shut}", answers, {})
        return
    choice = choose(turn, video, plan, to=to)
    market = market_of(turn, _place(plan)) if plan.legs or to is not None else None
    candidates = _candidates(turn, choice, market)
    if choice.bundle_id is None or choice.day is None:
        if leg is not None:
            leave(turn, video, plan, leg, why, answers)
        wait(turn, video, f"{why}; {choice.reason}", answers, candidates)
        _want_slots(turn, plan, choice)
        return
    last = plan.legs[-1].bundle_id if plan.legs else None
    if leg is not None:
        leave(turn, video, plan, leg, why, answers)
    turn.record(
        video,
        VideoRerouted if plan.legs else VideoPlanned,
        reason=f"{why}; {choice.reason}" if why else choice.reason,
        answers=answers,
        actor=actor,
        number=len(plan.legs) + 1,
        from_bundle=last,
        bundle_id=choice.bundle_id,
        account=choice.account,
        target_day=choice.day.isoformat(),
        candidates=candidates,
    )
    _then(turn, video)


def why_not_moved(turn: Turn, plan: Plan, actor: dict[str, str] | None = None) -> str | None:
    """Why the video goes to no other account, whoever has room; what a person (`actor`) orders is bound by less."""
    wish = plan.wish
    policy = turn.rules.at(wish["country"], wish["platform"])
    rejected = turn.desk.rejected(wish["campaign_id"], wish["ref"])
    if rejected is not None and not (plan.is_cleared and not plan.legs):
        return f"it goes nowhere else: {rejected}"
    if actor is None and plan.legs and not policy.reroute.enabled:
        return f"reroutes are off for {wish['platform']} in {wish['country']}"
    if actor is None and len(plan.legs) > policy.reroute.max:
        return f"it was rerouted {len(plan.legs) - 1} times, which is all that the policy allows"
    return None


def moves_elsewhere(turn: Turn, video: Video, plan: Plan, leg: Leg, why: str) -> bool:
    """Takes the video to another account if one has room for it now; else it stays where it is, for want of a slot
    there. Whether it moved, or was given up after its deadline."""
    place = _place(plan)
    if turn.desk.market(*place).closed_by is None and why_not_moved(turn, plan) is None:
        choice = choose(turn, video, plan)
        if choice.bundle_id is not None:
            move(turn, video, plan, leg, why, None)
            return True
    ends = deadline(turn, plan)
    if ends is not None and turn.now >= ends:
        text = f"its deadline has passed: {why}"
        leave(turn, video, plan, leg, text, None)
        abandon(turn, video, plan, text)
        return True
    turn.work("slots", country=place[0], platform=place[1])
    look_again_tomorrow(turn, place)
    return False


def _want_slots(turn: Turn, plan: Plan, choice: Choice) -> None:
    """Has slots ordered where a video may wait for nothing else."""
    if NO_SLOT in choice.counts:
        country, platform = _place(plan)
        turn.work("slots", country=country, platform=platform)


def _place(plan: Plan) -> Place:
    return plan.wish["country"], plan.wish["platform"]


def choose(turn: Turn, video: Video, plan: Plan, *, to: str | None = None, market: Market | None = None) -> Choice:
    """The account that a video moves to, and its day there. Nothing is recorded."""
    wish = wish_of(video.video_id, plan)
    market = market or market_of(turn, (wish.country, wish.platform))
    if not plan.legs and to is None:
        return market.place(wish, keep=OF_A_PLAN)
    policy = turn.rules.at(wish.country, wish.platform)
    today = turn.now.astimezone(policy.zone(wish.country)).date()
    original = _day(plan.original_day) or wish.day or wish.starts or today
    day = date.fromisoformat(plan.legs[-1].target_day) if plan.legs else original
    excluded = {}
    for leg in plan.legs:
        why = (
            "failed this video before" if leg.failure is not None or leg.state == "failed" else "had this video before"
        )
        excluded[turn.desk.account_of(leg.bundle_id)] = excluded[leg.account] = why
    for note in plan.elsewhere:
        excluded.setdefault(turn.desk.account_of(str(note.bundle_id)), "reported this video before")
    return market.reroute(
        wish, excluded=excluded, day=day, last_day=original + policy.reroute.deadline, keep=OF_A_REROUTE, only=to
    )


def _candidates(turn: Turn, choice: Choice, market: Market | None) -> dict[str, Any]:
    """The verdicts as they are written into an event. Those that every video of this moment would meet are recorded
    once on the market, and only referred to."""
    own = [[verdict.bundle_id, verdict.why, int(verdict.chosen)] for verdict in choice.verdicts]
    counts = dict(sorted(choice.counts.items()))
    if market is None:
        return {"judged": None, "own": own, "counts": counts}
    why: dict[str, list[str]] = {}
    for verdict in market.shared()[:OF_A_REROUTE]:
        why.setdefault(verdict.why, []).append(verdict.bundle_id)
    if not why:
        return {"judged": None, "own": own, "counts": counts}
    entry = turn.desk.market(market.country, market.platform)
    judged = entry.judged
    digest = hashlib.sha256(msgspec.json.encode(why)).hexdigest()[:32]
    if judged is None or judged[0] != digest:
        aggregate = turn.market(market.country, market.platform)
        turn.record(aggregate, CandidatesJudged, country=market.country, platform=market.platform, why=why)
        judged = (digest, aggregate.version)
        name = market_name(market.country, market.platform)
        turn.desk.put("market", name, msgspec.structs.replace(entry, judged=judged))
    key = MarketAggregate.key(market.country, market.platform)
    return {"judged": {"market": key, "version": judged[1]}, "own": own, "counts": counts}


def place_waiting(turn: Turn, place_: Place, after: str = "") -> None:
    """Tries again for the videos that wait in a market."""
    market = turn.desk.market(*place_)
    if not after and market.placing:
        turn.desk.put("market", market_name(*place_), msgspec.structs.replace(market, placing=False))
    part, later = slice_after(turn.desk.waiting_at(place_), after, SLICE)
    turn.load(Video.key(name) for name in part)
    for name in part:
        place_again(turn, turn.video(name))
    if later is not None:
        turn.work("place", country=place_[0], platform=place_[1], after=later)


def next_day_begins(turn: Turn, place_: Place) -> None:
    """Who had no room may have some now."""
    if turn.policies is None or not turn.desk.waiting_at(place_):
        return
    place_again_soon(turn, place_)
    look_again_tomorrow(turn, place_)


def place_again(turn: Turn, video: Video) -> None:
    """Tries again for a video that may wait."""
    plan = plan_of(video)
    if turn.policies is None or turn.desk.market(*_place(plan)).closed_by is not None:
        return
    entry = turn.desk.video(video.video_id)
    leg = plan.live if entry is not None and entry.slotless else None
    if (plan.end != "waiting" and leg is None) or plan.held is not None or plan.posts:
        return
    campaign = turn.desk.campaign(plan.wish["campaign_id"])
    if campaign is not None and campaign.status == "paused":
        return
    choice = choose(turn, video, plan)
    if choice.bundle_id is None:
        _want_slots(turn, plan, choice)
    elif leg is None or why_not_moved(turn, plan) is None:
        move(turn, video, plan, leg, "an account qualifies now", None)
        text, once = f"video {video.video_id} waits no more", f"{video.video_id}:{len(plan.legs)}"
        turn.resolve("waiting", video.video_id, text, once=once, video_id=video.video_id)


def moves_on(turn: Turn, video: Video, plan: Plan, leg: Leg) -> bool:
    """Gives the attempt another day where its own passed while it had to wait."""
    if leg.is_with_vendor:
        return False
    wish = plan.wish
    policy = turn.rules.at(wish["country"], wish["platform"])
    today = turn.now.astimezone(policy.zone(wish["country"])).date()
    bundle = turn.desk.bundle(leg.bundle_id)
    is_new = bundle is not None and not bundle.delivered
    lead = timedelta(days=policy.posting.lead_new if is_new else policy.posting.lead_existing)
    # A further try is for the slot that TokPortal has already, as long as its window is open.
    earliest = today + lead if leg.tries == 1 else today - timedelta(days=1)
    if date.fromisoformat(leg.target_day) >= earliest:
        return False
    is_over = f"{leg.target_day} has passed"
    if not _takes_another_day(turn, video, plan, leg, today, f"{leg.target_day} passed while it had to wait", is_over):
        if recovery.may_post(leg):
            return False  # What TokPortal may have of it is not to be left behind for want of another day.
        why = f"{is_over}, and {leg.bundle_id} has no room until {_last_day(turn, plan, leg)}"
        leave(turn, video, plan, leg, why, None)
        wait(turn, video, why, None, {})
    return True


def reschedule(turn: Turn, video: Video, plan: Plan, leg: Leg, why: str, first: date | None) -> recovery.Course:
    """Gives the attempt another day on its account, not before `first`; what is to be done where there is none: the
    video leaves it."""
    day = first or turn.now.astimezone(turn.rules.at(*_place(plan)).zone(plan.wish["country"])).date()
    if _takes_another_day(turn, video, plan, leg, day, why, why):
        return recovery.Course(recovery.RESCHEDULE)
    why = f"{why}, and it has no room on another day until {_last_day(turn, plan, leg)}"
    if recovery.may_post(leg):
        return recovery.in_turn(recovery.Course(recovery.ASK, why), leg, turn.now)
    return recovery.Course(recovery.MOVE, why)


def _last_day(turn: Turn, plan: Plan, leg: Leg) -> date:
    policy = turn.rules.at(*_place(plan))
    today = turn.now.astimezone(policy.zone(plan.wish["country"])).date()
    return max(date.fromisoformat(plan.original_day or leg.target_day), today) + policy.reroute.deadline


def _takes_another_day(turn: Turn, video: Video, plan: Plan, leg: Leg, first: date, reason: str, is_over: str) -> bool:
    """Whether its account has room on a day from `first` on. `is_over`: why the command for the old day is not sent."""
    day = market_of(turn, _place(plan)).next_day(leg.bundle_id, first, _last_day(turn, plan, leg))
    if day is None:
        return False
    old = handover_id(plan, video.video_id, leg)
    turn.move_command(old, "discarded", is_over, of=("pending", "held"))
    turn.record(
        video,
        VideoRescheduled,
        reason=f"{reason}: {day} instead",
        number=leg.number,
        bundle_id=leg.bundle_id,
        target_day=day.isoformat(),
    )
    hand(turn, video)
    return True
