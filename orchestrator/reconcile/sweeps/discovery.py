"""The first look at everything that exists: bundles with their accounts and slots, page by page."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from orchestrator.reconcile.office import Office
from orchestrator.reconcile.reading import account_facts, is_whole, place_of
from orchestrator.reconcile.store import NEVER
from orchestrator.reconcile.sweep import Sweep
from orchestrator.reconcile.sweeps.looks import ROW, SLOTS, WARMING, Looks
from orchestrator.tokportal.reads import Kind


class Discovery(Sweep):
    """Once in the life of a database. One page is looked at whole before the next one is asked for, so that a restart
    goes on where it was; at the end come the accounts."""

    name = "discovery"
    kind = "ordinary"
    every = NEVER - datetime.fromisoformat("2000-01-01T00:00:00+00:00")
    is_routine = False
    needs_discovery = False

    def __init__(self, office: Office, looks: Looks, rounds: Sequence[Sweep]) -> None:
        """`rounds`: what need not be read again right afterwards."""
        super().__init__(office)
        self._looks = looks
        self._rounds = rounds

    @property
    def is_done(self) -> bool:
        return self.body.get("phase") == "done"

    def due_at(self) -> datetime:
        return self.office.store.due_at(self.name) if self._looks.is_idle(discovery=True) else NEVER

    def step(self, now: datetime, kind: Kind) -> None:
        body = self.body
        phase, number = body.get("phase", "bundles"), body.get("page", 1)
        if phase == "bundles":
            page = self.office.reads.bundles(kind, number)
            for row in page.rows:
                bundle_id = place_of(row)["bundle_id"]
                if bundle_id is not None:
                    whole = row if is_whole(row) else None
                    parts = (ROW, WARMING, SLOTS)
                    self._looks.want(bundle_id, parts, kind, now, row=whole, asked_at=page.asked_at, discovery=True)
        else:
            page = self.office.reads.accounts(kind, number)
            self.office.tell("GET /accounts", page.asked_at, account_facts(page.rows), discovery=True)
        if not page.is_last:
            self.go_on(now, {"phase": phase, "page": number + 1})
        elif phase == "bundles":
            self.go_on(now, {"phase": "accounts", "page": 1})
        else:
            self.office.store.put(self.name, NEVER, {"phase": "done"})
            for sweep in self._rounds:
                sweep.rest(now, {})

    def give_up(self, now: datetime) -> None:
        self.office.store.put(self.name, now + timedelta(hours=1), self.body)
