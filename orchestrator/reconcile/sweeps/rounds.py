"""Routine: all bundles and accounts from time to time, and the slots of those bundles that are to post something."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa

from orchestrator.database.tables import bundles, videos
from orchestrator.reconcile.office import Office
from orchestrator.reconcile.reading import account_facts, bundle_facts, is_delivered, is_whole, place_of
from orchestrator.reconcile.sweep import Sweep
from orchestrator.reconcile.sweeps.looks import ROW, SLOTS, WARMING, Looks, read_slots
from orchestrator.tokportal.reads import Kind

UNDER_WAY: Final = ("scheduled", "uploading", "uploaded")
"""States of a video of ours that TokPortal may post."""


class BundleRound(Sweep):
    """Every page of the list of bundles. One that nobody knew, or whose account is finished without anybody having said
    so, is looked at closely: what its row says is not all there is to know."""

    name = "bundles"
    every = timedelta(hours=6)

    def __init__(self, office: Office, looks: Looks) -> None:
        super().__init__(office)
        self._looks = looks

    def step(self, now: datetime, kind: Kind) -> None:
        body = self.body
        page = self.office.reads.bundles(kind, body.get("page", 1))
        rows = {place_of(row)["bundle_id"]: row for row in page.rows}
        rows.pop(None, None)
        states = self._states(list(rows))
        facts = []
        for bundle_id, row in rows.items():
            state = states.get(bundle_id, "unknown")
            whole = row if is_whole(row) else None
            if state == "unknown":
                self._looks.want(bundle_id, (ROW, WARMING, SLOTS), kind, now, row=whole, asked_at=page.asked_at)
            elif state == "created" and is_delivered(row):
                self._looks.want(bundle_id, (ROW, WARMING), kind, now, row=whole, asked_at=page.asked_at)
            else:
                facts += bundle_facts(row, page.asked_at)
        self.office.tell("GET /bundles", page.asked_at, facts)
        began = body.get("began", now.isoformat())
        if not page.is_last:
            self.go_on(now, {"page": page.number + 1, "began": began})
        else:
            self.rest(datetime.fromisoformat(began), {})

    def _states(self, names: Sequence[str]) -> dict[str, str]:
        """As the read model has them, which may be behind: that costs a request or two, no more."""
        query = sa.select(bundles.c.bundle_id, bundles.c.state).where(bundles.c.bundle_id.in_(names))
        with self.office.database.read() as connection:
            return {row.bundle_id: row.state for row in connection.execute(query)}


class AccountRound(Sweep):
    """Every page of the list of accounts."""

    name = "accounts"
    every = timedelta(days=1)

    def step(self, now: datetime, kind: Kind) -> None:
        number = self.body.get("page", 1)
        page = self.office.reads.accounts(kind, number)
        self.office.tell("GET /accounts", page.asked_at, account_facts(page.rows))
        if page.is_last:
            self.rest(now, {})
        else:
            self.go_on(now, {"page": number + 1})


class SlotRound(Sweep):
    """The slots of one bundle after the other, of those that have a video of ours."""

    name = "slots"
    every = timedelta(hours=6)

    def step(self, now: datetime, kind: Kind) -> None:
        body = self.body
        began = datetime.fromisoformat(body.get("began", now.isoformat()))
        bundle_id = self._after(body.get("after", ""))
        if bundle_id is None:
            self.rest(began, {})
            return
        # Should TokPortal not answer for this one, the others are not to wait for it.
        self.go_on(now, {"after": bundle_id, "began": began.isoformat()})
        read_slots(self, bundle_id, kind)

    def give_up(self, now: datetime) -> None:
        """The next bundle is read."""

    def _after(self, bundle_id: str) -> str | None:
        query = sa.select(sa.func.min(videos.c.bundle_id)).where(
            videos.c.state.in_(UNDER_WAY), videos.c.campaign_id.is_not(None), videos.c.bundle_id > bundle_id
        )
        with self.office.database.read() as connection:
            found: str | None = connection.execute(query).scalar_one_or_none()
        return found
