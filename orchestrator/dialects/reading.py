"""What a message says, and the checks that both dialects share."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from orchestrator.domain.countries import PLATFORMS, country_code
from orchestrator.domain.facts import Fact

EARLIEST = datetime(2015, 1, 1, tzinfo=UTC)
AHEAD = timedelta(hours=1)
MAX_IDENTIFIER = 200


class Unreadable(Exception):
    """The message cannot be understood; the text says why."""


class Unrecognised(Exception):
    """Nobody knows this event type."""


class Reading(msgspec.Struct, frozen=True):
    """One message in our terms. Without `kind` it is only recorded in the journal (a test message, say).

    A fact about a video names `video_id` and `bundle_id`; one about a bundle `bundle_id`, or only the account.
    """

    kind: type[Fact] | None
    occurred_at: datetime
    bundle_id: str | None = None
    video_id: str | None = None
    account: str | None = None
    country: str | None = None
    platform: str | None = None
    data: Mapping[str, Any] = {}


def is_identifier(value: object) -> bool:
    """Whether `value` can name something: 1 to 200 printable characters."""
    return isinstance(value, str) and 0 < len(value) <= MAX_IDENTIFIER and value.isprintable() and value.strip() != ""


def check_event_id(value: object) -> None:
    if value is not None and not is_identifier(value):
        raise Unreadable(f"the event id must be 1 to {MAX_IDENTIFIER} printable characters")


def identifier(holder: Mapping[str, Any], name: str, path: str = "") -> str:
    """The identifier at `name`. Raises `Unreadable` if it is missing or malformed."""
    value = holder.get(name)
    if value is None:
        raise Unreadable(f"{path}{name} is missing")
    return _checked_identifier(value, path + name)


def optional_identifier(holder: Mapping[str, Any], name: str, path: str = "") -> str | None:
    value = holder.get(name)
    return None if value is None else _checked_identifier(value, path + name)


def _checked_identifier(value: Any, path: str) -> str:
    if not is_identifier(value):
        raise Unreadable(f"{path} must be a string of 1 to {MAX_IDENTIFIER} printable characters")
    return str(value)


def text(holder: Mapping[str, Any], name: str, path: str, *, required: bool = False) -> None:
    """Checks that the member is a string, or absent where it may be."""
    value = holder.get(name)
    if value is None:
        if required:
            raise Unreadable(f"{path}{name} is missing")
    elif type(value) is not str:
        raise Unreadable(f"{path}{name} must be a string")


def count(holder: Mapping[str, Any], name: str, path: str) -> None:
    """Checks that the member is a whole number of at least 0, or absent."""
    value = holder.get(name)
    if value is not None and (type(value) is not int or value < 0):
        raise Unreadable(f"{path}{name} must be a whole number of at least 0")


def members(holder: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The object at `name`. Raises `Unreadable` if it is missing or none."""
    value = holder.get(name)
    if value is None:
        raise Unreadable(f"{name} is missing")
    if type(value) is not dict:
        raise Unreadable(f"{name} must be an object")
    return value


def instant(holder: Mapping[str, Any], name: str, received_at: datetime, path: str = "") -> datetime:
    """The time at `name`, as UTC: ISO 8601 with an offset, from 2015 to one hour after its receipt."""
    value = holder.get(name)
    if value is None:
        raise Unreadable(f"{path}{name} is missing")
    if type(value) is not str:
        raise Unreadable(f"{path}{name} must be a string, a time in ISO 8601 with its offset")
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        raise Unreadable(f"{path}{name} is no time in ISO 8601, such as 2026-11-20T17:00:00Z") from None
    if time.tzinfo is None:
        raise Unreadable(f"{path}{name} has no offset from UTC, such as a Z at its end")
    try:
        time = time.astimezone(UTC)
    except OverflowError:
        raise Unreadable(f"{path}{name} is before 2015 or more than an hour ahead of its receipt") from None
    if time < EARLIEST:
        raise Unreadable(f"{path}{name} is before 2015")
    if time > received_at + AHEAD:
        raise Unreadable(f"{path}{name} is more than an hour ahead of its receipt")
    return time


def country(holder: Mapping[str, Any], path: str = "", *, required: bool) -> str | None:
    value = holder.get("country")
    if value is None:
        if required:
            raise Unreadable(f"{path}country is missing")
        return None
    code = country_code(value) if type(value) is str else None
    if code is None:
        raise Unreadable(f"{path}country must be an ISO 3166 alpha-2 code, USA or UK")
    return code


def platform(holder: Mapping[str, Any], path: str = "", *, required: bool) -> str | None:
    value = holder.get("platform")
    if value is None:
        if required:
            raise Unreadable(f"{path}platform is missing")
        return None
    if type(value) is not str or value not in PLATFORMS:
        raise Unreadable(f"{path}platform must be one of {', '.join(sorted(PLATFORMS))}")
    return value
