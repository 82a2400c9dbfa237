"""What people order. The rules may forbid it; the history shows that too."""

from __future__ import annotations

from datetime import date
from typing import Any

import msgspec

from orchestrator.desk import market_name
from orchestrator.domain.bundle import Bundle
from orchestrator.domain.campaign import Campaign
from orchestrator.domain.countries import PLATFORMS
from orchestrator.domain.decisions import (
    BundlePaused,
    BundleResumed,
    CommandRefused,
    MarketPaused,
    MarketResumed,
    RebuildOrdered,
    Reviewed,
    ServicePaused,
    ServiceResumed,
    VideoReleased,
    write_key,
)
from orchestrator.domain.facts import KINDS
from orchestrator.domain.video import Plan, Video
from orchestrator.engine.reactions import (
    attempts,
    bundles,
    campaigns,
    credits,
    house,
    metrics,
    outcomes,
    placing,
    reviews,
    videos,
)
from orchestrator.engine.reactions.attempts import ask, plan_of, retry
from orchestrator.engine.turn import Turn
from orchestrator.policies import recovery


def carry_out(turn: Turn, order: dict[str, Any]) -> str | None:
    """Why the order is refused; None if it was carried out."""
    subject, _, what = str(order["command"]).partition(".")
    reason = order.get("reason")
    if subject == "video":
        refusal = _video(turn, what, order, reason)
        _show_refusal(turn, refusal, order, turn.known_video(order["video_id"]))
    elif subject == "bundle":
        refusal = _bundle(turn, what, order["bundle_id"], reason)
        known = turn.desk.bundle(order["bundle_id"])
        _show_refusal(turn, refusal, order, turn.bundle(order["bundle_id"]) if known is not None else None)
    elif subject == "campaign":
        if what == "create":
            return campaigns.draft(turn, order)
        refusal = campaigns.order(turn, what, order["campaign_id"], reason)
        entry = turn.desk.campaign(order["campaign_id"])
        _show_refusal(turn, refusal, order, turn.campaign(order["campaign_id"]) if entry is not None else None)
    elif subject == "market":
        refusal = _market(turn, what, order["country"], order["platform"], reason)
    elif subject == "service":
        refusal = _service(turn, what, reason)
    elif subject == "command":
        refusal = outcomes.settle(turn, what, order["command_id"], reason)
    elif subject == "projection":
        refusal = _projection(turn, what, order, reason)
    elif subject == "audit":
        refusal = _audit(turn, what, order, reason)
    elif subject == "policies":
        refusal = house.apply_policies(turn, order["text"])
    elif subject == "mode":
        refusal = house.change_mode(turn, order["mode"], order.get("reads", False))
    else:
        refusal = f"nobody knows the command {order['command']!r}"
    return refusal


def _show_refusal(
    turn: Turn, refusal: str | None, order: dict[str, Any], subject: Video | Bundle | Campaign | None
) -> None:
    if refusal is None or subject is None:
        return
    if isinstance(subject, Video):
        subject = turn.video(subject.video_id)
    turn.record(subject, CommandRefused, reason=refusal, actor=turn.person, command=order["command"])


def _projection(turn: Turn, what: str, order: dict[str, Any], reason: str | None) -> str | None:
    """What becomes of a read model is done by whoever follows the log; people are told here."""
    name = str(order["name"])
    if what == "rebuild":
        turn.record(turn.service(), RebuildOrdered, reason=reason, actor=turn.person, name=name)
    elif what == "stopped":
        text = f"the read model {name} stopped at position {order['position']} of the log: {reason}"
        turn.alert("projection", text, cause=[name], subject=name)
    elif what == "going_on":
        turn.resolve("projection", name, f"the read model {name} goes on")
    else:
        return f"nobody knows the command {order['command']!r}"
    return None


def _audit(turn: Turn, what: str, order: dict[str, Any], reason: str | None) -> str | None:
    """What the audit noticed by itself."""
    if what == "broken":
        turn.alert("audit", str(reason))
    elif what == "mended":
        turn.resolve("audit", "", "the log continues what was signed last")
    else:
        return f"nobody knows the command {order['command']!r}"
    return None


# Videos.


def _video(turn: Turn, what: str, order: dict[str, Any], reason: str | None) -> str | None:
    video_id = order["video_id"]
    known = turn.known_video(video_id)
    if known is None:
        return f"there is no video {video_id!r}"
    if what in reviews.COMMANDS:
        return reviews.order(turn, turn.video(video_id), what, reason, order)
    if what == "refresh":
        return metrics.order(turn, turn.video(video_id))
    if not turn.is_ours(video_id):
        return "no campaign planned this video: its content is unknown here"
    if turn.policies is None:
        return "no policies are in force"
    video = turn.video(video_id)
    plan = plan_of(video)
    if plan.posts:
        return "the video is posted"
    if what == "release":
        return _release(turn, video, plan, reason)
    if plan.end == "cancelled":
        return "the video is cancelled"
    if what == "cancel":
        campaigns.cancel_video(turn, video, reason, turn.person)
        campaigns.complete(turn, plan.wish["campaign_id"])
        return None
    if what == "retry":
        return _retry(turn, video, plan, reason)
    return _reroute(turn, video, plan, order.get("bundle_id"), reason)


def _release(turn: Turn, video: Video, plan: Plan, reason: str | None) -> str | None:
    if plan.held is None:
        return "the video is not held"
    turn.record(video, VideoReleased, reason=reason, actor=turn.person)
    turn.resolve("held", video.video_id, f"video {video.video_id} is released", video_id=video.video_id)
    videos.consider(turn, video.video_id)
    placing.place_again(turn, video)
    return None


def _retry(turn: Turn, video: Video, plan: Plan, reason: str | None) -> str | None:
    if plan.held is not None:
        return "the video is held: release it first"
    rejected = turn.desk.rejected(plan.wish["campaign_id"], plan.wish["ref"])
    if rejected is not None:
        return f"the platform rejected this content: {rejected}"
    if plan.end == "waiting":
        return "the video waits for an account: there is nothing to try again"
    if not plan.legs:
        return "the video was never on an account"
    leg = plan.legs[-1]
    if plan.end is None and leg.failure is None:
        return f"the video is {plan.state}: nothing failed"
    bundle = turn.desk.bundle(leg.bundle_id)
    if bundle is None or bundle.state == "banned" or "closed" in bundle.holds:
        why = "closed" if bundle is not None and bundle.state != "banned" else "banned"
        return f"{leg.bundle_id} cannot post it: the account is {why}"
    place, day = (plan.wish["country"], plan.wish["platform"]), date.fromisoformat(leg.target_day)
    if leg.left and leg.failure is None and not placing.market_of(turn, place).has_room(leg.bundle_id, day):
        return f"{leg.bundle_id} has no room for it on {day}"
    if recovery.is_trying(leg):
        return f"TokPortal is still trying on {leg.bundle_id} itself"
    retry(turn, video, leg, reason or "ordered", leg.failure.key if leg.failure else None, actor=turn.person)
    videos.consider(turn, video.video_id)
    return None


def _reroute(turn: Turn, video: Video, plan: Plan, to: str | None, reason: str | None) -> str | None:
    wish = plan.wish
    if plan.held is not None:
        return "the video is held: release it first"
    rejected = turn.desk.rejected(wish["campaign_id"], wish["ref"])
    if rejected is not None:
        return f"the platform rejected this content: {rejected}"
    leg = plan.live
    code = str(leg.failure.detail.get("error_code")) if leg is not None and leg.failure is not None else None
    if code is not None and turn.rules.at(wish["country"], wish["platform"]).failure.action(code) == "stop":
        return f"the platform rejected this content: {code}"
    shut = turn.desk.market(wish["country"], wish["platform"]).closed_by
    if shut is not None:
        return shut
    choice = placing.choose(turn, video, plan, to=to)
    if choice.bundle_id is None:
        return choice.reason
    why = reason or "ordered"
    if leg is not None and recovery.may_post(leg) and not recovery.is_over(leg, turn.desk.state_of(leg.bundle_id)):
        if leg.is_unanswered:
            return "TokPortal is being asked already whether the account can still post it"
        ask(turn, video, leg, why, None, to=to, actor=turn.person)
    else:
        placing.move(turn, video, plan, leg, why, None, to=to, actor=turn.person)
    videos.consider(turn, video.video_id)
    return None


# Bundles.


def _bundle(turn: Turn, what: str, bundle_id: str, reason: str | None) -> str | None:
    entry = turn.desk.bundle(bundle_id)
    if entry is None:
        return f"there is no bundle {bundle_id!r}"
    bundle = turn.bundle(bundle_id)
    person = turn.person
    if what == "pause":
        if "paused" in entry.holds:
            return "the bundle is paused already"
        turn.record(bundle, BundlePaused, reason=reason, actor=person)
    elif what == "resume":
        if "paused" not in entry.holds:
            return "the bundle is not paused"
        turn.record(bundle, BundleResumed, reason=reason, actor=person)
    elif what == "review":
        if "needs_review" in entry.holds:
            return "the bundle is to be reviewed already"
        bundles.ask_for_review(turn, entry, bundle, reason or "ordered", None, None, actor=person)
    elif what == "reviewed":
        if "needs_review" not in entry.holds:
            return "nothing is to be reviewed"
        newest = turn.view(bundle_id).newest
        up_to = write_key(newest) if newest is not None else None
        turn.record(bundle, Reviewed, reason=reason, actor=person, up_to=up_to)
    elif what == "reinstate":
        ban = turn.view(bundle_id).ban
        if ban is None:
            return "the bundle is not banned"
        occurred_at, _, event_id, dialect = ban
        bundle.record(
            KINDS["Reinstated"],
            timestamp=turn.now,
            message_id=turn.message.message_id,
            occurred_at=occurred_at,
            event_id=event_id,
            dialect=dialect,
            reason=reason,
            actor=person,
        )
    elif what == "warm":
        refusal = _warm(turn, bundle, reason)
        if refusal is not None:
            return refusal
    else:
        return f"nobody knows the command bundle.{what}"
    bundles.changed(turn, [bundle_id])
    return None


def _warm(turn: Turn, bundle: Bundle, reason: str | None) -> str | None:
    entry = turn.desk.bundle(bundle.bundle_id)
    if entry is None or turn.policies is None:
        return "no policies are in force"
    if entry.place is None:
        return "the country and the platform of the bundle are not known yet"
    if turn.policies.at(*entry.place).warming.mode == "none":
        return f"the policy warms no account of {entry.platform} in {entry.country}"
    if entry.state in ("unknown", "banned", "warming"):
        return f"the account is {entry.state}"
    if "closed" in entry.holds:
        return "the bundle is closed"
    requests = [s for s in bundle.steps if s.name == "WarmingRequested" and s.detail["era"] == entry.era]
    tries = max((step.detail["tries"] for step in requests), default=0) + 1
    failure = turn.view(bundle.bundle_id).warming_failure if entry.state == "failed" else None
    bundles.request_warming(turn, entry, bundle, reason or "ordered", tries, failure, actor=turn.person)
    return None


# Markets, and everything.


def _market(turn: Turn, what: str, country: str, platform: str | None, reason: str | None) -> str | None:
    places = [(country, name) for name in sorted(PLATFORMS if platform is None else {platform})]
    by = turn.person["name"]
    done = False
    for place in places:
        entry = turn.desk.market(*place)
        if what == "pause":
            if entry.paused is not None:
                continue
            why = f"{place[1]} in {place[0]} is paused by {by}" + (f": {reason}" if reason else "")
            turn.record(
                turn.market(*place), MarketPaused, reason=reason, actor=turn.person, country=place[0], platform=place[1]
            )
            entry = msgspec.structs.replace(entry, paused=why)
        else:
            if entry.closed_by is None:
                continue
            turn.record(
                turn.market(*place),
                MarketResumed,
                reason=reason,
                actor=turn.person,
                country=place[0],
                platform=place[1],
                breaker=entry.breaker is not None,
            )
            if entry.breaker is not None:
                text = f"{place[1]} in {place[0]} is resumed by {by}"
                turn.resolve("breaker", ":".join(place), text, country=place[0], platform=place[1])
            entry = msgspec.structs.replace(entry, paused=None, breaker=None, bans=())
        done = True
        turn.desk.put("market", market_name(*place), entry)
        if what == "resume":
            attempts.place_again_soon(turn, place)
        turn.work("gates", country=place[0], platform=place[1])
    if done:
        return None
    return f"{country} is paused already" if what == "pause" else f"nothing is paused in {country}"


def _service(turn: Turn, what: str, reason: str | None) -> str | None:
    entry = turn.desk.service()
    if what == "pause":
        if entry.paused is not None:
            return "everything is paused already"
        turn.record(turn.service(), ServicePaused, reason=reason, actor=turn.person)
        paused = f"everything is paused by {turn.person['name']}" + (f": {reason}" if reason else "")
    else:
        tries_credits = credits.may_be_back(turn, reason or "ordered", turn.person)
        entry = turn.desk.service()
        if entry.paused is None:
            return None if tries_credits else "nothing is paused"
        turn.record(turn.service(), ServiceResumed, reason=reason, actor=turn.person)
        paused = None
    turn.desk.put("service", "service", msgspec.structs.replace(entry, paused=paused))
    turn.work("release", after=0, country=None, platform=None)
    turn.work("gates", country=None, platform=None)
    return None
