"""Commands on their way to TokPortal: what may be sent, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from orchestrator.desk import ApprovalEntry
from orchestrator.domain.bundle import Bundle
from orchestrator.domain.decisions import (
    CommandPriced,
    CommandRefused,
    CommandSettled,
    HandoverRefused,
    HandoverStarted,
    SlotAnswered,
)
from orchestrator.domain.facts import API, KINDS
from orchestrator.domain.video import Leg, Plan, Video
from orchestrator.engine.reactions import (
    attempts,
    bundles,
    credits,
    gates,
    joins,
    metrics,
    placing,
    refusals,
    reviews,
    slots,
    vendor,
    videos,
)
from orchestrator.engine.turn import Turn, command_id
from orchestrator.outbox import Command
from orchestrator.outbox.outbox import ALERT
from orchestrator.policies import recovery

UNSETTLED = ("pending", "held", "running", "unknown", "dead")
STATUSES = {"done": "done", "refused": "dead", "dead": "dead", "unknown": "unknown", "again": "pending"}
"""Outcome to status."""
NO_LONGER_WANTED = "no longer wanted"
ROUTINE = frozenset({recovery.DAY_FULL, recovery.DAY_TOO_SOON, recovery.NO_FREE_SLOT})
"""Refusals of a handover that another day or another account answers: nobody has to be told."""
WARMED_ALREADY = frozenset({"REWARM_ALREADY_ACTIVE", "WARMING_TERMS_ALREADY_SET"})
"""Refusals that say that what was wanted is so."""
FOR_NOTHING = frozenset({"already", "terms"})
"""How warming was started that cost nothing: it was under way, or its terms were paid with the bundle."""
AGAIN_AFTER = timedelta(minutes=5)
"""So much longer after each refusal, where nothing else is waited for."""


def dispatch(turn: Turn, command_ids: Sequence[str]) -> None:
    """The executor asks whether these commands may be sent now. From here on TokPortal may act on them."""
    found = turn.commands(command_ids)
    for name in command_ids:
        command = found.get(name)
        if command is None or command.status != "pending":
            continue
        if _went_another_way(turn, command):
            turn.move_command(name, "discarded", NO_LONGER_WANTED, of=("pending",))
        elif command.kind == "configure_video":
            _dispatch_handover(turn, command)
        elif command.kind == "start_warming":
            entry = turn.desk.bundle(str(command.bundle_id))
            why: str | None = "the bundle is not known"
            if entry is not None:
                terms = len(command.body["terms"])
                why = gates.warming(turn, entry, name, command.body["mode"], terms, command.price)
            _let_go(turn, command, why)
        elif command.kind == "add_slots":
            why, is_wanted = slots.why_not_sent(turn, command)
            if is_wanted:
                _let_go(turn, command, why)
            else:
                turn.move_command(name, "discarded", NO_LONGER_WANTED, of=("pending",))
        else:
            _let_go(turn, command, gates.free(turn, command))


def _let_go(turn: Turn, command: Command, why: str | None) -> None:
    """`why` not."""
    name = command.command_id
    if why is None and command.price is not None:
        gates.spend(turn, name, command.price)
    turn.move_command(name, "running" if why is None else "held", why, of=("pending",))


def _went_another_way(turn: Turn, command: Command) -> bool:
    """Whether what became of its video since leaves the command without a purpose."""
    if command.video_id is None or not turn.is_ours(command.video_id):
        return False
    plan = attempts.plan_of(turn.video(command.video_id))
    leg = plan.live
    if command.kind == "configure_video":
        return leg is None or attempts.handover_id(plan, command.video_id, leg) != command.command_id
    if command.kind == "look_up_slot":
        return leg is None or not leg.is_unanswered or _question_id(command.video_id, leg) != command.command_id
    if command.kind == "unschedule_video":
        # A newer try on the same account is not to be taken away again.
        return leg is not None and leg.bundle_id == command.bundle_id
    return False


def _question_id(video_id: str, leg: Leg) -> str:
    return command_id("look_up", video_id, leg.number, leg.tries, leg.asked)


def _dispatch_handover(turn: Turn, command: Command) -> None:
    video = turn.video(str(command.video_id))
    plan = attempts.plan_of(video)
    leg = plan.live
    entry = turn.desk.video(video.video_id)
    if leg is None or entry is None:
        raise RuntimeError(f"{video.video_id} has no attempt to hand over")
    why = gates.handover(turn, entry)
    if leg.sent == command.command_id:
        # Nobody knows whether TokPortal took it: until it is looked up, it counts as taken.
        turn.move_command(command.command_id, "running" if why is None else "unknown", why, of=("pending",))
        return
    if why is not None:
        turn.move_command(command.command_id, "held", why, of=("pending",))
        return
    if placing.moves_on(turn, video, plan, leg):
        videos.consider(turn, video.video_id)
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
    if command.status == "done":
        return "the command is done already"
    outcome = report["outcome"]
    said = report["message"] or report["code"]
    if outcome == "refused" and command.kind == "start_warming" and report["code"] in WARMED_ALREADY:
        outcome, report = "done", {**report, "data": {**report["data"], "started": "already"}}
        gates.give_back(turn, name)
    if outcome == "again" and _went_another_way(turn, command):
        turn.move_command(name, "discarded", NO_LONGER_WANTED, of=("running", "unknown"))
    elif outcome == "again":
        turn.move_command(name, "pending", said, of=("running", "unknown"))
    elif outcome == "unknown" and gates.only_asks(command):
        # A question changes nothing that would be in doubt: it is put again, as the policy says.
        turn.move_command(name, "dead", said, of=UNSETTLED)
    else:
        turn.move_command(name, STATUSES[outcome], said, of=UNSETTLED)
    if outcome == "refused" and command.kind != "configure_video":
        refusals.learn(turn, command, report)
    if command.kind == "configure_video":
        _handover_result(turn, command, report)
    elif command.kind == "look_up_slot":
        if outcome != "again":
            _slot_result(turn, command, report)
    else:
        _other_result(turn, command, outcome, report)
    slots.of_report(turn, command, report)
    return None


def _other_result(turn: Turn, command: Command, outcome: str, report: dict[str, Any]) -> None:
    name, code = command.command_id, report["code"]
    said = report["message"] or code
    if command.price is not None and outcome in ("refused", "dead", "again"):
        gates.give_back(turn, name)
    if outcome == "again" and code == "PRICE":
        _price(turn, command, report["data"]["price"])
        return
    if outcome == "refused" and code == recovery.INSUFFICIENT_CREDITS and command.price is not None:
        # It is to be sent again, with another key: TokPortal answers one that it knows with what it said before.
        turn.move_command(name, "pending", None, of=("dead",))
        turn.move_command(name, "held", turn.desk.service().no_credits, of=("pending",))
        return
    if command.price is not None and outcome == "done":
        charged = 0 if report["data"].get("started") in FOR_NOTHING else report["data"].get("credits_charged")
        if type(charged) is int:
            gates.correct(turn, name, charged)
        if charged != 0:
            credits.were_there(turn, name)
    if command.kind == "add_slots" and outcome == "done":
        slots.added(turn, command, report)
    if command.kind == "unschedule_video" and outcome == "done":
        _unscheduled(turn, command, report)
    if outcome == "refused" and command.kind == "start_warming" and _is_for_people(code):
        entry = turn.desk.bundle(str(command.bundle_id))
        if entry is not None:
            bundle = turn.bundle(entry.bundle_id)
            bundles.ask_for_review(turn, entry, bundle, f"TokPortal does not warm it: {said}", name, None)
    if command.kind in reviews.COMMANDS.values() and outcome in ("done", "refused", "dead"):
        reviews.acted(turn, command, outcome, report)
        if outcome == "done" and turn.is_ours(str(command.video_id)):
            videos.consider(turn, str(command.video_id))
    if command.kind == "read_metrics":
        # Numbers that could not be read are read another time: that is no trouble.
        if outcome == "done":
            metrics.told(turn, command, report)
        return
    about = {"bundle_id": command.bundle_id, "video_id": command.video_id}
    if outcome in ("refused", "dead", "unknown"):
        failed = "failed" if outcome != "unknown" else "has an unknown outcome, and is looked up"
        text = f"{command.kind} for {command.bundle_id} {failed}: {said}"
        turn.alert("dead_command", text, once=name, subject=name, cause=(command.kind, report["code"]), **about)
    elif outcome == "done" and command.status == "unknown":
        turn.resolve("dead_command", name, f"{command.kind} for {command.bundle_id} is done", once=name, **about)


def _is_for_people(code: str | None) -> bool:
    """Whether the warming was refused for what only people can set right."""
    return code == "REWARM_NO_ACTIVE_ORDER" or str(code).startswith("ADVANCED_WARMING_")


def _price(turn: Turn, command: Command, price: int) -> None:
    """TokPortal named what the command costs: its price is judged anew."""
    entry = turn.desk.bundle(str(command.bundle_id))
    if entry is None:
        return
    name = command.command_id
    turn.reprice(name, price)
    turn.record(turn.bundle(entry.bundle_id), CommandPriced, command_id=name, price=price)
    if command.kind == "start_warming":
        why = gates.warming(turn, entry, name, command.body["mode"], len(command.body["terms"]), price)
    else:
        why = gates.slots(turn, entry, name, price, command.body["quantity"])
    if why is not None:
        turn.move_command(name, "held", why, of=("pending",))


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
        joins.answered(turn, video, leg.number, str(command.bundle_id), data, report["answered_at"])
        _taken(turn, video, plan, leg, command, report)
    elif outcome == "unknown":
        text = f"nobody knows whether TokPortal took video {video.video_id}; it is looked up: {said}"
        name = command.command_id
        turn.alert("dead_command", text, once=name, subject=name, cause=(command.kind, report["code"]), **about)
    else:
        is_refused = outcome == "refused" and report["code"] is not None
        # What comes of no refusal, or of one without a reason, is judged by its day alone.
        why: dict[str, Any] = {"details": data.get("details") or {}} if is_refused else {}
        if leg.sent == command.command_id:
            turn.record(
                video,
                HandoverRefused,
                reason=said,
                number=leg.number,
                bundle_id=leg.bundle_id,
                command_id=command.command_id,
                code=report["code"],
                **why,
            )
        if is_refused:
            slots.of_report(turn, command, report)
            refusals.learn(turn, command, report)
            videos.consider(turn, video.video_id)
            _hand_again(turn, video, leg)
        if outcome != "again" and report["code"] not in ROUTINE:
            text = f"video {video.video_id} was not handed to {leg.bundle_id}: {said}"
            name = command.command_id
            turn.alert("dead_command", text, once=name, subject=name, cause=(command.kind, report["code"]), **about)
    videos.consider(turn, video.video_id)


def _hand_again(turn: Turn, video: Video, refused: Leg) -> None:
    """Where the refused attempt stays as it is, it is handed over once more as soon as what it lacked is there."""
    live = attempts.plan_of(video).live
    if live is None or live.refusal is None or live.is_with_vendor or live.is_unanswered:
        return
    if live.number != refused.number:
        return
    attempts.hand(turn, video, not_before=turn.now + AGAIN_AFTER * (len(live.refusals) - 1))


def _taken(turn: Turn, video: Video, plan: Plan, leg: Leg, command: Command, report: dict[str, Any]) -> None:
    """TokPortal has the video. It may be told so by a command that seemed to have come to nothing before."""
    if leg.sent is None and leg is plan.live:
        if attempts.handover_id(plan, video.video_id, leg) != command.command_id:
            return
        turn.record(video, HandoverStarted, number=leg.number, bundle_id=leg.bundle_id, command_id=command.command_id)
    elif leg.sent is None and leg.left and leg.posted is None:
        attempts.unschedule(turn, video, plan, leg)
        text = f"TokPortal took video {video.video_id} for {leg.bundle_id}, which it was taken from"
        turn.alert("late_news", text, once=command.command_id, video_id=video.video_id, bundle_id=leg.bundle_id)
        live = plan.live
        if plan.held is None and (plan.end == "waiting" or (live is not None and not live.is_with_vendor)):
            why = f"TokPortal has it for {leg.bundle_id}: it may still be posted there"
            attempts.hold(turn, video, why, None, why="signs")
        return
    elif leg.sent != command.command_id:
        return
    at = min(datetime.fromisoformat(report["answered_at"]), turn.now)
    _fact(turn, video, "VideoScheduled", str(command.bundle_id), command, {}, at)


def _slot_result(turn: Turn, command: Command, report: dict[str, Any]) -> None:
    slot = report["data"].get("slot", "unknown") if report["outcome"] == "done" else "unknown"
    if slot == "posted":
        _posted(turn, command, report)
    else:
        _answer(turn, command, slot)


def _posted(turn: Turn, command: Command, report: dict[str, Any]) -> None:
    """TokPortal answered that the video is posted."""
    video = turn.video(str(command.video_id))
    at, data = vendor.dated(turn, report, "posted_at")
    data["url"] = report["data"].get("url")
    _fact(turn, video, "VideoPosted", str(command.bundle_id), command, data, at)
    videos.consider(turn, video.video_id)


def _unscheduled(turn: Turn, command: Command, report: dict[str, Any]) -> None:
    """What became of the slot that was to be taken back. Whoever answers nothing of it took it back."""
    slot = report["data"].get("slot", "free")
    if slot == "posted":
        _posted(turn, command, report)
    elif slot != "free":
        text = f"video {command.video_id} may still be posted on {command.bundle_id}: TokPortal did not take it back"
        about = {"video_id": command.video_id, "bundle_id": command.bundle_id}
        turn.alert("late_news", text, once=command.command_id, **about)


def _answer(turn: Turn, command: Command, slot: str) -> None:
    """Whether the slot of the video is free, if that is still asked."""
    video = turn.video(str(command.video_id))
    plan = attempts.plan_of(video)
    leg = plan.live
    if leg is not None and leg.bundle_id == command.bundle_id and leg.is_unanswered:
        why = str(leg.questioned)
        turn.record(video, SlotAnswered, number=leg.number, bundle_id=leg.bundle_id, slot=slot)
        plan = attempts.plan_of(video)
        if slot == "free" and plan.held is None:
            to = leg.to if leg.to is not None and placing.choose(turn, video, plan, to=leg.to).bundle_id else None
            by = dict(leg.by) if leg.by is not None else None
            said = f"{why}; TokPortal says the slot is free"
            placing.move(turn, video, plan, plan.live, said, None, to=to, actor=by)
        elif slot != "free":
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
    data: dict[str, Any],
    at: datetime,
) -> None:
    """Records what TokPortal's answer says of the video."""
    video.record(
        KINDS[kind],
        timestamp=turn.now,
        message_id=turn.message.message_id,
        occurred_at=at,
        event_id=command.command_id,
        dialect=API,
        bundle_id=bundle_id,
        account=None,
        country=None,
        platform=None,
        data=data,
    )


def settle(turn: Turn, what: str, name: str, reason: str | None) -> str | None:
    """A person retries, discards or approves a command. Why that is not possible; None if it is done."""
    command = turn.commands([name]).get(name)
    if command is None:
        return f"there is no command {name!r}"
    if command.kind == ALERT:
        return _settle_alert(turn, what, name, reason)
    subject = _subject(turn, command)
    refusal = _settle(turn, what, command, reason)
    if subject is None:
        return refusal
    if refusal is not None:
        turn.record(subject, CommandRefused, reason=refusal, actor=turn.person, command=f"command.{what}")
        return refusal
    if command.status in ("dead", "unknown"):
        text = f"{command.kind} for {command.bundle_id} is {_PAST[what]}"
        turn.resolve("dead_command", name, text, bundle_id=command.bundle_id, video_id=command.video_id)
    turn.record(
        subject,
        CommandSettled,
        reason=reason,
        actor=turn.person,
        order=what,
        command_id=name,
        what=command.kind,
        price=command.price,
    )
    return None


def _settle_alert(turn: Turn, what: str, name: str, reason: str | None) -> str | None:
    """What became of an alert is not in the journal, so nothing of ours may follow from that."""
    if what == "approve":
        return "an alert costs nothing"
    if what == "retry":
        turn.move_command(name, "pending", None, of=("dead",))
    else:
        turn.move_command(name, "discarded", reason or "discarded by a person", of=("pending", "dead"))
    return None


def _subject(turn: Turn, command: Command) -> Video | Bundle | None:
    """Whose history tells what was ordered about the command."""
    if command.video_id is not None and turn.is_ours(command.video_id):
        return turn.video(command.video_id)
    if command.bundle_id is not None and turn.desk.bundle(command.bundle_id) is not None:
        return turn.bundle(command.bundle_id)
    return None


def _settle(turn: Turn, what: str, command: Command, reason: str | None) -> str | None:
    name = command.command_id
    possible = {"retry": ("dead", "unknown"), "discard": ("held", "pending", "dead", "unknown"), "approve": ("held",)}
    if command.status not in possible[what]:
        return f"a command that is {command.status} cannot be {_PAST[what]}"
    if what == "discard":
        turn.move_command(name, "discarded", reason or "discarded by a person", of=possible[what])
        if command.kind == "look_up_slot":
            _answer(turn, command, "unknown")
        return None
    if what == "approve":
        if command.price is None:
            return "the command costs nothing: it waits for something else"
        turn.desk.put("approval", name, ApprovalEntry(name, command.price))
        credits.may_be_back(turn, f"{turn.person['name']} approved what {command.kind} costs", turn.person)
        entry = turn.desk.bundle(str(command.bundle_id))
        if entry is not None and command.kind == "start_warming":
            bundles.changed(turn, [entry.bundle_id])
        elif command.kind == "add_slots":
            _judge_slots(turn, command)
        return None
    if _went_another_way(turn, command):
        return "the video went another way since: the command is no longer wanted"
    # Where nobody knows whether TokPortal has it, that is looked up first; see `Command.is_in_doubt`.
    turn.move_command(name, "pending", None, of=(command.status,))
    return None


def _judge_slots(turn: Turn, command: Command) -> None:
    why, is_wanted = slots.why_not_sent(turn, command)
    if not is_wanted:
        turn.move_command(command.command_id, "discarded", NO_LONGER_WANTED, of=("held",))
    else:
        turn.move_command(command.command_id, "pending" if why is None else "held", why, of=("held",))


_PAST = {"retry": "tried again", "discard": "discarded", "approve": "approved"}


def release(turn: Turn, after: int, country: str | None, platform: str | None) -> None:
    """Judges commands that wait again, after what they may wait for has changed."""
    page = turn.held_commands(after, 200)
    for _, command in page:
        if country is not None and (command.country, command.platform) != (country, platform):
            continue
        if command.kind == "start_warming":
            bundles.changed(turn, [str(command.bundle_id)])
        elif _went_another_way(turn, command):
            turn.move_command(command.command_id, "discarded", NO_LONGER_WANTED, of=("held",))
        elif command.kind == "add_slots":
            _judge_slots(turn, command)
        elif command.kind not in ("configure_video", "look_up_slot") or command.changes_nothing:
            why = gates.free(turn, command)
            turn.move_command(command.command_id, "pending" if why is None else "held", why, of=("held",))
        elif command.video_id is not None:
            videos.consider(turn, command.video_id)
    if len(page) == 200:
        turn.work("release", after=page[-1][0], country=country, platform=platform)
