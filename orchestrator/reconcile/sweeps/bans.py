"""Bans and appeals: the one list of TokPortal's that can be asked for what has changed."""

from __future__ import annotations

from datetime import datetime, timedelta

from orchestrator.domain.times import iso
from orchestrator.reconcile.office import Office
from orchestrator.reconcile.reading import ban_facts, moment, name_of
from orchestrator.reconcile.sweep import Sweep
from orchestrator.reconcile.sweeps.looks import ROW, Looks
from orchestrator.tokportal.reads import Kind, Row

OVERLAP = timedelta(minutes=10)
"""So far before the newest row that is known it is asked: rows may be written in another order than they are dated."""


class Bans(Sweep):
    """Each row that is new, or has changed, has its bundle looked at: only that tells whose account it is now."""

    name = "bans"
    every = timedelta(minutes=10)

    def __init__(self, office: Office, looks: Looks) -> None:
        super().__init__(office)
        self._looks = looks

    def step(self, now: datetime, kind: Kind) -> None:
        body = self.body
        number, since = body.get("page", 1), body.get("since")
        page = self.office.reads.bans(kind, number, datetime.fromisoformat(since) if since is not None else None)
        seen: dict[str, str] = dict(body.get("seen", {}))
        newest: str | None = body.get("newest", since)
        for row in page.rows:
            ban_id, updated = name_of(row, "id"), moment(row, page.asked_at, "updated_at")
            version = updated or ""
            if ban_id is not None and seen.get(ban_id) == version and updated is not None:
                continue
            if ban_id is not None:
                seen[ban_id] = version
            if updated is not None and (newest is None or _is_later(updated, newest)):
                newest = updated
            self._take(row, page.asked_at, now, is_first=not body.get("walked"))
        if not page.is_last:
            rest = {"page": number + 1, "since": since, "newest": newest, "seen": seen}
            self.go_on(now, {**rest, "walked": body.get("walked", False)})
            return
        since = iso(datetime.fromisoformat(newest) - OVERLAP) if newest is not None else None
        # What lies before the time from which it is asked is never shown again.
        seen = {name: at for name, at in seen.items() if since is None or not at or not _is_later(since, at)}
        self.rest(now, {"since": since, "seen": seen, "walked": True})

    def _take(self, row: Row, asked_at: datetime, now: datetime, *, is_first: bool) -> None:
        bundle_id = name_of(row, "bundle_id")
        if bundle_id is None:
            self.office.tell("GET /account-bans", asked_at, ban_facts(row, None, asked_at))
            return
        self._looks.want(bundle_id, (ROW,), "ordinary" if is_first else "recovery", now, ban=row)

    def give_up(self, now: datetime) -> None:
        body = self.body
        self.rest(now, {name: body[name] for name in ("since", "seen", "walked") if name in body})


def _is_later(one: str, other: str) -> bool:
    return datetime.fromisoformat(one) > datetime.fromisoformat(other)
