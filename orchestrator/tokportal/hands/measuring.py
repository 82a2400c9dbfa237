"""Reads what a post has reached: `read_metrics`. TokPortal pushes no metrics."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from orchestrator.commands.executor import Outcome
from orchestrator.domain.times import iso
from orchestrator.outbox import Command
from orchestrator.outbox.outbox import DONE
from orchestrator.tokportal.client import Client
from orchestrator.tokportal.hands.handing import KindOf
from orchestrator.tokportal.hands.slots import Slots
from orchestrator.tokportal.reads import Row, text_of

METRICS = ("views", "likes", "shares", "comments")
HOLDERS = ("metrics", "totals", "latest", "stats")
"""Where the numbers may stand besides the top: TokPortal documents no names in analytics answers."""
TIMES = ("captured_at", "as_of", "updated_at", "snapshot_at", "collected_at")
LARGEST = 2**53


class Measuring:
    def __init__(self, client: Client, kind_of: KindOf) -> None:
        self._client = client
        self._kind_of = kind_of

    def execute(self, command: Command) -> Outcome:
        """Raises `TryAgain`, `Refused`."""
        kind, body = self._kind_of(command), command.body
        vendor_id = body.get("vendor_id")
        if vendor_id is None:
            slots = Slots.read(self._client, kind, str(body["bundle_id"]))
            slot = slots.carrying(body.get("external_ref"))
            position = body.get("position")
            if slot is None and body.get("external_ref") is None and type(position) is int:
                slot = slots.at(position)
            vendor_id = slot.video_id if slot is not None else None
        answer = self._client.analytics(kind, vendor_id) if vendor_id is not None else None
        if answer is None:
            return Outcome(DONE)
        found = _metrics(answer.data)
        if not found:
            return Outcome(DONE)
        as_of = next((moment for name in TIMES for moment in _moments(answer.data, name)), answer.asked_at)
        # What is read now cannot be of later.
        return Outcome(
            DONE, data={**found, "as_of": iso(min(as_of, answer.asked_at)), "asked_at": iso(answer.asked_at)}
        )


def _holders(data: Row) -> Iterator[Row]:
    yield data
    for name in HOLDERS:
        inner = data.get(name)
        if isinstance(inner, dict):
            yield inner


def _metrics(data: Row) -> dict[str, int]:
    found: dict[str, int] = {}
    for holder in _holders(data):
        for name in METRICS:
            value = holder.get(name)
            if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < LARGEST:
                found.setdefault(name, int(value))
    return found


def _moments(data: Row, name: str) -> Iterator[datetime]:
    for holder in _holders(data):
        try:
            moment = datetime.fromisoformat(text_of(holder, name) or "")
        except ValueError:
            continue
        if moment.tzinfo is not None:
            yield moment
