"""Tells where a batch differs from what was written: which row was changed, removed, inserted or moved."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

import msgspec

from orchestrator.audit.findings import Finding
from orchestrator.dialects import identify
from orchestrator.log.chain import TAG, Link

MOST_MOVED: Final = 200
"""Rows that are compared with each other to find out which changed places."""

RENUMBERED: Final = "and the ones after it were renumbered: what follows cannot be told apart any more"

LeafOf = Callable[[str, Sequence[Any]], bytes]


def places(link: Link, sections: Mapping[str, Sequence[Sequence[Any]]], leaf_of: LeafOf) -> list[Finding]:
    """At least one finding. One of a row that was inserted or removed may say that the ones after it were renumbered:
    then nothing more can be told of what follows."""
    messages = link.last_applied - link.first_applied + 1
    events = link.last_position - link.first_position + 1
    tags = [link.tags[start : start + TAG] for start in range(0, len(link.tags), TAG)]
    retried = len(tags) - messages - events
    if messages < 0 or events < 0 or retried < 0 or len(link.tags) % TAG:
        text = f"batch {link.batch} covers another number of rows than it says"
        return [Finding("changed", "batch", text, link.batch, link.first_position)]
    parts = (
        ("message", link.first_applied, tags[:messages]),
        ("retried", 1, tags[messages : messages + retried]),
        ("event", link.first_position, tags[messages + retried :]),
    )
    found = [
        finding
        for kind, first, wanted in parts
        for finding in _Section(link, kind, first, wanted, sections[kind], leaf_of).findings()
    ]
    if not found:
        text = f"batch {link.batch} does not have the digest that follows from what it covers"
        found.append(Finding("chain", "batch", text, link.batch, link.first_position))
    return found


class _Section:
    """The rows of one kind, and the tags that they were written with, from the number `first` on."""

    def __init__(
        self,
        link: Link,
        kind: str,
        first: int,
        wanted: Sequence[bytes],
        items: Sequence[Sequence[Any]],
        leaf_of: LeafOf,
    ) -> None:
        self._link = link
        self._kind = kind
        self._wanted = dict(enumerate(wanted, start=first))
        self._there = {item[0]: item for item in items}
        self._leaf_of = leaf_of

    def findings(self) -> list[Finding]:
        wrong = [number for number in self._wanted if not self._fits(number, number)]
        strange = [number for number in self._there if number not in self._wanted]
        found = [self._finding("inserted", number, "was not there when the batch was written") for number in strange]
        if not wrong:
            return found
        begin, last = wrong[0], next(reversed(self._wanted))
        if begin < last and all(self._fits(number + 1, number) for number in range(begin, last)):
            return [self._finding("inserted", begin, f"was inserted, {RENUMBERED}")]
        if begin < last and all(self._fits(number - 1, number) for number in range(begin + 1, last + 1)):
            return [_finding("removed", self._kind, begin, self._link, None, f"is gone, {RENUMBERED}")]
        origins = self._origins(wrong)
        return found + [self._of(number, origins.get(number)) for number in wrong]

    def _fits(self, number: int, place: int) -> bool:
        """Whether the row with this number is what was written at `place`."""
        item = self._there.get(number)
        if item is None or (number != place and len(item) < 3):
            return False
        moved = item if number == place else (place, *item[1:])
        return self._leaf_of(self._kind, moved)[:TAG] == self._wanted[place]

    def _origins(self, wrong: Sequence[int]) -> dict[int, int]:
        """Of rows that changed places: where each was written."""
        if len(wrong) > MOST_MOVED:
            return {}
        return {number: place for number in wrong for place in wrong if number != place and self._fits(number, place)}

    def _of(self, number: int, origin: int | None) -> Finding:
        item = self._there.get(number)
        if item is None:
            return self._finding("removed", number, "is gone")
        if self._kind == "message" and len(item) > 2 and item[2] is None:
            return self._finding("removed", number, "is gone from the journal")
        if origin is not None:
            text = f"changed places: what is at {number} now was written at {origin}"
            return self._finding("reordered", number, text)
        return self._finding("changed", number, f"was changed{_hint(self._kind, item)}")

    def _finding(self, kind: str, number: int, text: str) -> Finding:
        return _finding(kind, self._kind, number, self._link, self._there.get(number), text)


def _finding(kind: str, what: str, number: int, link: Link, item: Sequence[Any] | None, text: str) -> Finding:
    if what == "event":
        subject = f" ({item[3]} of {item[1]})" if item is not None and len(item) > 3 else ""
        return Finding(kind, "event", f"event {number}{subject} {text}", link.batch, position=number)
    if what == "message":
        seq = item[1] if item is not None and len(item) > 2 else None
        name = f" (msg_{raw(item[2]).hex()})" if item is not None and len(item) > 2 and item[2] is not None else ""
        return Finding(kind, "message", f"message {number}{name} {text}", link.batch, message=number, seq=seq)
    seq = item[1] if item is not None and len(item) > 2 else None
    return Finding(kind, "retry", f"retry {number} of batch {link.batch} {text}", link.batch, seq=seq)


def _hint(kind: str, item: Sequence[Any]) -> str:
    """What of the row was changed, where the row itself gives it away."""
    if kind == "event" and len(item) > 4:
        return "" if _is_json(item[4]) else ": its data are no JSON any more"
    if kind == "message" and len(item) > 10 and not _has_digest(item):
        return ": its body is not the one that its digest was made of"
    return ""


def _has_digest(item: Sequence[Any]) -> bool:
    _, _, _, _, _, _, dialect, _, _, digest, body, *_ = item
    body = raw(body)
    # Webhooks are known by what they say, all else by its bytes.
    return digest in (sha256(body).hexdigest(), identify(str(dialect), body).digest)


def raw(value: Any) -> bytes:
    """SQLite keeps whatever it is given: what was bytes may be a text by now."""
    return bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode()


def _is_json(state: bytes) -> bool:
    try:
        msgspec.json.decode(state)
    except ValueError:
        return False
    return True
