"""What becomes of the videos that campaigns wanted: the news about them, and what recovery advises."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from orchestrator.desk import ContentEntry, content_name, slice_after
from orchestrator.domain.facts import API, Key, Note
from orchestrator.domain.video import Leg, Plan, Video
from orchestrator.engine.reactions import gates, metrics, placing, reviews
from orchestrator.engine.reactions.attempts import (
    abandon,
    ask,
    deadline,
    file,
    handover_id,
    hold,
    leave,
    plan_of,
    retry,
    unschedule,
)
from orchestrator.engine.turn import Turn, command_id
from orchestrator.policies import recovery

SLICE = 50
"""Videos that one message deals with; the rest is left to further messages."""
ROUNDS = 6
"""More decisions about one video in one message would be a loop."""

FACTS_OF_LIFE = frozenset({"VideoScheduled", "VideoHandedOver", "UploadStarted", "UploadCompleted"})


def consider_all(turn: Turn, video_ids: Sequence[str], work: dict[str, Any]) -> None:
    """Considers some of the videos that `work` is about, and leaves the others to further messages."""
    part, after = slice_after(video_ids, work.get("after", ""), SLICE)
    turn.load(Video.key(name) for name in part)
    for name in part:
        consider(turn, name)
    if after is not None:
        turn.work(**{**work, "after": after})


def consider(turn: Turn, video_id: str) -> None:
    """Decides what should become of the video now, by everything known, and does it."""
    video = turn.video(video_id)
    look_again: datetime | None = None
    for _ in range(ROUNDS):
        plan = plan_of(video)
        file(turn, video_id, plan)
        if turn.policies is None:
            return
        acted, look_again = _act(turn, video, plan)
        if not acted:
            break
    else:
        raise RuntimeError(f"the decisions about {video_id} do not come to an end")
    turn.timer(f"video:{video_id}", look_again, timer="video", video_id=video_id)


def _act(turn: Turn, video: Video, plan: Plan) -> tuple[bool, datetime | None]:
    """Takes at most one decision. Whether it took one, and otherwise when to look again."""
    video_id = video.video_id
    if plan.posts:
        metrics.watch(turn, video, plan)
        return _settle_posted(turn, video, plan), reviews.of_video(turn, video, plan)
    if _is_to_be_held(turn, plan):
        hold(turn, video, str(turn.desk.rejected(plan.wish["campaign_id"], plan.wish["ref"])), None, why="stop")
        return True, None
    if plan.end == "waiting":
        ends = datetime.fromisoformat(plan.deadline) if plan.deadline is not None else None
        if ends is not None and turn.now >= ends and plan.held is None:
            abandon(turn, video, plan, f"its deadline has passed: {plan.reason}")
            return True, None
        # A timer that was set again to its own past would never ring; a release looks at it anyway.
        return False, ends if plan.held is None else None
    leg = plan.live
    if leg is None:
        return False, None
    if plan.held is not None:
        _gate(turn, video_id, plan, leg)
        return False, None
    bundle = turn.desk.bundle(leg.bundle_id)
    if bundle is None or turn.policies is None:
        return False, None
    policy = turn.policies.at(plan.wish["country"], plan.wish["platform"])
    step = recovery.course(
        leg,
        state=bundle.state,
        warmed=bundle.warmed,
        ban=bundle.ban,
        holds=bundle.holds,
        policy=policy,
        zone=policy.zone(plan.wish["country"]),
        now=turn.now,
        has_slot=bundle.slots_free != 0,
    )
    if step.is_silence and not turn.is_timer:
        step = recovery.Course(recovery.NOTHING, at=turn.now + recovery.GRACE)
    if step.what == recovery.RESCHEDULE:
        step = placing.reschedule(turn, video, plan, leg, step.why, step.day)
    if step.what == recovery.NOTHING:
        return _gate(turn, video_id, plan, leg), step.at
    if step.what == recovery.ELSEWHERE:
        if placing.moves_elsewhere(turn, video, plan, leg, step.why):
            return True, None
        return _gate(turn, video_id, plan, leg), deadline(turn, plan)
    if step.what == recovery.RETRY:
        retry(turn, video, leg, step.why, step.answers, not_before=step.at)
    elif step.what == recovery.MOVE:
        placing.move(turn, video, plan, leg, step.why, step.answers)
    elif step.what == recovery.ASK:
        ask(turn, video, leg, step.why, step.answers)
    elif step.what == recovery.STOP:
        _stop(turn, video, plan, leg, step.why, step.answers)
    elif step.what == recovery.HOLD:
        hold(turn, video, step.why, step.answers, why="ban")
    return True, None


def _is_to_be_held(turn: Turn, plan: Plan) -> bool:
    """Whether the platform rejected its content, and it is not with TokPortal, nor released by a person."""
    if (
        plan.held is not None
        or plan.is_cleared
        or turn.desk.rejected(plan.wish["campaign_id"], plan.wish["ref"]) is None
    ):
        return False
    return plan.end == "waiting" or (plan.live is not None and not plan.live.is_with_vendor)


def on_news(turn: Turn, video: Video, key: Key) -> None:
    """The fact with this key was recorded about a video of ours."""
    note = next((note for note in reversed(video.notes) if note.key == key), None)
    if note is None:  # Of metrics only the newest are remembered.
        return
    plan = plan_of(video)
    video_id = video.video_id
    about = {"video_id": video_id, "bundle_id": note.bundle_id, "campaign_id": plan.wish["campaign_id"]}
    carrier = next((leg for leg in plan.legs if leg.bundle_id == note.bundle_id), None)
    if carrier is None and note in plan.elsewhere:
        text = f"{note.name} of video {video_id} came from {note.bundle_id}, which never carried it"
        turn.alert("wrong_bundle", text, once=f"{video_id}:{note.bundle_id}", **about)
        if note.dialect == API and note.name in FACTS_OF_LIFE and _is_nowhere(plan):
            # It was read there: a database that was restored does not know where its videos went since.
            hold(turn, video, f"TokPortal has it on {note.bundle_id}: it may still be posted there", None, why="signs")
    elif carrier is not None and carrier.left and _is_alive(turn, carrier, note):
        text = f"{note.name} on {note.bundle_id}, which video {video_id} was taken from"
        turn.alert("late_news", text, once=f"{video_id}:{note.bundle_id}", **about)
        if _is_nowhere(plan):
            hold(turn, video, f"signs of life on {note.bundle_id}: it may still be posted there", note.key, why="signs")
    if (carrier is None or carrier.left) and (why := _rejection(turn, plan, note)) is not None:
        # Late news, and no less true for it.
        reject(turn, plan.wish["campaign_id"], plan.wish["ref"], why)
    if note.name == "CorrectionsRequested":
        turn.alert("corrections", f"corrections were requested for video {video_id}", once=note.event_id, **about)
    elif note.name in ("NotRecommended", "AiLabeled", "SoundRestricted"):
        turn.alert("flagged", f"{note.name}: video {video_id} on {note.bundle_id}", once=note.event_id, **about)
    if note.name != "MetricsUpdated":
        consider(turn, video_id)


def _is_nowhere(plan: Plan) -> bool:
    """Whether TokPortal was not told of any attempt that is under way, and nothing keeps the next one back."""
    live = plan.live
    is_idle = plan.end in ("waiting", "abandoned") or (live is not None and not live.is_with_vendor)
    return plan.held is None and is_idle


def _rejection(turn: Turn, plan: Plan, note: Note) -> str | None:
    """What the fact says of the content, if the platform rejected it for good."""
    if note.name != "PostFailed" or turn.policies is None or recovery.is_to_be_tried_again(note):
        return None
    code = str(note.detail.get("error_code"))
    policy = turn.policies.at(plan.wish["country"], plan.wish["platform"])
    return recovery.rejection(code) if policy.failure.action(code) == "stop" else None


def on_lifted_ban(turn: Turn, bundle_id: str, video_ids: Sequence[str]) -> None:
    """A person reinstated the account: what was taken from it for the ban may still be posted there."""
    turn.load(Video.key(name) for name in video_ids)
    for name in video_ids:
        if not turn.is_ours(name):
            continue
        video = turn.video(name)
        plan = plan_of(video)
        leg = next((leg for leg in plan.legs if leg.bundle_id == bundle_id), None)
        if (
            leg is None
            or not leg.left
            or not recovery.may_post(leg)
            or plan.posts
            or recovery.is_over(leg, "reinstated")
        ):
            continue
        unschedule(turn, video, plan, leg)
        live = plan.live
        if plan.held is None and (plan.end == "waiting" or (live is not None and not live.is_with_vendor)):
            hold(turn, video, f"{bundle_id} is reinstated: it may still be posted there", None, why="signs")
            consider(turn, name)


def _is_alive(turn: Turn, leg: Leg, note: Note) -> bool:
    """Whether the fact is a sign of life after the failure or the ban for which the attempt was given up."""
    if note.name not in FACTS_OF_LIFE and not recovery.is_to_be_tried_again(note):
        return False
    ends = [fact.key for fact in leg.facts if fact.name == "PostFailed" and not recovery.is_to_be_tried_again(fact)]
    bundle = turn.desk.bundle(leg.bundle_id)
    if bundle is not None and bundle.ban is not None:
        ends.append(bundle.ban)
    if ends:
        return note.key > max(ends)
    return leg.left_at is not None and note.occurred_at > leg.left_at


def _settle_posted(turn: Turn, video: Video, plan: Plan) -> bool:
    """It is posted: what is under way elsewhere is no longer wanted."""
    posts = plan.posts
    where = posts[0].bundle_id
    bundles = sorted({str(note.bundle_id) for note in posts})
    if len(bundles) > 1:
        text = f"video {video.video_id} is posted twice: on {' and on '.join(bundles)}"
        turn.alert("double_posted", text, once=video.video_id, video_id=video.video_id)
    for kind in ("stuck", "missed") if any(leg.asked for leg in plan.legs) else ():
        text = f"video {video.video_id} is posted on {where}"
        turn.resolve(kind, video.video_id, text, once=video.video_id, video_id=video.video_id)
    leg = plan.legs[-1] if plan.legs else None
    if leg is None or leg.left or leg.posted is not None or plan.end in ("abandoned", "cancelled"):
        return False
    text = f"posted on {where} after all"
    turn.alert(
        "late_news", f"video {video.video_id} was {text}", once=f"{video.video_id}:posted", video_id=video.video_id
    )
    leave(turn, video, plan, leg, text, posts[0].key)
    return True


def _gate(turn: Turn, video_id: str, plan: Plan, leg: Leg) -> bool:
    """Lets the command of an attempt go, or has it wait. Whether the attempt moved to another day for that."""
    entry = turn.desk.video(video_id)
    if entry is None:
        return False
    why = gates.handover(turn, entry)
    if leg.is_unanswered:
        name = command_id("look_up", video_id, leg.number, leg.tries, leg.asked)
        shut = gates.sending(turn)
        if shut is None:
            turn.move_command(name, "pending", None, of=("held",))
        else:
            turn.move_command(name, "held", shut, of=("pending", "held"))
    if leg.sent is not None:
        return False
    name = handover_id(plan, video_id, leg)
    if why is not None:
        turn.move_command(name, "held", why, of=("pending", "held"))
        return False
    if placing.moves_on(turn, turn.video(video_id), plan, leg):
        return True
    turn.move_command(name, "pending", None, of=("held",))
    return False


def _stop(turn: Turn, video: Video, plan: Plan, leg: Leg, why: str, answers: Key | None) -> None:
    """The platform rejected the content: it goes nowhere else, and neither does any video of the same content."""
    campaign_id, ref = plan.wish["campaign_id"], plan.wish["ref"]
    reject(turn, campaign_id, ref, why)
    leave(turn, video, plan, leg, why, answers)
    abandon(turn, video, plan, why, answers)


def reject(turn: Turn, campaign_id: str, ref: str, why: str) -> None:
    """Holds every video of this content that is not handed over yet."""
    if turn.desk.rejected(campaign_id, ref) is None:
        turn.desk.put("content", content_name(campaign_id, ref), ContentEntry(campaign_id, ref, why))
    campaign = turn.desk.campaign(campaign_id)
    text = f"{ref} of {campaign.name if campaign is not None else campaign_id}: {why}"
    turn.alert("stopped", text, once=f"{campaign_id}:{ref}", campaign_id=campaign_id)
    hold_content(turn, campaign_id, ref, why)


def hold_content(turn: Turn, campaign_id: str, ref: str, why: str, after: str = "") -> None:
    part, later = slice_after(turn.desk.of_content(campaign_id, ref), after, SLICE)
    turn.load(Video.key(name) for name in part)
    for name in part:
        entry = turn.desk.video(name)
        if entry is not None and entry.is_open and not entry.with_vendor and not entry.held:
            hold(turn, turn.video(name), why, None, why="stop")
            consider(turn, name)
    if later is not None:
        turn.work("hold", campaign_id=campaign_id, ref=ref, why=why, after=later)
