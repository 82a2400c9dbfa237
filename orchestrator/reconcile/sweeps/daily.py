"""What is looked at once a day: the list of webhook types, and the credits that are about to expire."""

from __future__ import annotations

from datetime import datetime, timedelta

from orchestrator.dialects import article, public
from orchestrator.reconcile.sweep import Sweep
from orchestrator.tokportal.reads import Kind, Row, text_of

DIALECTS = (frozenset(public.EVENTS), frozenset(article.EVENTS))
"""The types of either dialect; TokPortal lists those of the one that it speaks."""


class Contract(Sweep):
    """Holds TokPortal's list of webhook types against what this program knows. Told when that changes."""

    name = "contract"
    every = timedelta(days=1)
    needs_discovery = False

    def step(self, now: datetime, kind: Kind) -> None:
        page = self.office.reads.events(kind)
        listed = {name for row in page.rows if (name := text_of(row, "type", "name", "event")) is not None}
        told = self.body.get("told", [[], []])
        if listed:
            spoken = max(DIALECTS, key=lambda types: len(listed & types))
            unknown, missing = sorted(listed.difference(*DIALECTS)), sorted(spoken - listed)
            if [unknown, missing] != told:
                contract = {"unknown": unknown, "missing": missing}
                self.office.tell("GET /webhooks/events", page.asked_at, contract=contract)
            told = [unknown, missing]
        self.rest(now, {"told": told})

    def give_up(self, now: datetime) -> None:
        self.rest(now, self.body)


class Credits(Sweep):
    """What expires within seven days is told while it can still be used."""

    name = "credits"
    every = timedelta(days=1)
    needs_discovery = False

    def step(self, now: datetime, kind: Kind) -> None:
        answer = self.office.reads.credits(kind)
        expiring = _number(answer.data, "expiring_within_7_days")
        if expiring:
            credits = {"total": _number(answer.data, "total_credits"), "expiring": expiring}
            self.office.tell("GET /credits/balance", answer.asked_at, credits=credits)
        self.rest(now, {})


def _number(row: Row, name: str) -> int | None:
    value = row.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value)
