"""What every sweep has at hand: TokPortal's lists, the clock, the store, and the journal that it tells."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from orchestrator.clock import Clock
from orchestrator.database import Database
from orchestrator.domain.times import iso
from orchestrator.journal import Journal, Message
from orchestrator.journal.journal import FOUND, ours
from orchestrator.reconcile.reading import Fact, Readings
from orchestrator.reconcile.store import Store

ACTOR = '{"kind":"policy","name":"reconciliation"}'
MOST_FACTS = 200
"""Facts of one message: others are to run between two of them."""


class Office:
    def __init__(self, database: Database, clock: Clock, reads: Readings, store: Store) -> None:
        self.database = database
        self.clock = clock
        self.reads = reads
        self.store = store
        self._journal = Journal(database)

    def close(self) -> None:
        self._journal.close()

    def tell(
        self,
        source: str,
        asked_at: datetime,
        facts: Sequence[Fact] = (),
        slots: Sequence[dict[str, Any]] = (),
        *,
        discovery: bool = False,
        **more: Any,
    ) -> None:
        """Journals what was read, if that is anything. Returns when it is on disk. `discovery`: it is seen for the
        first time, and need not be news to anybody."""
        head: dict[str, Any] = {"source": source, "asked_at": iso(asked_at)}
        if discovery:
            head["discovery"] = True
        bodies = [
            {**head, "facts": list(facts[start : start + MOST_FACTS])} for start in range(0, len(facts), MOST_FACTS)
        ]
        if slots or more:
            last = bodies.pop() if bodies else {**head, "facts": []}
            bodies.append({**last, **({"slots": list(slots)} if slots else {}), **more})
        if bodies:
            self._journal.append([self._message(body) for body in bodies])

    def _message(self, body: dict[str, Any]) -> Message:
        text = msgspec.json.encode(body)
        once = f"found\0{hashlib.sha256(text).hexdigest()}"
        now = self.clock.microseconds()
        return ours(FOUND, text, endpoint="reconciliation", actor=ACTOR, received_at=now, once=once)
