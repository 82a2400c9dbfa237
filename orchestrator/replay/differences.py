"""What history says and what today's program does, side by side."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import msgspec

from orchestrator.engine.programs import Program

ABSENT = "(absent)"
Value = tuple[str, Any, Any]
"""Of a field: its path, what it was, what it would be."""

_decode = msgspec.json.Decoder().decode


class Event(Protocol):
    """An event as it is stored."""

    @property
    def originator_id(self) -> str: ...
    @property
    def originator_version(self) -> int: ...
    @property
    def topic(self) -> str: ...
    @property
    def state(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Changed:
    """One event that differs: `how` is `missing` (only history has it), `additional` (history does not have it),
    `changed`, or `moved` (the same among the others of its message, but elsewhere)."""

    how: str
    position: int | None
    aggregate: str
    version: int
    event: str
    fields: tuple[Value, ...] = ()


@dataclass(frozen=True, slots=True)
class Difference:
    """A message that gives other events today. `position`: where in the log its events begin, or would."""

    position: int
    message_id: str
    kind: str
    applied_seq: int
    program: Program | None
    is_error: bool
    """Whether it was this very program that wrote what it would not write again."""
    events: tuple[Changed, ...]
    note: str | None = field(default=None)

    def as_dict(self) -> dict[str, Any]:
        found = asdict(self)
        found["program"] = None if self.program is None else str(self.program)
        for event in found["events"]:
            event["fields"] = [{"field": name, "was": was, "is": now} for name, was, now in event["fields"]]
        return found


def is_same(one: Any, other: Any) -> bool:
    """Whether two stored events are equal, wherever they lie."""
    return bool(
        one.state == other.state
        and one.originator_id == other.originator_id
        and one.originator_version == other.originator_version
        and one.topic == other.topic
    )


def compare(expected: Sequence[Any], actual: Sequence[Event]) -> tuple[Changed, ...]:
    """The events of one message in history (they have positions), and today."""
    places: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for index, event in enumerate(actual):
        places[event.originator_id, event.topic].append(index)
    changed: list[Changed] = []
    last = -1
    for was in expected:
        like = places[was.originator_id, was.topic]
        if not like:
            changed.append(_changed("missing", was, was.position, _fields(was.state, None)))
            continue
        index = like.pop(0)
        now = actual[index]
        if not is_same(was, now):
            versions = ((("version", was.originator_version, now.originator_version),) if
                        was.originator_version != now.originator_version else ())  # fmt: skip
            changed.append(_changed("changed", was, was.position, (*versions, *_fields(was.state, now.state))))
        elif index < last:
            changed.append(_changed("moved", was, was.position))
        last = max(last, index)
    left = sorted(index for indexes in places.values() for index in indexes)
    changed += [_changed("additional", actual[i], None, _fields(None, actual[i].state)) for i in left]
    return tuple(changed)


def _changed(how: str, event: Event, position: int | None, fields: Iterable[Value] = ()) -> Changed:
    return Changed(how, position, event.originator_id, event.originator_version, event.topic, tuple(fields))


def _fields(was: bytes | None, now: bytes | None) -> tuple[Value, ...]:
    return tuple(_differences("", *(_read(state) if state is not None else {} for state in (was, now))))


def _read(state: bytes) -> Any:
    try:
        return _decode(state)
    except msgspec.DecodeError:
        return state.decode("utf-8", "backslashreplace")  # Somebody changed it, and not well.


def _differences(path: str, was: Any, now: Any) -> Iterable[Value]:
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        for name in (*was, *(name for name in now if name not in was)):
            inner = f"{path}.{name}" if path else str(name)
            yield from _differences(inner, was.get(name, ABSENT), now.get(name, ABSENT))
        if list(was) != list(now) and was == now:
            yield (path or "fields", "in the order " + ", ".join(was), "in the order " + ", ".join(now))
    elif isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        for index, pair in enumerate(zip(was, now, strict=True)):
            yield from _differences(f"{path}[{index}]", *pair)
    elif was != now:
        yield (path, was, now)
