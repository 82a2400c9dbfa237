"""Has the sweeps read what is due, one request at a time."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Final

from orchestrator.clock import Clock
from orchestrator.commands.executor import TryAgain
from orchestrator.database import Database, Lease
from orchestrator.reconcile.office import Office
from orchestrator.reconcile.reading import Readings
from orchestrator.reconcile.store import AT_ONCE, Store
from orchestrator.reconcile.sweep import Sweep
from orchestrator.reconcile.sweeps.bans import Bans
from orchestrator.reconcile.sweeps.daily import Contract, Credits
from orchestrator.reconcile.sweeps.deliveries import Deliveries
from orchestrator.reconcile.sweeps.discovery import Discovery
from orchestrator.reconcile.sweeps.looks import Looks
from orchestrator.reconcile.sweeps.overdue import Overdue, Reactivated
from orchestrator.reconcile.sweeps.rounds import AccountRound, BundleRound, SlotRound
from orchestrator.tokportal.client import Refused
from orchestrator.tokportal.reads import Kind

logger = logging.getLogger(__name__)

AGAIN: Final = 30.0
"""Seconds until a request is made again that came to nothing, where nobody said for how long."""


class Reconciler:
    """One step makes at most one request to TokPortal. What it answers is journalled first, then it is noted how far
    the sweep got: who is killed between the two reads it once more.

    `lease` None is for tests that are alone with their database.
    """

    full = 1

    def __init__(
        self,
        database: Database,
        clock: Clock,
        reads: Readings,
        *,
        lease: Lease | None = None,
        public_url: str | None = None,
    ) -> None:
        self._clock = clock
        self._store = Store(database, lease)
        self._office = Office(database, clock, reads, self._store)
        self._closed: dict[Kind, datetime] = {}
        looks = Looks(self._office)
        rounds = (SlotRound(self._office), BundleRound(self._office, looks), AccountRound(self._office))
        self._discovery = Discovery(self._office, looks, rounds)
        self._sweeps: tuple[Sweep, ...] = (
            Reactivated(self._office, looks),
            Overdue(self._office, looks),
            looks,
            self._discovery,
            Deliveries(self._office, public_url),
            Bans(self._office, looks),
            *rounds,
            Contract(self._office),
            Credits(self._office),
        )

    def close(self) -> None:
        self._office.close()

    def forget(self) -> None:
        """To be called when the lease was lost or a step failed: what is stored says how to go on."""
        self._store.forget()
        self._closed.clear()

    def step(self) -> int:
        """1 where something was done, 0 where nothing is due, or TokPortal's quota allows nothing of what is."""
        now = self._clock.now()
        self._closed = {kind: until for kind, until in self._closed.items() if until > now}
        for sweep in self._due(now):
            kind = sweep.next_kind(self._closed)
            if kind is not None and self._try(sweep, now, kind):
                return 1
        return 0

    def _due(self, now: datetime) -> list[Sweep]:
        """What is due, the most urgent first; of routine the longest due."""
        ready = [sweep for sweep in self._sweeps if not sweep.needs_discovery or self._discovery.is_done]
        due = [(sweep, at) for sweep in ready if (at := sweep.due_at()) <= now]
        due.sort(key=lambda one: max(one[1], AT_ONCE) if one[0].is_routine else AT_ONCE)
        return [sweep for sweep, _ in due]

    def _try(self, sweep: Sweep, now: datetime, kind: Kind) -> bool:
        """Whether it was done."""
        try:
            sweep.step(now, kind)
        except TryAgain as error:
            # What the sweep noted of how far it got is taken back: it asks the same thing again.
            self._store.forget()
            self._closed[kind] = now + timedelta(seconds=error.after if error.after is not None else AGAIN)
            logger.debug("%s waits: %s", sweep.name, error)
            return False
        except Refused as error:
            logger.warning("TokPortal does not answer what %s asks: %s", sweep.name, error)
            sweep.give_up(now)
        self._store.commit()
        return True
