"""Campaigns: drafted, placed in slices, paused, resumed, cancelled, completed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

import msgspec

from orchestrator.campaigns.spec import CampaignSpec
from orchestrator.desk import CampaignEntry, slice_after
from orchestrator.domain.campaign import MOVES, Campaign
from orchestrator.domain.decisions import (
    CampaignCancelled,
    CampaignCompleted,
    CampaignDrafted,
    CampaignPaused,
    CampaignPlaced,
    CampaignResumed,
    CampaignStarted,
    VideoCancelled,
    VideoRequested,
)
from orchestrator.domain.video import Video
from orchestrator.engine.reactions import joins, videos
from orchestrator.engine.reactions.attempts import file, leave, plan_of
from orchestrator.engine.reactions.placing import place
from orchestrator.engine.turn import Turn
from orchestrator.planning import existing_accounts, wished
from orchestrator.policies.placement import Wish

SLICE = 200
"""Videos that one message places or cancels."""


def draft(turn: Turn, order: dict[str, Any]) -> str | None:
    """Why the campaign cannot be drafted; None if it is, or was before with the same content."""
    spec = CampaignSpec.from_json(order["spec"])
    known = turn.desk.campaign(spec.campaign_id)
    if known is not None:
        if known.digest == spec.digest:
            return None
        return f"there is a campaign {spec.name!r} with other content: give this one another name"
    campaign = turn.campaign(spec.campaign_id)
    turn.record(
        campaign,
        CampaignDrafted,
        actor=turn.person,
        spec=spec.to_json(),
        plan=order["plan"],
        unmet=order["unmet"],
        wanted=order["wanted"],
    )
    _file(turn, campaign, name=spec.name, digest=spec.digest, group=spec.group)
    return None


def _file(turn: Turn, campaign: Campaign, **known: Any) -> CampaignEntry:
    old = turn.desk.campaign(campaign.campaign_id)
    if old is None:
        entry = CampaignEntry(campaign_id=campaign.campaign_id, status=str(campaign.status), **known)
    else:
        entry = msgspec.structs.replace(old, status=str(campaign.status), **known)
    turn.desk.put("campaign", campaign.campaign_id, entry)
    return entry


def order(turn: Turn, what: str, campaign_id: str, reason: str | None) -> str | None:
    """Why the campaign cannot be started, paused, resumed or cancelled; None if it is."""
    entry = turn.desk.campaign(campaign_id)
    if entry is None:
        return f"there is no campaign {campaign_id!r}"
    if entry.status not in MOVES[what]:
        return f"a campaign that is {entry.status} cannot be {_PAST[what]}"
    campaign = turn.campaign(campaign_id)
    if what == "start":
        return _start(turn, campaign, reason)
    kind = {"pause": CampaignPaused, "resume": CampaignResumed, "cancel": CampaignCancelled}[what]
    turn.record(campaign, kind, reason=reason, actor=turn.person)
    _file(turn, campaign, placing=entry.placing and what != "cancel")
    if what == "cancel":
        cancel_videos(turn, campaign_id, reason, turn.person)
    else:
        turn.work("videos", campaign_id=campaign_id)
        if what == "resume":
            turn.work("complete", campaign_id=campaign_id)
            turn.work("waiting")
            if entry.placing:
                turn.work("campaign", campaign_id=campaign_id, at=entry.placed)
    return None


_PAST = {"start": "started", "pause": "paused", "resume": "resumed", "cancel": "cancelled"}


def _start(turn: Turn, campaign: Campaign, reason: str | None) -> str | None:
    if turn.policies is None:
        return "no policies are in force: nothing can be placed"
    spec = CampaignSpec.from_json(campaign.spec)
    existing = existing_accounts(turn.desk, turn.policies, spec)
    unlocated = next((why for wish in wished(turn.desk, spec, existing) if (why := wish.unlocated)), None)
    if unlocated is not None:
        return unlocated
    turn.record(campaign, CampaignStarted, reason=reason, actor=turn.person, existing=existing)
    _file(turn, campaign, placing=True, placed=0)
    turn.work("campaign", campaign_id=campaign.campaign_id, at=0)
    return None


_specs: dict[str, CampaignSpec] = {}


def _spec(campaign: Campaign, digest: str) -> CampaignSpec:
    """What the campaign asks for. It is kept from slice to slice: ten thousand rows take long to read."""
    if digest not in _specs:
        _specs.clear()
        _specs[digest] = CampaignSpec.from_json(campaign.spec)
    return _specs[digest]


def place_slice(turn: Turn, campaign_id: str, at: int) -> None:
    """Places the next videos of a campaign that was started, and leaves the rest to further messages."""
    entry = turn.desk.campaign(campaign_id)
    if entry is None or not entry.placing or entry.placed != at or entry.status != "running":
        return
    campaign = turn.campaign(campaign_id)
    spec = _spec(campaign, entry.digest)
    part = wished(turn.desk, spec, campaign.existing, at, at + SLICE)
    if not part:
        _report(turn, campaign, spec)
        return
    turn.load(Video.key(wish.video_id) for wish in part)
    for wish in part:
        _want(turn, wish, campaign.plan.get(wish.video_id))
    done = at + len(part)
    _file(turn, campaign, placed=done)
    turn.work("campaign", campaign_id=campaign_id, at=done)


def _want(turn: Turn, wish: Wish, shown: Mapping[str, str] | None) -> None:
    video = turn.video(wish.video_id)
    turn.record(
        video,
        VideoRequested,
        actor=turn.person,
        campaign_id=wish.campaign_id,
        target=wish.target,
        ref=wish.ref,
        platform=wish.platform,
        country=wish.country,
        group=wish.group,
        starts=_text(wish.starts),
        ends=_text(wish.ends),
        bundles=list(wish.bundles) if wish.bundles is not None else None,
        accounts=wish.accounts,
        day=_text(wish.day),
    )
    prefer = (shown["bundle_id"], date.fromisoformat(shown["target_day"])) if shown is not None else None
    place(turn, video, prefer=prefer)
    videos.consider(turn, wish.video_id)
    joins.wanted(turn, wish.video_id)


def _text(day: date | None) -> str | None:
    return day.isoformat() if day is not None else None


def _report(turn: Turn, campaign: Campaign, spec: CampaignSpec) -> None:
    """What became of the plan that people were shown."""
    wanted = wished(turn.desk, spec, campaign.existing)
    # Accounts that are gone since the draft may have taken some of its videos with them.
    went: dict[str, list[str] | None] = dict.fromkeys(campaign.plan)
    unmet = []
    for wish in wanted:
        entry = turn.desk.video(wish.video_id)
        if entry is not None and entry.legs:
            went[wish.video_id] = [entry.legs[0].bundle_id, entry.legs[0].day]
        else:
            where = {"country": wish.country, "platform": wish.platform}
            unmet.append({"video_id": wish.video_id, "ref": wish.ref, **where})
    shown = {video_id: [item["bundle_id"], item["target_day"]] for video_id, item in campaign.plan.items()}
    moved = [
        {"video_id": video_id, "from": before, "to": went[video_id]}
        for video_id, before in shown.items()
        if went[video_id] != before
    ]
    turn.load(Video.key(item["video_id"]) for item in unmet)
    turn.record(
        campaign,
        CampaignPlaced,
        placed=len(wanted) - len(unmet),
        waiting=len(unmet),
        moved=moved,
        unmet=[{**item, "reason": plan_of(turn.video(item["video_id"])).reason} for item in unmet],
    )
    _file(turn, campaign, placing=False)
    if unmet:
        text = f"{len(unmet)} of {len(wanted)} videos of {spec.name} wait for an account"
        turn.alert("unmet", text, campaign_id=campaign.campaign_id)
    complete(turn, campaign.campaign_id)


def cancel_videos(turn: Turn, campaign_id: str, reason: str | None, actor: dict[str, str], after: str = "") -> None:
    """Cancels some of the campaign's videos that are under way, and leaves the others to further messages."""
    part, later = slice_after(turn.desk.open_of_campaign(campaign_id), after, SLICE)
    turn.load(Video.key(name) for name in part)
    for name in part:
        cancel_video(turn, turn.video(name), reason or "its campaign is cancelled", actor)
    if later is not None:
        turn.work("cancel", campaign_id=campaign_id, reason=reason, actor=actor, after=later)


def cancel_video(turn: Turn, video: Video, reason: str | None, actor: dict[str, str]) -> None:
    plan = plan_of(video)
    if plan.posts or plan.end == "cancelled":
        return
    leg = plan.live
    why = reason or f"cancelled by {actor['name']}"
    if leg is not None:
        leave(turn, video, plan, leg, why, None, actor=actor)
    turn.record(video, VideoCancelled, reason=why, actor=actor, bundle_id=leg.bundle_id if leg is not None else None)
    file(turn, video.video_id, plan_of(video))
    turn.timer(f"video:{video.video_id}", None)


def complete(turn: Turn, campaign_id: str) -> None:
    """Completes the campaign if nothing of it is under way any more."""
    entry = turn.desk.campaign(campaign_id)
    if entry is None or entry.status != "running" or entry.placing or turn.desk.open_of_campaign(campaign_id):
        return
    campaign = turn.campaign(campaign_id)
    turn.record(campaign, CampaignCompleted)
    _file(turn, campaign)
