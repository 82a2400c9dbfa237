"""What a webhook says, and what follows from it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from orchestrator import dialects
from orchestrator.dialects import Reading, Unreadable, Unrecognised
from orchestrator.domain.bundle import Account, Bundle
from orchestrator.domain.facts import KINDS, BundleMentioned, CreditsRestored
from orchestrator.domain.video import Video
from orchestrator.engine.reactions import bundles, credits, joins, videos
from orchestrator.engine.turn import Turn, instant
from orchestrator.journal.inbox import APPLIED, QUARANTINED, TESTED, UNRECOGNISED, Taken


class Judged(msgspec.Struct, frozen=True):
    """A webhook as it was understood: a reading, or the status and reason for which there is none."""

    message: Taken
    reading: Reading | None
    status: str
    reason: str | None = None


def judge(message: Taken) -> Judged:
    """Reads a webhook. Never raises for its content."""
    reading, status, reason = None, APPLIED, None
    try:
        reading = dialects.read(str(message.dialect), message.body, instant(message.received_at))
    except Unreadable as error:
        status, reason = QUARANTINED, str(error)
    except Unrecognised as error:
        status, reason = UNRECOGNISED, str(error)
    if message.mode == "test":
        verdict = f"would be {status}" if reason is None else f"would be {status}: {reason}"
        return Judged(message, None, TESTED, verdict)
    return Judged(message, reading, status, reason)


def touched(reading: Reading) -> Iterable[str]:
    """The ids, in the log, of the aggregates that the reading is about."""
    if reading.kind is None:
        return
    if reading.video_id is not None:
        yield Video.key(reading.video_id)
    if reading.bundle_id is not None:
        yield Bundle.key(reading.bundle_id)
    elif reading.account is not None:
        yield Account.key(reading.account)


def apply(reading: Reading, turn: Turn, name: tuple[str, str] | None = None, *, quiet: bool = False) -> None:
    """Records the fact on the aggregate that it is about, which is registered first where it is new, and does what
    follows from it. `name`: its event id and dialect, where they are not the message's; `quiet`: of strangers nobody is
    told."""
    if reading.kind is None:
        return
    event_id, dialect = name or (str(turn.message.event_id), str(turn.message.dialect))
    fact: dict[str, Any] = {
        "timestamp": turn.now,
        "message_id": turn.message.message_id,
        "occurred_at": reading.occurred_at,
        "event_id": event_id,
        "dialect": dialect,
        "bundle_id": reading.bundle_id,
        "account": reading.account,
        "country": reading.country,
        "platform": reading.platform,
        "data": reading.data,
    }
    if reading.video_id is not None:
        if reading.bundle_id is not None and _mention(reading.bundle_id, reading, turn, (event_id, dialect)):
            bundles.changed(turn, [reading.bundle_id])
        video_id = joins.named(turn, reading.video_id, reading.bundle_id, reading.data, reading.occurred_at)
        video = turn.video(video_id)
        video.record(reading.kind, **fact)
        if turn.is_ours(video_id):
            videos.on_news(turn, video, (reading.occurred_at, reading.kind.rank, event_id, dialect))
        elif not quiet:
            _tell_of_stranger(reading, turn, video)
    elif reading.bundle_id is not None:
        turn.bundle(reading.bundle_id).record(reading.kind, **fact)
        bundles.changed(turn, [reading.bundle_id])
    elif reading.account is not None:
        turn.account(reading.account).record(reading.kind, **fact)
        bundles.account_changed(turn, reading.account)
    if reading.kind is CreditsRestored:
        credits.may_be_back(turn, "TokPortal restored credits")


def _mention(bundle_id: str, reading: Reading, turn: Turn, name: tuple[str, str]) -> bool:
    """Has the bundle learn what a video's fact says of it. Whether it was news, or the first word of the bundle."""
    bundle = turn.bundle(bundle_id)
    event_id, dialect = name
    key = (reading.occurred_at, BundleMentioned.rank, event_id, dialect)
    if not bundle.needs_mention(key, reading.country, reading.platform, reading.account):
        return turn.desk.bundle(bundle_id) is None
    bundle.record(
        KINDS["BundleMentioned"],
        timestamp=turn.now,
        message_id=turn.message.message_id,
        occurred_at=reading.occurred_at,
        event_id=event_id,
        dialect=dialect,
        account=reading.account,
        country=reading.country,
        platform=reading.platform,
    )
    return True


def _tell_of_stranger(reading: Reading, turn: Turn, video: Video) -> None:
    """A video that no campaign planned: policies do not act on it, but people should know, once an hour. While
    TokPortal's answer to a handover on the same bundle is out, this may be ours under TokPortal's name: its next news
    will tell."""
    if turn.was_told_hourly("stranger", str(reading.bundle_id)):
        return
    live = (turn.desk.video(video_id) for video_id in turn.desk.live_on(str(reading.bundle_id)))
    if any(entry is not None and entry.with_vendor and entry.state == "planned" for entry in live):
        return
    text = f"{reading.bundle_id} has a video that no campaign planned: {video.video_id}"
    turn.alert_hourly("stranger", str(reading.bundle_id), text, bundle_id=reading.bundle_id)
