"""What should become of a video that is on its way: nothing yet, another try, another account, or the end.

A video is never handed to a second account while the first may still post it. What is only planned here, and what
TokPortal itself called failed or banned, moves at once; for the rest TokPortal is asked first (`ASK`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from orchestrator.domain.facts import Key, Note
from orchestrator.domain.video import Leg
from orchestrator.policies.placement import why_not_postable
from orchestrator.policies.schema import Policy

NOTHING = "nothing"
RETRY = "retry"
MOVE = "move"
ASK = "ask"
STOP = "stop"
HOLD = "hold"
RESCHEDULE = "reschedule"
"""Another day on the same account, not before `Course.day`; else another account."""
ELSEWHERE = "elsewhere"
"""Another account if one qualifies; else it waits where it is."""

WINDOW = timedelta(days=2)
"""A target day opens a window of two days in which TokPortal's account manager posts (its documentation)."""
ASK_AGAIN = timedelta(hours=6)
ASK_AGAIN_AT_MOST = timedelta(hours=24)
MOST_REFUSALS = 5
"""By one account, want of credits aside; then it is another account's turn, whatever TokPortal says."""
INSUFFICIENT_CREDITS = "INSUFFICIENT_CREDITS"
DAY_FULL = "VIDEOS_PER_DAY_EXCEEDED"
DAY_TOO_SOON = "INVALID_DATE"
COVERAGE_LAPSED = "MANAGED_ACCOUNT_TASK_BLOCKED"
NO_FREE_SLOT = "NO_FREE_SLOT"
"""The gateway's own word; all others are TokPortal's, by its documentation."""
INVALID_STATUS = "BUNDLE_INVALID_STATUS"
GONE = frozenset({"BUNDLE_NOT_FOUND", "BUNDLE_NOT_OWNED"})
GRACE = timedelta(minutes=15)
"""How long further news is waited for where some has just come and makes something look overdue."""


@dataclass(frozen=True, slots=True)
class Course:
    """What to do, why, which fact that answers, and when: for a retry not before `at`; for nothing, when to look
    again (None: only on news)."""

    what: str
    why: str = ""
    answers: Key | None = None
    at: datetime | None = None
    is_silence: bool = False
    """Whether nothing but the time says so. News may be late, so that is for a timer to find, not for other news."""
    day: date | None = None
    """For a reschedule: the first day that may do; None for any."""


def window_opens(day: date, zone: ZoneInfo) -> datetime:
    """When the posting window of a target day opens on the account's calendar."""
    return datetime.combine(day, time.min, zone)


def is_over(leg: Leg, state: str) -> bool:
    """Whether the account, which is in `state`, will not post it by TokPortal's own word."""
    return state == "banned" or (leg.failure is not None and not is_trying(leg))


def is_trying(leg: Leg) -> bool:
    """Whether TokPortal said that a post failed, and that it tries again itself."""
    return leg.failure is not None and is_to_be_tried_again(leg.failure)


def is_to_be_tried_again(failure: Note) -> bool:
    return (failure.detail.get("retry") or {}).get("will_retry") is True


def rejection(code: str) -> str:
    """What a code that says stop says of the content."""
    return f"{code}: the platform rejected this content"


def course(
    leg: Leg,
    *,
    state: str,
    warmed: bool,
    ban: Key | None,
    holds: Collection[str],
    policy: Policy,
    zone: ZoneInfo,
    now: datetime,
    has_slot: bool = True,
) -> Course:
    """What to do with the attempt `leg`, whose account is in `state`, by the `ban` if it is banned, under `holds`.
    `has_slot`: whether its bundle may have a slot for one more video."""
    found = _course(leg, state, warmed, ban, holds, policy, zone, now, has_slot)
    return in_turn(found, leg, now) if found.what == ASK else found


def in_turn(question: Course, leg: Leg, now: datetime) -> Course:
    """The question, unless it is put already, or was lately."""
    if leg.is_unanswered:
        return Course(NOTHING)
    if leg.asked_at is not None:
        again = leg.asked_at + min(ASK_AGAIN * leg.asked, ASK_AGAIN_AT_MOST)
        if now < again:
            return Course(NOTHING, at=again)
    return question


def _course(
    leg: Leg,
    state: str,
    warmed: bool,
    ban: Key | None,
    holds: Collection[str],
    policy: Policy,
    zone: ZoneInfo,
    now: datetime,
    has_slot: bool,
) -> Course:
    refused = _refused(leg, policy, now)
    if refused is not None and refused.what == STOP:
        return refused
    failure = leg.failure
    if failure is not None:
        code = str(failure.detail.get("error_code"))
        action = policy.failure.action(code)
        if is_trying(leg) and state != "banned":
            patience = failure.occurred_at + policy.failure.stuck_after["retrying"]
            if now < patience:
                return Course(NOTHING, at=patience)
            if action != "stop":
                return Course(
                    ASK, f"TokPortal was still trying after {code}, and then nothing", failure.key, is_silence=True
                )
        if action == "stop":
            return Course(STOP, rejection(code), failure.key)
        if state != "banned":
            if action == "retry" and leg.tries <= policy.failure.retries and "closed" not in holds:
                return Course(RETRY, _next_try(code, leg, policy), failure.key, now + _backoff(leg, policy))
            return Course(MOVE, f"{code}{_tried(leg)}", failure.key)
    if state == "banned":
        if policy.ban.then == "hold" and not leg.released:
            return Course(HOLD, "the account is banned, and the policy holds its videos", ban)
        return Course(MOVE, "the account is banned", ban)
    if "closed" in holds:
        return Course(ASK if may_post(leg) else MOVE, "the bundle is closed")
    if refused is not None:
        return refused
    if is_without_slot(leg, has_slot):
        is_closed = leg.refusal is not None and leg.refusal.code == INVALID_STATUS
        why = f"takes no videos now: {INVALID_STATUS}" if is_closed else "has no free slot"
        return Course(ELSEWHERE, f"{leg.bundle_id} {why}")
    return _in_time(leg, state, warmed, holds, policy, zone, now)


def is_without_slot(leg: Leg, has_slot: bool) -> bool:
    """Whether the attempt has still to get a slot, and its bundle has none."""
    return not has_slot and leg.taken_at is None and not leg.is_with_vendor


def _refused(leg: Leg, policy: Policy, now: datetime) -> Course | None:
    """What follows from TokPortal's refusal of the handover; None where it only has to wait for what is missing."""
    refusal = leg.refusal
    if refusal is None or refusal.code == INSUFFICIENT_CREDITS:
        return None
    code = refusal.code
    move = ASK if may_post(leg) else MOVE
    if sum(other != INSUFFICIENT_CREDITS for other in leg.refusals) > MOST_REFUSALS:
        return Course(move, f"{leg.bundle_id} refused it {len(leg.refusals)} times, the last time: {code}")
    if code == COVERAGE_LAPSED or code in GONE:
        return None
    if code in (NO_FREE_SLOT, INVALID_STATUS):
        return None if leg.taken_at is None else Course(move, code)
    if code == DAY_FULL:
        return Course(RESCHEDULE, f"TokPortal takes no further video for {leg.target_day} on {leg.bundle_id}")
    if code == DAY_TOO_SOON:
        later = date.fromisoformat(leg.target_day) + timedelta(days=1)
        earliest = day_of(refusal.details.get("earliest_allowed"))
        first = earliest if earliest is not None and earliest > later else later
        return Course(RESCHEDULE, f"TokPortal does not take {leg.target_day} on {leg.bundle_id}", day=first)
    action = policy.failure.action(code)
    if action == "stop":
        return Course(STOP, rejection(code))
    if action == "retry" and leg.tries <= policy.failure.retries:
        return Course(RETRY, _next_try(code, leg, policy), at=now + _backoff(leg, policy))
    return Course(move, f"{code}{_tried(leg)}")


def may_post(leg: Leg) -> bool:
    """Whether TokPortal may post it, by this try or by what it has of it besides: an earlier one, or one that it was
    found to have though nothing is known of its having been sent."""
    return leg.is_with_vendor or _has_slot(leg)


def _has_slot(leg: Leg) -> bool:
    """Whether TokPortal was known to have it, and never said that it failed, nor gave its slot back."""
    last = leg.facts[-1] if leg.facts else None
    is_failed = last is not None and last.name == "PostFailed" and not is_to_be_tried_again(last)
    return leg.taken_at is not None and not is_failed and not leg.is_free


def day_of(text: object) -> date | None:
    """The day that TokPortal names, perhaps with a time; None where it names none."""
    try:
        return date.fromisoformat(str(text)[:10])
    except ValueError:
        return None


def _next_try(code: str, leg: Leg, policy: Policy) -> str:
    return f"{code}: try {leg.tries + 1} of {policy.failure.retries + 1}"


def _tried(leg: Leg) -> str:
    return f" after {leg.tries} tries" if leg.tries > 1 else ""


def _backoff(leg: Leg, policy: Policy) -> timedelta:
    backoff = policy.failure.backoff
    return backoff[min(leg.tries, len(backoff)) - 1] if backoff else timedelta(0)


def _in_time(
    leg: Leg, state: str, warmed: bool, holds: Collection[str], policy: Policy, zone: ZoneInfo, now: datetime
) -> Course:
    """What follows from the time alone: silence, or a day that comes too close for an account that cannot post."""
    opens = window_opens(date.fromisoformat(leg.target_day), zone)
    if not may_post(leg):
        # Moved with as much lead as any account needs, it keeps its day.
        last_moment = opens - timedelta(days=policy.posting.lead_existing)
        why = why_not_postable(state, warmed, sorted(holds), policy)
        if why is None or "paused" in holds:
            # Should it still be here when its day begins, it is given another one.
            return Course(NOTHING, at=opens if now < opens else None)
        if now < last_moment:
            return Course(NOTHING, at=last_moment)
        return Course(MOVE, f"its day comes, and the account is {why}")
    last = leg.last
    if last is not None and last.name in ("UploadStarted", "UploadCompleted"):
        doing = "uploading" if last.name == "UploadStarted" else "uploaded"
        patience = last.occurred_at + policy.failure.stuck_after[doing]
        why = f"{doing} since {last.occurred_at:%Y-%m-%d %H:%M} UTC, and no news"
    else:
        patience = opens + WINDOW + policy.failure.missed_after
        why = f"no news of the post that was due on {leg.target_day}"
        unfit = sorted({"suspended", "uncovered"}.intersection(holds))
        if unfit and opens < patience:
            patience = opens
            why = f"its day has come, and the account is {unfit[0]}"
    if now < patience:
        return Course(NOTHING, at=patience)
    return Course(ASK, why, last.key if last is not None else None, is_silence=True)
