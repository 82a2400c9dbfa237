"""Commands on their way to TokPortal: what may be sent, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from orchestrator.desk import JoinEntry, slot_name
from orchestrator.domain.decisions import HandoverRefused, HandoverStarted, SlotAnswered, SlotJoined
from orchestrator.domain.facts import KINDS
from orchestrator.domain.video import Video
from orchestrator.engine.reactions import attempts, bundles, gates, joins, placing, videos
from orchestrator.engine.turn import Turn
from orchestrator.outbox import Command

API = "api"
"""The dialect of facts that TokPortal's API told us in its answers."""
UNSETTLED = ("pending", "held", "running", "unknown", "dead")


def dispatch(turn: Turn, command_ids: Sequence[str]) -> None:
    """The executor asks whether these commands may be sent now. From here on TokPortal may act on them."""
    found = turn.commands(command_ids)
    for name in command_ids:
        command = found.get(name)
        if command is None or command.status != "pending":
            continue
        if command.kind == "configure_video":
            _dispatch_handover(turn, command)
        elif command.kind == "start_warming":
            entry = turn.desk.bundle(str(command.bundle_id))
            why = "the bundle is not known"
            if entry is not None:
                why = gates.warming(turn, entry, name, command.body["mode"], len(command.body["terms"])) or ""
            _release(turn, name, why or None)
        else:
            _release(turn, name, gates.sending(turn))


def _release(turn: Turn, name: str, why: str | None) -> None:
    if why is None:
        turn.move_command(name, "running", None, of=("pending",))
    else:
        turn.move_command(name, "held", why, of=("pending",))


def _dispatch_handover(turn: Turn, command: Command) -> None:
    video = turn.video(str(command.video_id))
    plan = attempts.plan_of(video)
    leg = plan.live
    entry = turn.desk.video(video.video_id)
    if leg is None or entry is None or attempts.handover_id(plan, video.video_id, leg) != command.command_id:
        turn.move_command(command.command_id, "discarded", "no longer wanted", of=("pending",))
        return
    why = gates.handover(turn, entry)
    if why is not None:
        turn.move_command(command.command_id, "held", why, of=("pending",))
        return
    if placing.moves_on(turn, video, plan, leg):
        return
    turn.record(
        video,
        HandoverStarted,
        number=leg.number,
        bundle_id=leg.bundle_id,
        command_id=command.command_id,
    )
    turn.move_command(command.command_id, "running", None, of=("pending",))
    videos.consider(turn, video.video_id)


def result(turn: Turn, report: dict[str, Any]) -> str | None:
    """What came of a command. Why the report means nothing, if it does."""
    name = report["command_id"]
    command = turn.commands([name]).get(name)
    if command is None:
        return f"there is no command {name!r}"
    if command.status not in UNSETTLED:
        return f"the command is {command.status} already"
    outcome = report["outcome"]
    said = report["message"] or report["code"]
    status = {"done": "done", "refused": "dead", "dead": "dead", "unknown": "unknown"}[outcome]
    turn.move_command(name, status, said, of=UNSETTLED)
    if command.kind == "configure_video":
        _handover_result(turn, command, report)
    elif command.kind == "look_up_slot":
        _slot_result(turn, command, report)
    elif outcome in ("refused", "dead"):
        about = {"bundle_id": command.bundle_id, "video_id": command.video_id}
        turn.alert("dead_command", f"{command.kind} for {command.bundle_id} failed: {said}", once=name, **about)
    return None


def _handover_result(turn: Turn, command: Command, report: dict[str, Any]) -> None:
    video = turn.video(str(command.video_id))
    plan = attempts.plan_of(video)
    leg = next((leg for leg in plan.legs if leg.bundle_id == command.bundle_id), None)
    if leg is None:
        return
    outcome, data = report["outcome"], report["data"]
    said = report["message"] or report["code"]
    about = {"bundle_id": command.bundle_id, "video_id": command.video_id}
    if outcome == "done":
        _join(turn, video, leg.number, str(command.bundle_id), data, report["answered_at"])
        if leg.sent == command.command_id:
            _fact(turn, video, "VideoScheduled", str(command.bundle_id), command, report, {})
    elif outcome == "refused" and leg.sent == command.command_id:
        turn.record(
            video,
            HandoverRefused,
            reason=said,
            number=leg.number,
            bundle_id=leg.bundle_id,
            command_id=command.command_id,
            code=report["code"],
        )
        turn.alert(
            "dead_command", f"TokPortal refused video {video.video_id}: {said}", once=command.command_id, **about
        )
    elif outcome in ("dead", "unknown"):
        text = f"nobody knows whether TokPortal took video {video.video_id}: {said}"
        turn.alert("dead_command", text, once=command.command_id, **about)
    videos.consider(turn, video.video_id)


def _slot_result(turn: Turn, command: Command, report: dict[str, Any]) -> None:
    video = turn.video(str(command.video_id))
    plan = attempts.plan_of(video)
    leg = plan.live
    slot = report["data"].get("slot", "unknown") if report["outcome"] == "done" else "unknown"
    if slot == "posted":
        _fact(turn, video, "VideoPosted", str(command.bundle_id), command, report, {"url": report["data"].get("url")})
    elif leg is not None and leg.bundle_id == command.bundle_id and leg.is_unanswered:
        why = str(leg.questioned)
        turn.record(video, SlotAnswered, number=leg.number, bundle_id=leg.bundle_id, slot=slot)
        if slot == "free":
            placing.move(turn, video, attempts.plan_of(video), leg, f"{why}; TokPortal says the slot is free", None)
        else:
            said = "is still to post it" if slot == "busy" else "did not say whether the slot is free"
            text = f"video {video.video_id} stays on {leg.bundle_id}: TokPortal {said} ({why})"
            turn.alert("waiting", text, once=command.command_id, video_id=video.video_id, bundle_id=leg.bundle_id)
    videos.consider(turn, video.video_id)


def _fact(
    turn: Turn,
    video: Video,
    kind: str,
    bundle_id: str,
    command: Command,
    report: dict[str, Any],
    data: dict[str, Any],
) -> None:
    """Records what TokPortal's answer says of the video, as of when it answered."""
    video.record(
        KINDS[kind],
        timestamp=turn.now,
        message_id=turn.message.message_id,
        occurred_at=min(datetime.fromisoformat(report["answered_at"]), turn.now),
        event_id=command.command_id,
        dialect=API,
        bundle_id=bundle_id,
        account=None,
        country=None,
        platform=None,
        data=data,
    )


def _join(turn: Turn, video: Video, number: int, bundle_id: str, data: dict[str, Any], answered_at: str) -> None:
    """Remembers under which names TokPortal will speak of the video."""
    vendor_id, position = data.get("video_id"), data.get("position")
    if vendor_id is None and position is None:
        return
    turn.record(
        video,
        SlotJoined,
        number=number,
        bundle_id=bundle_id,
        vendor_id=vendor_id,
        position=position,
        at=answered_at,
    )
    moment = datetime.fromisoformat(answered_at)
    for name in [*([vendor_id] if vendor_id else []), *([slot_name(bundle_id, position)] if position else [])]:
        known = turn.desk.join(name)
        ours = tuple(sorted([*(known.ours if known is not None else ()), (moment, video.video_id)]))
        turn.desk.put("join", name, JoinEntry(name, ours))
    if vendor_id and vendor_id != video.video_id:
        joins.merge(turn, video, vendor_id)


def settle(turn: Turn, what: str, command_id: str, reason: str | None) -> str | None:
    """A person retries, discards or approves a command. Why that is not possible; None if it is done."""
    from orchestrator.desk import ApprovalEntry

    command = turn.commands([command_id]).get(command_id)
    if command is None:
        return f"there is no command {command_id!r}"
    possible = {"retry": ("dead", "unknown"), "discard": ("held", "pending", "dead", "unknown"), "approve": ("held",)}
    if command.status not in possible[what]:
        return f"a command that is {command.status} cannot be {_PAST[what]}"
    if what == "discard":
        turn.move_command(command_id, "discarded", reason or "discarded by a person", of=possible[what])
        return None
    if what == "approve":
        if command.price is None:
            return "the command costs nothing: it waits for something else"
        turn.desk.put("approval", command_id, ApprovalEntry(command_id))
        entry = turn.desk.bundle(str(command.bundle_id))
        if entry is not None:
            bundles.changed(turn, [entry.bundle_id])
        return None
    if command.kind == "configure_video":
        video = turn.video(str(command.video_id))
        plan = attempts.plan_of(video)
        leg = plan.live
        if leg is None or attempts.handover_id(plan, video.video_id, leg) != command_id:
            return "the video went another way since: the command is no longer wanted"
    turn.move_command(command_id, "pending", None, of=possible[what])
    return None


_PAST = {"retry": "tried again", "discard": "discarded", "approve": "approved"}


def release(turn: Turn, after: int, country: str | None, platform: str | None) -> None:
    """Judges commands that wait again, after what they may wait for has changed."""
    page = turn.held_commands(after, 200)
    for _, command in page:
        if country is not None and (command.country, command.platform) != (country, platform):
            continue
        if command.video_id is not None and command.kind in ("configure_video", "look_up_slot"):
            if turn.is_ours(command.video_id):
                plan = attempts.plan_of(turn.video(command.video_id))
                live = plan.live
                wanted = live is not None and live.bundle_id == command.bundle_id
                if not wanted:
                    turn.move_command(command.command_id, "discarded", "no longer wanted", of=("held",))
                videos.consider(turn, command.video_id)
        elif command.kind == "start_warming":
            bundles.changed(turn, [str(command.bundle_id)])
        elif command.kind == "unschedule_video" and gates.sending(turn) is None:
            turn.move_command(command.command_id, "pending", None, of=("held",))
    if len(page) == 200:
        turn.work("release", after=page[-1][0], country=country, platform=platform)
