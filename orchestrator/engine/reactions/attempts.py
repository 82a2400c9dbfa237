"""The single steps of a video's way: handing it over, leaving an attempt behind, waiting, giving up."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

import msgspec

from orchestrator.desk import LegEntry, Place, VideoEntry, market_name
from orchestrator.domain.decisions import (
    AttemptCancelled,
    SlotQuestioned,
    VideoAbandoned,
    VideoHeld,
    VideoRetried,
    VideoWaiting,
    write_key,
)
from orchestrator.domain.facts import Key
from orchestrator.domain.times import iso
from orchestrator.domain.video import Leg, Plan, Video
from orchestrator.engine.reactions import gates, vendor
from orchestrator.engine.turn import Turn, command_id
from orchestrator.outbox import ORDINARY, RECOVERY
from orchestrator.policies import recovery


def plan_of(video: Video) -> Plan:
    return Plan(video.notes, video.steps)


def handover_id(plan: Plan, video_id: str, leg: Leg) -> str:
    """The id of the command that hands this try of this attempt to TokPortal for this day; another one after each
    refusal, since TokPortal answers a key that it knows with what it said before."""
    refusals = [len(leg.refusals)] if leg.refusals else []
    return command_id("configure", video_id, leg.number, leg.tries, leg.target_day, *refusals)


def file(turn: Turn, video_id: str, plan: Plan) -> None:
    """Notes on the desk where the video stands."""
    live = plan.live
    wish = plan.wish
    before = turn.desk.video(video_id)
    bundle = turn.desk.bundle(live.bundle_id) if live is not None else None
    has_slot = bundle is None or bundle.slots_free != 0
    entry = VideoEntry(
        video_id=video_id,
        campaign_id=wish["campaign_id"],
        target=wish["target"],
        ref=wish["ref"],
        country=wish["country"],
        platform=wish["platform"],
        group=wish["group"],
        state=plan.state,
        bundle_id=live.bundle_id if live is not None else None,
        with_vendor=live is not None and live.is_with_vendor,
        held=plan.held is not None,
        cleared=plan.is_cleared,
        legs=tuple(
            LegEntry(leg.bundle_id, leg.target_day, leg.state != "cancelled", leg is live, leg.account, leg.taken_at)
            for leg in plan.legs
        ),
        elsewhere=tuple(sorted({str(note.bundle_id) for note in plan.elsewhere})),
        refused=live.refusal.code if live is not None and live.refusal is not None else None,
        slotless=live is not None and recovery.is_without_slot(live, has_slot),
    )
    turn.desk.put("video", video_id, entry)
    if before is not None and _rooms(before) - _rooms(entry):
        place_again_soon(turn, entry.place)
    if before is not None and before.is_open and not entry.is_open:
        campaign = turn.desk.campaign(entry.campaign_id)
        if campaign is not None and not turn.desk.open_of_campaign(entry.campaign_id):
            turn.work("complete", campaign_id=entry.campaign_id)


def place_again_soon(turn: Turn, place: Place) -> None:
    """Has those who wait in a market tried again, once for however many reasons."""
    market = turn.desk.market(*place)
    if turn.desk.waiting_at(place) and not market.placing:
        turn.desk.put("market", market_name(*place), msgspec.structs.replace(market, placing=True))
        turn.work("place", country=place[0], platform=place[1])


def _rooms(entry: VideoEntry) -> set[tuple[str, str]]:
    return {(leg.bundle_id, leg.day) for leg in entry.legs if leg.booked}


def leave(turn: Turn, video: Video, plan: Plan, leg: Leg, why: str, answers: Key | None, **actor: Any) -> None:
    """Leaves the attempt behind, and takes back what TokPortal was, or would have been, told."""
    turn.record(
        video, AttemptCancelled, reason=why, answers=answers, number=leg.number, bundle_id=leg.bundle_id, **actor
    )
    turn.move_command(
        handover_id(plan, video.video_id, leg), "discarded", why, of=("pending", "held", "dead", "unknown")
    )
    for times in range(1, leg.asked + 1):
        turn.move_command(
            command_id("look_up", video.video_id, leg.number, leg.tries, times),
            "discarded",
            why,
            of=("pending", "held"),
        )
    is_over = leg.is_free or recovery.is_over(leg, turn.desk.state_of(leg.bundle_id))
    if recovery.may_post(leg) and leg.posted is None and not is_over:
        unschedule(turn, video, plan, leg)


def unschedule(turn: Turn, video: Video, plan: Plan, leg: Leg) -> None:
    """Has TokPortal give up what it may have of the attempt."""
    turn.command(
        "unschedule_video",
        command_id("unschedule", video.video_id, leg.number, leg.tries),
        {"bundle_id": leg.bundle_id, "video_id": video.video_id},
        held=gates.sending(turn),
        urgency=RECOVERY,
        **_about(video, plan, leg.bundle_id),
    )


def _about(video: Video, plan: Plan, bundle_id: str | None) -> dict[str, Any]:
    wish = plan.wish
    return {
        "video_id": video.video_id,
        "bundle_id": bundle_id,
        "campaign_id": wish["campaign_id"],
        "country": wish["country"],
        "platform": wish["platform"],
    }


def hand(turn: Turn, video: Video, *, not_before: datetime | None = None) -> None:
    """Writes the command that hands the video to the account of its live attempt."""
    plan = plan_of(video)
    leg = plan.live
    if leg is None:
        raise RuntimeError(f"{video.video_id} has no attempt to hand over")
    file(turn, video.video_id, plan)
    wish = plan.wish
    entry = turn.desk.video(video.video_id)
    campaign = turn.campaign(wish["campaign_id"])
    spec, content = campaign.spec, campaign.contents[wish["ref"]]
    caption = (content.get("captions") or {}).get(wish["country"], content.get("caption"))
    body = {
        "external_ref": video.video_id,
        "bundle_id": leg.bundle_id,
        "target_day": leg.target_day,
        "try": leg.tries,
        "content": {**content, "caption": caption, "captions": None},
        "disclose_as_ads": spec["disclose_as_ads"],
        "ai_content_disclaimer": spec["ai_content_disclaimer"],
    }
    turn.command(
        "configure_video",
        handover_id(plan, video.video_id, leg),
        body,
        held=gates.handover(turn, entry) if entry is not None else None,
        not_before=not_before,
        urgency=RECOVERY if leg.number > 1 or leg.tries > 1 else ORDINARY,
        **_about(video, plan, leg.bundle_id),
    )


def retry(
    turn: Turn,
    video: Video,
    leg: Leg,
    why: str,
    answers: Key | None,
    *,
    not_before: datetime | None = None,
    **actor: Any,
) -> None:
    """The same attempt once more. It counts from the failure that it answers, else from the greatest fact known."""
    since = answers or (leg.facts[-1].key if leg.facts else None)
    turn.record(
        video,
        VideoRetried,
        reason=why,
        answers=answers,
        number=leg.number,
        bundle_id=leg.bundle_id,
        tries=leg.tries + 1,
        since=None if since is None else write_key(since),
        not_before=iso(not_before) if not_before is not None else None,
        **actor,
    )
    hand(turn, video, not_before=not_before)


def ask(
    turn: Turn,
    video: Video,
    leg: Leg,
    why: str,
    answers: Key | None,
    *,
    to: str | None = None,
    actor: dict[str, str] | None = None,
) -> None:
    """Asks TokPortal whether the account can still post the video: it is wanted elsewhere. Where a person (`actor`)
    ordered that, it goes to the bundle `to` afterwards, if one was named."""
    plan = plan_of(video)
    times = leg.asked + 1
    name = command_id("look_up", video.video_id, leg.number, leg.tries, times)
    turn.record(
        video,
        SlotQuestioned,
        reason=f"{why}: TokPortal is asked whether the slot is free",
        answers=answers,
        number=leg.number,
        bundle_id=leg.bundle_id,
        why=why,
        times=times,
        command_id=name,
        to=to,
        by=actor,
        actor=actor,
    )
    about = _about(video, plan, leg.bundle_id)
    body = {**vendor.names_of(turn, video, leg.bundle_id), "bundle_id": leg.bundle_id, "free_it": True}
    turn.command("look_up_slot", name, body, held=gates.sending(turn), urgency=RECOVERY, **about)
    if leg.asked == 0 and actor is None:
        kind = "stuck" if leg.state in ("uploading", "uploaded", "failed") else "missed"
        turn.alert(kind, f"video {video.video_id} ({plan.wish['ref']}) on {leg.bundle_id}: {why}", **about)


def hold(turn: Turn, video: Video, reason: str, answers: Key | None, *, why: str) -> None:
    turn.record(video, VideoHeld, reason=reason, answers=answers, why=why)
    plan = plan_of(video)
    text = f"video {video.video_id} ({plan.wish['ref']}) is held: {reason}"
    turn.alert("held", text, video_id=video.video_id)
    file(turn, video.video_id, plan)


def abandon(turn: Turn, video: Video, plan: Plan, why: str, answers: Key | None = None) -> None:
    turn.record(
        video, VideoAbandoned, reason=why, answers=answers, bundle_id=plan.legs[-1].bundle_id if plan.legs else None
    )
    file(turn, video.video_id, plan_of(video))
    turn.timer(f"video:{video.video_id}", None)
    turn.alert("abandoned", f"video {video.video_id} ({plan.wish['ref']}) is abandoned: {why}", video_id=video.video_id)


def look_again_tomorrow(turn: Turn, place: Place) -> None:
    """Sets the timer of those who wait in a market to the begin of its next day."""
    zone = turn.rules.at(*place).zone(place[0])
    at = recovery.window_opens(turn.now.astimezone(zone).date() + timedelta(days=1), zone)
    turn.timer(f"market:{market_name(*place)}", at, timer="market", place=place)


def deadline(turn: Turn, plan: Plan) -> datetime | None:
    """When a video that waits is given up; None for one that never had a day, nor was given one."""
    wish = plan.wish
    day = plan.original_day or wish["day"] or wish["ends"]
    if day is None or turn.policies is None:
        return None
    policy = turn.policies.at(wish["country"], wish["platform"])
    last_day = date.fromisoformat(day) + policy.reroute.deadline
    return recovery.window_opens(last_day + timedelta(days=1), policy.zone(wish["country"]))


def wait(
    turn: Turn,
    video: Video,
    why: str,
    answers: Key | None,
    candidates: dict[str, Any],
    *,
    is_told: bool = False,
    **actor: Any,
) -> None:
    """Nobody qualifies: the video waits, at most until its deadline. `is_told`: people hear of it in another way."""
    plan = plan_of(video)
    wish = plan.wish
    at = deadline(turn, plan)
    turn.record(
        video,
        VideoWaiting,
        reason=why,
        answers=answers,
        original_day=plan.original_day,
        deadline=iso(at) if at is not None else None,
        candidates=candidates,
        **actor,
    )
    file(turn, video.video_id, plan_of(video))
    turn.timer(f"video:{video.video_id}", at, timer="video", video_id=video.video_id)
    look_again_tomorrow(turn, (wish["country"], wish["platform"]))
    if is_told:
        return
    about = {key: wish[key] for key in ("campaign_id", "country", "platform")}
    text = f"video {video.video_id} ({wish['ref']}) waits: {why}"
    turn.alert("waiting", text, once=f"{video.video_id}:{len(plan.legs)}", video_id=video.video_id, **about)
