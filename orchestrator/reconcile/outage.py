"""Tells people when TokPortal has not answered for a while, and when it does again."""

from __future__ import annotations

from typing import Final

from orchestrator.clock import Clock
from orchestrator.database import Database, Lease
from orchestrator.domain.times import iso
from orchestrator.reconcile.office import Office
from orchestrator.reconcile.reading import Readings
from orchestrator.reconcile.store import NEVER, Store

PATIENCE: Final = 300.0
"""Real seconds. Nothing is lost meanwhile: commands wait, and webhooks do not depend on it."""
NAME: Final = "outage"
"""Of the row that remembers what people were told."""


class Outage:
    """Asks TokPortal nothing itself: others do so all the time, and `reads` knows how they fared."""

    def __init__(self, database: Database, clock: Clock, reads: Readings, lease: Lease | None = None) -> None:
        self._clock = clock
        self._reads = reads
        self._store = Store(database, lease)
        self._office = Office(database, clock, reads, self._store)

    def close(self) -> None:
        self._office.close()

    def forget(self) -> None:
        """To be called when the lease was lost or a step failed."""
        self._store.forget()

    def step(self) -> int:
        """1 where there was something to tell."""
        standing, is_told = self._reads.standing(), self._store.has(NAME)
        now = self._clock.now()
        if standing.failing_since is not None and standing.seconds >= PATIENCE and not is_told:
            since = iso(standing.failing_since)
            self._office.tell("TokPortal", now, outage={"since": since, "why": standing.why})
            self._store.put(NAME, NEVER, {"since": since})
        elif standing.failing_since is None and standing.has_answered and is_told:
            self._office.tell("TokPortal", now, outage=None)
            self._store.drop(NAME)
        else:
            return 0
        self._store.commit()
        return 1
