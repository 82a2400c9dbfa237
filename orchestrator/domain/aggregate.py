"""The base of our aggregates: what they are is the facts that they remember."""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import count
from typing import Any, Self

from eventsourcing.domain import BaseAggregate, CanInitAggregate
from eventsourcing.utils import get_topic, register_topic

from orchestrator.domain.decisions import OURS, Step
from orchestrator.domain.facts import KINDS, DomainEvent, Note

for _topic, _kind in {**KINDS, **OURS}.items():
    register_topic(_topic, _kind)


_moments = count()
_known_fields: dict[type[Any], dict[str, None]] = {}


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

    @classmethod
    def _create(cls, event_class: type[Any], *, id: str | None = None, **kwargs: Any) -> Self:
        event = _made(event_class, str(id), cls.INITIAL_VERSION, {"originator_topic": get_topic(cls), **kwargs})
        aggregate: Self = event.mutate(None)
        aggregate.pending_events.append(event)
        return aggregate

    def record(self, kind: type[Any], **values: Any) -> None:
        """Appends one event of `kind`; `values` are its fields, `timestamp` and `message_id` among them."""
        event = _made(kind, self.id, self.version + 1, values)
        event.mutate(self)
        self.pending_events.append(event)
        self._recorded.append(next(_moments))

    def collect(self) -> list[tuple[int, Any]]:
        """The events that were not collected yet, each with a number that tells which of any two aggregates' events
        came first."""
        events, self._pending_events = self._pending_events, []
        # What was recorded before it was read from the log is no news.
        moments, self._recorded = self._recorded[len(self._recorded) - len(events) :], []
        return list(zip(moments, events, strict=True))


def _made(kind: type[Any], originator_id: str, version: int, values: dict[str, Any]) -> Any:
    """The event, made as the library makes it, but without setting the fields of a frozen class one by one, which took
    a tenth of the engine's time. Raises TypeError where `values` are not its fields."""
    names = _fields(kind)
    if values.keys() != names.keys():
        raise TypeError(f"{kind.__name__} has the fields {', '.join(names)}, not {', '.join(values)}")
    event = object.__new__(kind)
    # In the order of their definition: equal events are to be equal bytes.
    event.__dict__.update({name: values[name] for name in names})
    event.__dict__.update(originator_id=originator_id, originator_version=version)
    return event


def _fields(kind: type[Any]) -> dict[str, None]:
    """The names of what an event of this kind says, besides whose it is and its version."""
    known = _known_fields.get(kind)
    if known is None:
        names = (field.name for field in fields(kind))
        known = {name: None for name in names if name not in ("originator_id", "originator_version")}
        _known_fields[kind] = known
    return known
