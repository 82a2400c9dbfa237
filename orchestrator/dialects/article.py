"""The article dialect: eleven event types, each naming its bundle, platform and country in the envelope."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from orchestrator.dialects.reading import (
    Reading,
    Unreadable,
    Unrecognised,
    check_event_id,
    count,
    country,
    identifier,
    instant,
    members,
    optional_identifier,
    platform,
    text,
)
from orchestrator.domain.facts import (
    BundleBanned,
    BundleCreated,
    BundleReady,
    Fact,
    MetricsUpdated,
    PostFailed,
    UploadCompleted,
    UploadStarted,
    VideoFact,
    VideoPosted,
    WarmingCompleted,
    WarmingFailed,
    WarmingStarted,
)

EVENTS: Mapping[str, type[Fact]] = {
    "bundle.created": BundleCreated,
    "bundle.ready": BundleReady,
    "bundle.warming_started": WarmingStarted,
    "bundle.warming_completed": WarmingCompleted,
    "bundle.warming_failed": WarmingFailed,
    "bundle.banned": BundleBanned,
    "video.upload_started": UploadStarted,
    "video.upload_completed": UploadCompleted,
    "video.posted": VideoPosted,
    "video.post_failed": PostFailed,
    "video.analytics_updated": MetricsUpdated,
}

TEXTS: Mapping[type[Fact], tuple[str, ...]] = {
    WarmingStarted: ("mode",),
    WarmingFailed: ("code", "reason"),
    BundleBanned: ("reason",),
    VideoPosted: ("url",),
    PostFailed: ("message",),
}
"""The members of `data` that are texts, where they are given."""


def read(message: Mapping[str, Any], received_at: datetime) -> Reading:
    """Raises `Unreadable` or `Unrecognised`."""
    text(message, "event", "", required=True)
    kind = EVENTS.get(message["event"])
    if kind is None:
        raise Unrecognised(f"the event type {message['event'][:80]!r} is not known")
    data = members(message, "data")
    check_event_id(message.get("id"))
    check_event_id(message.get("event_id"))
    check_event_id(data.get("event_id"))
    for name in ("username", *TEXTS.get(kind, ())):
        text(data, name, "data.")
    video_id = identifier(data, "video_id", "data.") if issubclass(kind, VideoFact) else None
    if kind is PostFailed:
        text(data, "error_code", "data.", required=True)
        _check_retry(data)
    elif kind is MetricsUpdated:
        check_metrics(data)
    return Reading(
        kind,
        instant(message, "timestamp", received_at),
        bundle_id=identifier(message, "bundle_id"),
        video_id=video_id,
        account=optional_identifier(data, "saved_account_id", "data."),
        country=country(message, required=True),
        platform=platform(message, required=True),
        data=data,
    )


def check_metrics(data: Mapping[str, Any]) -> None:
    for name in ("views", "likes", "shares", "comments"):
        count(data, name, "data.")
    if all(data.get(name) is None for name in ("views", "likes", "shares", "comments")):
        raise Unreadable("data has none of views, likes, shares and comments")


def _check_retry(data: Mapping[str, Any]) -> None:
    retry = data.get("retry")
    if retry is None:
        return
    if type(retry) is not dict:
        raise Unreadable("data.retry must be an object")
    count(retry, "attempt", "data.retry.")
    count(retry, "max_attempts", "data.retry.")
    if type(retry.get("will_retry")) not in (bool, type(None)):
        raise Unreadable("data.retry.will_retry must be true or false")
