"""What an event or a message is about, for people and for filters: read from what it holds, and from nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from orchestrator.clock import instant_of
from orchestrator.domain.times import iso

About = dict[str, Any]

NAMES: Final = ("bundle_id", "video_id", "campaign_id", "country", "platform")
_SUBJECTS: Final = {"bundle": "bundle_id", "video": "video_id", "campaign": "campaign_id"}


def about_event(item: Any) -> About:
    """Of an item of a batch of the chain. Never raises: what cannot be read is about nothing."""
    _, originator_id, _, topic, state = item
    values = _decode(state)
    data = values.get("data")
    about: About = {"event": topic, "recorded_at": values.get("timestamp"), "occurred_at": values.get("occurred_at")}
    kind, _, name = str(originator_id).partition(":")
    about |= _names(data) | _names(values)
    if kind in _SUBJECTS:
        about[_SUBJECTS[kind]] = name
    about |= {"actor": values.get("actor"), "reason": values.get("reason"), "cause": values.get("message_id")}
    return {name: value for name, value in about.items() if value is not None}


def about_message(item: Any) -> About:
    _, _, _, kind, _, _, _, event_id, _, _, body, _, actor, received_at, *_ = item
    values = _decode(body)
    about: About = {"kind": kind, "received_at": _moment(received_at), "actor": _decode(actor) or None}
    about |= {"event_id": event_id, "command": values.get("command"), "reason": values.get("reason")}
    about |= _names(values.get("data")) | _names(values)
    return {name: value for name, value in about.items() if value is not None}


def bundles_of(item: Any) -> set[str]:
    """Every bundle that an event names."""
    values = _decode(item[4])
    data = values.get("data")
    found = {values.get("bundle_id")}
    if isinstance(data, Mapping):
        found |= {data.get(name) for name in ("bundle_id", "from_bundle", "to_bundle")}
    kind, _, name = str(item[1]).partition(":")
    return {one for one in (*found, name if kind == "bundle" else None) if isinstance(one, str)}


def _names(values: Any) -> About:
    if not isinstance(values, Mapping):
        return {}
    return {name: values[name] for name in NAMES if isinstance(values.get(name), str)}


def _decode(data: Any) -> Mapping[str, Any]:
    try:
        found = msgspec.json.decode(data)
    except (ValueError, TypeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _moment(microseconds: Any) -> str | None:
    try:
        return iso(instant_of(microseconds))
    except (OverflowError, TypeError, ValueError):
        return None
