"""The base of our aggregates: what they are is the facts that they remember."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import Any

from eventsourcing.domain import BaseAggregate, CanInitAggregate
from eventsourcing.utils import register_topic

from orchestrator.domain.decisions import OURS, Step
from orchestrator.domain.facts import KINDS, DomainEvent, Note

for _topic, _kind in {**KINDS, **OURS}.items():
    register_topic(_topic, _kind)


_moments = count()


@dataclass(frozen=True)
class Registered(DomainEvent, CanInitAggregate[str]):
    """Base of the birth events. They are no facts, and histories do not show them."""

    originator_topic: str


class Remembering(BaseAggregate[str]):
    """Facts are applied by being remembered, and so are our own events, as steps; states are read from both by pure
    functions."""

    class Event(DomainEvent):
        pass

    def __init__(self) -> None:
        self.notes: list[Note] = []
        self.steps: list[Step] = []
        self._recorded = [next(_moments)]

    def remember(self, note: Note) -> None:
        self.notes.append(note)

    def take(self, step: Step) -> None:
        self.steps.append(step)

    def record(self, kind: type[Any], **values: Any) -> None:
        """Appends one event of `kind`; `values` are its fields, `timestamp` and `message_id` among them."""
        self.trigger_event(kind, **values)
        self._recorded.append(next(_moments))

    def collect(self) -> list[tuple[int, Any]]:
        """The events that were not collected yet, each with a number that tells which of any two aggregates' events
        came first."""
        events = list(self.collect_events())
        numbered = list(zip(self._recorded[len(self._recorded) - len(events) :], events, strict=True))
        self._recorded.clear()
        return numbered
