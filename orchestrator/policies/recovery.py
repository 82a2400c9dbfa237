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

WINDOW = timedelta(days=2)
"""A target day opens a window of two days in which TokPortal's account manager posts (its documentation)."""
ASK_AGAIN = timedelta(hours=6)
ASK_AGAIN_AT_MOST = timedelta(hours=24)
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
) -> Course:
    """What to do with the attempt `leg`, whose account is in `state`, by the `ban` if it is banned, under `holds`."""
    found = _course(leg, state, warmed, ban, holds, policy, zone, now)
    if found.what == ASK and leg.is_unanswered:
        return Course(NOTHING)
    if found.what == ASK and leg.asked_at is not None:
        again = leg.asked_at + min(ASK_AGAIN * leg.asked, ASK_AGAIN_AT_MOST)
        if now < again:
            return Course(NOTHING, at=again)
    return found


def _course(
    leg: Leg,
    state: str,
    warmed: bool,
    ban: Key | None,
    holds: Collection[str],
    policy: Policy,
    zone: ZoneInfo,
    now: datetime,
) -> Course:
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
                backoff = policy.failure.backoff
                wait = backoff[min(leg.tries, len(backoff)) - 1] if backoff else timedelta(0)
                return Course(
                    RETRY, f"{code}: try {leg.tries + 1} of {policy.failure.retries + 1}", failure.key, now + wait
                )
            tried = f" after {leg.tries} tries" if leg.tries > 1 else ""
            return Course(MOVE, f"{code}{tried}", failure.key)
    if state == "banned":
        if policy.ban.then == "hold" and not leg.released:
            return Course(HOLD, "the account is banned, and the policy holds its videos", ban)
        return Course(MOVE, "the account is banned", ban)
    if "closed" in holds:
        return Course(ASK if leg.is_with_vendor else MOVE, "the bundle is closed")
    return _in_time(leg, state, warmed, holds, policy, zone, now)


def _in_time(
    leg: Leg, state: str, warmed: bool, holds: Collection[str], policy: Policy, zone: ZoneInfo, now: datetime
) -> Course:
    """What follows from the time alone: silence, or a day that comes too close for an account that cannot post."""
    opens = window_opens(date.fromisoformat(leg.target_day), zone)
    if not leg.is_with_vendor:
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
