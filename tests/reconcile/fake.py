"""TokPortal's lists as a test wants them, and a world around the reconciler that reads them."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from orchestrator.clock import Clock
from orchestrator.commands.executor import TryAgain
from orchestrator.database import Database
from orchestrator.database.tables import journal, sweeps
from orchestrator.domain.times import iso
from orchestrator.journal.journal import FOUND
from orchestrator.reconcile import Reconciler
from orchestrator.tokportal.client import Refused
from orchestrator.tokportal.reads import Answer, Kind, Page, Row, Standing

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
PER_PAGE = 2


class HandClock(Clock):
    """Shows what it was set to."""

    def __init__(self, at: datetime = NOON) -> None:
        self.at = at

    def microseconds(self) -> int:
        return int(self.at.timestamp() * 1_000_000)

    def wait(self, **time: float) -> None:
        self.at += timedelta(**time)


class FakeReads:
    """Answers from `lists`, two rows a page; notes every request, and on whose account it went."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.of_bundles: list[Row] = []
        self.of_accounts: list[Row] = []
        self.of_bans: list[Row] = []
        self.of_slots: dict[str, list[Row]] = {}
        self.of_sessions: dict[str, list[Row]] = {}
        self.of_endpoints: list[Row] = []
        self.of_deliveries: dict[str, list[Row]] = {}
        self.of_events: list[Row] = []
        self.balance: Row = {"total_credits": 100, "expiring_within_7_days": 0}
        self.stands = Standing()
        self.asked: list[tuple[Any, ...]] = []
        self.keys: list[str] = []
        self.shut: dict[str, TryAgain | Refused] = {}
        """What goes wrong with a request, by its name or by its kind."""

    def counts(self) -> Counter[str]:
        return Counter(str(one[1]) for one in self.asked)

    def _ask(self, kind: Kind, name: str, *about: Any) -> datetime:
        self.asked.append((kind, name, *about))
        for key in (name, kind):
            if key in self.shut:
                raise self.shut[key]
        return self.clock.now()

    def _page(self, rows: list[Row], asked_at: datetime, number: int = 1) -> Page:
        part = rows[(number - 1) * PER_PAGE : number * PER_PAGE]
        return Page(tuple(dict(row) for row in part), asked_at, number, number * PER_PAGE >= len(rows), len(rows))

    def standing(self) -> Standing:
        return self.stands

    def bundles(self, kind: Kind, page: int = 1, **filters: Any) -> Page:
        return self._page(self.of_bundles, self._ask(kind, "bundles", page), page)

    def bundle(self, kind: Kind, bundle_id: str) -> Answer | None:
        asked_at = self._ask(kind, "bundle", bundle_id)
        row = next((row for row in self.of_bundles if row["bundle_id"] == bundle_id), None)
        return None if row is None else Answer(dict(row), asked_at, {"data": row})

    def slots(self, kind: Kind, bundle_id: str) -> Page:
        asked_at = self._ask(kind, "slots", bundle_id)
        rows = self.of_slots.get(bundle_id, [])
        return Page(tuple(rows), asked_at, 1, True, len(rows))

    def accounts(self, kind: Kind, page: int = 1, **filters: Any) -> Page:
        return self._page(self.of_accounts, self._ask(kind, "accounts", page), page)

    def bans(self, kind: Kind, page: int = 1, since: datetime | None = None, **filters: Any) -> Page:
        asked_at = self._ask(kind, "bans", page, since)
        rows = [row for row in self.of_bans if since is None or row["updated_at"] >= iso(since)]
        return self._page(rows, asked_at, page)

    def warming_sessions(self, kind: Kind, account: str) -> Page:
        asked_at = self._ask(kind, "warming_sessions", account)
        rows = self.of_sessions.get(account, [])
        return Page(tuple(rows), asked_at, 1, True, len(rows))

    def events(self, kind: Kind) -> Page:
        asked_at = self._ask(kind, "events")
        return Page(tuple(self.of_events), asked_at, 1, True, None)

    def endpoints(self, kind: Kind, page: int = 1, **filters: Any) -> Page:
        return self._page(self.of_endpoints, self._ask(kind, "endpoints", page), page)

    def deliveries(self, kind: Kind, endpoint_id: str, page: int = 1, **filters: Any) -> Page:
        assert filters == {"success": False}
        return self._page(self.of_deliveries.get(endpoint_id, []), self._ask(kind, "deliveries", endpoint_id), page)

    def retry_delivery(self, kind: Kind, endpoint_id: str, delivery_id: str, key: str) -> Answer:
        asked_at = self._ask(kind, "retry_delivery", endpoint_id, delivery_id)
        self.keys.append(key)
        return Answer({}, asked_at, {})

    def analytics(self, kind: Kind, video_id: str) -> Answer | None:
        raise AssertionError("reconciliation reads no metrics")

    def credits(self, kind: Kind) -> Answer:
        return Answer(self.balance, self._ask(kind, "credits"), {"data": self.balance})


class Desk:
    """A reconciler, what it reads, and what it told."""

    def __init__(self, database: Database, reads: Any = None, clock: HandClock | None = None) -> None:
        self.database = database
        self.clock = clock or HandClock()
        self.reads = reads or FakeReads(self.clock)
        self.reconciler = self.start()

    def start(self, **options: Any) -> Reconciler:
        self.reconciler = Reconciler(self.database, self.clock, self.reads, **options)
        return self.reconciler

    def run(self, most: int = 500) -> int:
        """Until nothing is due; how many steps that took."""
        for done in range(most):
            if not self.reconciler.step():
                return done
        raise AssertionError(f"it does not come to an end in {most} steps")

    def told(self, source: str | None = None) -> list[dict[str, Any]]:
        query = sa.select(journal.c.body).where(journal.c.kind == FOUND).order_by(journal.c.seq)
        with self.database.read() as connection:
            bodies = [json.loads(bytes(body)) for body in connection.execute(query).scalars()]
        return [body for body in bodies if source in (None, body["source"])]

    def facts(self, source: str | None = None) -> list[tuple[str, str | None]]:
        return [(fact["fact"], fact["bundle_id"]) for body in self.told(source) for fact in body["facts"]]

    def sweeps(self) -> dict[str, dict[str, Any]]:
        with self.database.read() as connection:
            return {row.name: json.loads(row.body) for row in connection.execute(sa.select(sweeps))}


def bundle(name: str, **more: Any) -> Row:
    return {
        "id": name,
        "bundle_id": name,
        "status": "accepted",
        "platform": "tiktok",
        "country": "USA",
        "saved_account_id": f"acc_{name}",
        "account_id": f"lst_{name}",
        "account_status": "finalized",
        "created_at": iso(NOON - timedelta(days=90)),
        "updated_at": iso(NOON - timedelta(days=60)),
        **more,
    }


def slot(position: int, status: str = "pending", **more: Any) -> Row:
    return {"video_id": f"tp_{position}", "position": position, "status": status, "external_ref": None, **more}
