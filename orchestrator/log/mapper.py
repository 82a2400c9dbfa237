"""Domain events to bytes and back."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from eventsourcing.persistence import JSONTranscoder, Mapper, StoredEvent
from eventsourcing.utils import get_topic, resolve_topic

# Importing the aggregates registers their topics.
import orchestrator.domain.bundle
import orchestrator.domain.video
from orchestrator.domain.facts import Event

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class EventMapper(Mapper[str]):
    """The library's mapper with msgspec in place of its JSON: ten times as fast, and plain JSON in the log.

    Fields are written in the order of their definition, so equal events are equal bytes.
    """

    def __init__(self) -> None:
        super().__init__(transcoder=JSONTranscoder())

    def to_stored_event(self, domain_event: Any) -> StoredEvent:
        state = dict(vars(domain_event))
        originator_id = state.pop("originator_id")
        originator_version = state.pop("originator_version")
        return StoredEvent(originator_id, originator_version, get_topic(type(domain_event)), _encode(state))

    def to_domain_event(self, stored_event: StoredEvent) -> Event:
        return self.event(
            stored_event.originator_id, stored_event.originator_version, stored_event.topic, stored_event.state
        )

    def event(self, originator_id: Any, originator_version: int, topic: str, state: bytes) -> Event:
        """The event with these stored parts. Raises the library's TopicError for a topic that nobody knows."""
        kind = resolve_topic(topic)
        values = _decode(state)
        values["timestamp"] = datetime.fromisoformat(values["timestamp"])
        if "occurred_at" in values:
            values["occurred_at"] = datetime.fromisoformat(values["occurred_at"])
        values["originator_id"] = originator_id
        values["originator_version"] = originator_version
        event: Event = object.__new__(kind)
        event.__dict__.update(values)
        return event
