"""What TokPortal tells, worded for tests: messages of both dialects with ids that no other test uses."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
_run = uuid4().hex[:6]
_numbers = itertools.count(1)


def fresh(prefix: str) -> str:
    """An id that nothing has yet."""
    return f"{prefix}_{_run}_{next(_numbers)}"


def at(minute: float) -> str:
    return stamp(NOON + timedelta(minutes=minute))


def stamp(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")


def from_now(**distance: float) -> str:
    """A time that lies this far ahead."""
    return stamp(datetime.now(UTC) + timedelta(**distance))


def article(event: str, bundle: str, minute: float = 0, data: Mapping[str, Any] | None = None, **members: Any) -> dict:
    """An event of the article dialect; `members` replace what would be in the envelope."""
    return {
        "id": fresh("evt"),
        "event": event,
        "timestamp": at(minute),
        "bundle_id": bundle,
        "platform": "tiktok",
        "country": "US",
        "data": dict(data or {}),
    } | members


def public(type: str, minute: float = 0, *, data: Mapping[str, Any], **members: Any) -> dict:
    """An event of the public dialect."""
    return {
        "id": fresh("evt"),
        "type": type,
        "api_version": "2026-05-25",
        "created_at": at(minute),
        "data": dict(data),
    } | members


def without(message: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in message.items() if key != name}
