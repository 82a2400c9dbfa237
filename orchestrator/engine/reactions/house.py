"""The mode and the policies of the service, the timers that fire, and big work that is done in slices."""

from __future__ import annotations

from typing import Any

import msgspec

from orchestrator.desk import slice_after
from orchestrator.documents import Refused
from orchestrator.domain.decisions import ModeChanged, PoliciesApplied
from orchestrator.engine.reactions import (
    attempts,
    bundles,
    campaigns,
    credits,
    metrics,
    outcomes,
    placing,
    silence,
    slots,
    videos,
)
from orchestrator.engine.turn import Turn
from orchestrator.policies.schema import parse


def apply_policies(turn: Turn, text: str) -> str | None:
    """Puts policies into force. Why not, where they cannot be used: those in force stay."""
    try:
        policies = parse(text)
    except Refused as error:
        first = error.problems[0]
        why = f"{len(error.problems)} errors, the first in line {first.line}: {first.key}: {first.message}"
        turn.alert("policies_refused", f"policies are refused, those in force stay: {why}")
        return why
    entry = turn.desk.service()
    if entry.policies == text:
        return None
    turn.apply_policies(policies)
    turn.record(turn.service(), PoliciesApplied, actor=turn.person, text=text, sha256=policies.sha256)
    turn.desk.put("service", "service", msgspec.structs.replace(entry, policies=text))
    if entry.policies is not None:
        turn.resolve("policies_refused", "", "policies are in force")
    turn.work("bundles", after="")
    turn.work("waiting")
    turn.work("release", after=0, country=None, platform=None)
    turn.work("gates", country=None, platform=None)
    return None


def change_mode(turn: Turn, mode: str, reads: bool) -> str | None:
    """What may be sent from here on, and whether TokPortal can be read."""
    entry = turn.desk.service()
    if (entry.mode, entry.reads) == (mode, reads):
        return None
    turn.record(turn.service(), ModeChanged, actor=turn.person, mode=mode, reads=reads)
    turn.desk.put("service", "service", msgspec.structs.replace(entry, mode=mode, reads=reads))
    turn.work("release", after=0, country=None, platform=None)
    turn.work("gates", country=None, platform=None)
    return None


def timer(turn: Turn, body: dict[str, Any]) -> None:
    """A timer fired. It is set again where there is still something to wait for."""
    turn.timer(body["name"], None)
    if body["timer"] == "video":
        if turn.is_ours(body["video_id"]):
            videos.consider(turn, body["video_id"])
    elif body["timer"] == "budget":
        turn.work("release", after=0, country=None, platform=None)
    elif body["timer"] == silence.TIMER:
        silence.look(turn, late=bool(body.get("late")))
    elif body["timer"] == "metrics":
        metrics.due(turn, body["video_id"], body["days"])
    elif body["timer"] == "credits":
        credits.may_be_back(turn, "an hour has passed")
    elif body["timer"] == "market":
        placing.next_day_begins(turn, (body["place"][0], body["place"][1]))
    else:
        bundles.reconsider(turn, body["bundle_id"])


def work(turn: Turn, body: dict[str, Any]) -> None:
    """The rest of something big."""
    what = body["work"]
    if what == "videos":
        if "bundle_id" in body:
            about = turn.desk.live_on(body["bundle_id"])
        else:
            about = turn.desk.open_of_campaign(body["campaign_id"])
        videos.consider_all(turn, about, body)
    elif what == "gates":
        videos.consider_all(turn, turn.desk.live_at(body["country"], body["platform"]), body)
    elif what == "hold":
        videos.hold_content(turn, body["campaign_id"], body["ref"], body["why"], body["after"])
    elif what == "place":
        placing.place_waiting(turn, (body["country"], body["platform"]), body.get("after", ""))
    elif what == "waiting":
        for place in turn.desk.places_with_waiting():
            attempts.place_again_soon(turn, place)
    elif what == "lifted":
        part, after = slice_after(turn.desk.carried_by(body["bundle_id"]), body["after"], videos.SLICE)
        videos.on_lifted_ban(turn, body["bundle_id"], part)
        if after is not None:
            turn.work("lifted", bundle_id=body["bundle_id"], after=after)
    elif what == "slots":
        slots.order(turn, (body["country"], body["platform"]))
    elif what == "bundles":
        bundles.reconsider_all(turn, body["after"])
    elif what == "release":
        outcomes.release(turn, body.get("after", 0), body["country"], body["platform"])
    elif what == "campaign":
        campaigns.place_slice(turn, body["campaign_id"], body["at"])
    elif what == "cancel":
        campaigns.cancel_videos(turn, body["campaign_id"], body["reason"], body["actor"], body["after"])
    elif what == "complete":
        campaigns.complete(turn, body["campaign_id"])
    else:
        raise ValueError(f"nobody knows the work {what!r}")
