"""What an audit found, and what it says about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

MOST: Final = 100
"""Findings that are told one by one; the others are counted."""


class Finding(NamedTuple):
    """One difference. `kind`: changed, removed, inserted, reordered, cut, chain, signature, unreadable; `what`: event,
    message, retry, batch, checkpoint, journal, file. `position` is of the log, `message` the place in the order of
    messages (`applied_seq`), `seq` the number in the journal."""

    kind: str
    what: str
    text: str
    batch: int | None = None
    position: int | None = None
    message: int | None = None
    seq: int | None = None

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in self._asdict().items() if value is not None}


@dataclass(slots=True)
class Report:
    """What was looked at, and what was found."""

    findings: list[Finding] = field(default_factory=list)
    count: int = 0
    notes: list[str] = field(default_factory=list)
    batches: int = 0
    messages: int = 0
    events: int = 0
    checkpoints: int = 0
    first_position: int = 0
    position: int = 0
    """The last one that was looked at."""
    signed_position: int = 0
    """Up to where a signature vouches for the log."""
    digest: str = ""
    """Of the last batch."""

    def add(self, finding: Finding) -> None:
        self.count += 1
        if len(self.findings) < MOST:
            self.findings.append(finding)

    @property
    def is_clean(self) -> bool:
        return not self.count

    def to_json(self) -> dict[str, Any]:
        return {
            "clean": self.is_clean,
            "findings": [finding.to_json() for finding in self.findings],
            "count": self.count,
            "notes": self.notes,
            "batches": self.batches,
            "messages": self.messages,
            "events": self.events,
            "checkpoints": self.checkpoints,
            "first_position": self.first_position,
            "position": self.position,
            "signed_position": self.signed_position,
            "digest": self.digest,
        }
