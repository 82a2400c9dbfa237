"""Tells people when TokPortal has not answered for a while, and when it does again."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from orchestrator.domain.times import iso
from orchestrator.reconcile.office import Office
from orchestrator.reconcile.store import NEVER

PATIENCE: Final = 300.0
"""Real seconds. Nothing is lost meanwhile: commands wait, and webhooks do not depend on it."""
NAME: Final = "outage"
"""Of the row that remembers what people were told."""


class Outage:
    def __init__(self, office: Office) -> None:
        self._office = office

    def look(self, now: datetime) -> None:
        store, standing = self._office.store, self._office.reads.standing()
        is_told = store.has(NAME)
        if standing.failing_since is not None and standing.seconds >= PATIENCE and not is_told:
            since = iso(standing.failing_since)
            self._office.tell("TokPortal", now, outage={"since": since, "why": standing.why})
            store.put(NAME, NEVER, {"since": since})
        elif standing.failing_since is None and standing.has_answered and is_told:
            self._office.tell("TokPortal", now, outage=None)
            store.drop(NAME)
