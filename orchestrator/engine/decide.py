"""What follows from a message: a pure function of the message and the aggregates that it touches."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from orchestrator import dialects
from orchestrator.dialects import Reading, Unreadable, Unrecognised
from orchestrator.domain.bundle import Account, Bundle
from orchestrator.domain.facts import KINDS, BundleMentioned
from orchestrator.domain.video import Video
from orchestrator.journal.inbox import APPLIED, QUARANTINED, TESTED, UNRECOGNISED, Taken

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def instant(microseconds: int) -> datetime:
    return EPOCH + timedelta(microseconds=microseconds)


@dataclass(frozen=True, slots=True)
class Judged:
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


class Aggregates(Protocol):
    """The aggregates of a batch, loaded beforehand."""

    def bundle(self, bundle_id: str, message_id: str, now: datetime) -> Bundle: ...

    def account(self, saved_account_id: str, message_id: str, now: datetime) -> Account: ...

    def video(self, video_id: str, message_id: str, now: datetime) -> Video: ...


def apply(reading: Reading, message: Taken, aggregates: Aggregates, now: datetime) -> None:
    """Records the fact on the aggregate that it is about, which is registered first where it is new."""
    if reading.kind is None:
        return
    fact: dict[str, Any] = {
        "timestamp": now,
        "message_id": message.message_id,
        "occurred_at": reading.occurred_at,
        "event_id": message.event_id,
        "dialect": message.dialect,
        "bundle_id": reading.bundle_id,
        "account": reading.account,
        "country": reading.country,
        "platform": reading.platform,
        "data": reading.data,
    }
    if reading.video_id is not None:
        if reading.bundle_id is not None:
            _mention(reading.bundle_id, reading, message, aggregates, now)
        aggregates.video(reading.video_id, message.message_id, now).record(reading.kind, **fact)
    elif reading.bundle_id is not None:
        aggregates.bundle(reading.bundle_id, message.message_id, now).record(reading.kind, **fact)
    elif reading.account is not None:
        aggregates.account(reading.account, message.message_id, now).record(reading.kind, **fact)


def _mention(bundle_id: str, reading: Reading, message: Taken, aggregates: Aggregates, now: datetime) -> None:
    bundle = aggregates.bundle(bundle_id, message.message_id, now)
    key = (reading.occurred_at, BundleMentioned.rank, str(message.event_id), str(message.dialect))
    if bundle.needs_mention(key, reading.country, reading.platform, reading.account):
        bundle.record(
            KINDS["BundleMentioned"],
            timestamp=now,
            message_id=message.message_id,
            occurred_at=reading.occurred_at,
            event_id=message.event_id,
            dialect=message.dialect,
            account=reading.account,
            country=reading.country,
            platform=reading.platform,
        )
