"""Webhooks that TokPortal could not deliver: they are asked for again.

How long TokPortal keeps them, and whether it tries again itself, is not documented.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

import sqlalchemy as sa

from orchestrator.database.tables import marks
from orchestrator.reconcile.office import Office
from orchestrator.reconcile.reading import name_of
from orchestrator.reconcile.sweep import Sweep
from orchestrator.tokportal.reads import Kind, Row, text_of

PATH: Final = "/webhooks/tokportal"
LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
"""Only a look-alike of TokPortal on this machine sends there."""
ENDPOINTS_KEPT: Final = timedelta(hours=6)
COOLDOWN: Final = timedelta(minutes=30)
"""Until one delivery is asked for again; each time twice as long."""
MOST_TRIES: Final = 5
MOST_PAGES: Final = 10
"""Pages of failed deliveries that are read at a time; what is on further ones comes when these have got through."""


class Deliveries(Sweep):
    """Lists what failed on the way to our endpoints, and has each sent once more. What is in the journal by now is left
    alone."""

    name = "deliveries"
    every = timedelta(minutes=5)
    needs_discovery = False

    def __init__(self, office: Office, public_url: str | None) -> None:
        super().__init__(office)
        self._public_url = public_url

    def next_kind(self, closed: Collection[Kind]) -> Kind | None:
        # What was lost is news that is missing; to look for it is routine.
        kind: Kind = "ordinary" if self.body.get("failed") else "sweep"
        return None if kind in closed else kind

    def step(self, now: datetime, kind: Kind) -> None:
        body = self.body
        at = body.get("endpoints_at")
        if body.get("failed"):
            self._retry(now, body, kind)
        elif at is None or now - datetime.fromisoformat(at) >= ENDPOINTS_KEPT:
            self._list_endpoints(now, body, kind)
        elif body.get("left"):
            self._list_failed(now, body, kind)
        elif body.get("under_way"):
            body["under_way"] = False
            body["tried"] = {name: tried for name, tried in body.get("tried", {}).items() if name in body["listed"]}
            self.rest(now, body)
        else:
            left = [[endpoint, 1] for endpoint in body["endpoints"]]
            self.go_on(now, {**body, "left": left, "listed": [], "under_way": True})

    def give_up(self, now: datetime) -> None:
        """It is the turn of the next endpoint or delivery, if it knows any."""
        body = self.body
        if "endpoints_at" not in body:
            self.rest(now, {"tried": body.get("tried", {})})

    def _list_endpoints(self, now: datetime, body: dict[str, Any], kind: Kind) -> None:
        number = body.get("page", 1)
        page = self.office.reads.endpoints(kind, number)
        ours = [name for row in page.rows if self._is_ours(row) and (name := name_of(row, "id", "webhook_id"))]
        found = [*(body.get("found", []) if number > 1 else []), *ours]
        if page.is_last:
            rest = {"endpoints": found, "endpoints_at": now.isoformat(), "tried": body.get("tried", {})}
            self.go_on(now, rest)
        else:
            self.go_on(now, {**body, "found": found, "page": number + 1})

    def _is_ours(self, row: Row) -> bool:
        url = text_of(row, "url") or ""
        try:
            parts = urlsplit(url)
        except ValueError:
            return False
        if self._public_url is None or parts.hostname in LOOPBACK:
            return PATH in parts.path
        return url.startswith(self._public_url.rstrip("/") + PATH)

    def _list_failed(self, now: datetime, body: dict[str, Any], kind: Kind) -> None:
        (endpoint, number), *left = body["left"]
        # Should TokPortal refuse the list of one endpoint, the next one is not to wait for it.
        self.go_on(now, {**body, "left": left})
        page = self.office.reads.deliveries(kind, endpoint, number, success=False)
        if not page.is_last and number < MOST_PAGES:
            left = [[endpoint, number + 1], *left]
        rows = {name: row for row in page.rows if (name := name_of(row, "id")) and row.get("success") is not True}
        arrived = self._arrived([event for row in rows.values() if (event := text_of(row, "event_id"))])
        tried = body.get("tried", {})
        failed = [
            [endpoint, name]
            for name, row in rows.items()
            if text_of(row, "event_id") not in arrived and _is_due(tried.get(name), now)
        ]
        listed = [*body["listed"], *rows]
        self.go_on(now, {**body, "left": left, "listed": listed, "failed": failed})

    def _arrived(self, event_ids: Sequence[str]) -> set[str]:
        """Those of the events that the engine has taken."""
        query = sa.select(marks.c.event_id).where(marks.c.event_id.in_(event_ids))
        with self.office.database.read() as connection:
            return set(connection.execute(query).scalars())

    def _retry(self, now: datetime, body: dict[str, Any], kind: Kind) -> None:
        (endpoint, delivery), *failed = body["failed"]
        times = body.get("tried", {}).get(delivery, [0, ""])[0] + 1
        tried = {**body.get("tried", {}), delivery: [times, now.isoformat()]}
        self.go_on(now, {**body, "failed": failed, "tried": tried})
        self.office.reads.retry_delivery(kind, endpoint, delivery, f"retry-{delivery}-{times}")


def _is_due(tried: Sequence[Any] | None, now: datetime) -> bool:
    """Whether a delivery is to be asked for (again)."""
    if tried is None:
        return True
    times, at = int(tried[0]), datetime.fromisoformat(tried[1])
    return times < MOST_TRIES and now - at >= COOLDOWN * 2 ** (times - 1)
