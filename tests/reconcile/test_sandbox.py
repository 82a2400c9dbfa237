"""The real gateway reads the look-alike while no webhook ever arrives: in the end the service knows what it knows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa

from orchestrator.clock import instant_of
from orchestrator.database import Database
from orchestrator.database.tables import bundles, journal, marks, videos
from orchestrator.domain.times import iso
from orchestrator.engine import Engine
from orchestrator.journal.journal import FOUND
from orchestrator.reconcile import Reconciler
from orchestrator.sandbox.model import Bundle, Listing, SavedAccount, Slot, WarmingSession
from orchestrator.sandbox.rest import create_app
from orchestrator.secrets import Secret
from orchestrator.tokportal.budget import Budget
from orchestrator.tokportal.client import Client
from orchestrator.tokportal.transport import Transport
from projections import Follower
from tests.reconcile.test_interleavings import HOUR
from tests.sandbox.house import KEY, request
from tests.sandbox.town import DAY, Town

BASE = "https://sandbox.example/api/ext"


class Service:
    """Reconciliation, engine and read models on one database, beside a town whose webhooks all get lost."""

    def __init__(self, database: Database, **managing: Any) -> None:
        self.town = Town(**managing)
        self.database = database
        self.requests: Counter[str] = Counter()
        self.times: list[datetime] = []
        self.app = create_app(self.town.world)
        http = httpx2.Client(transport=httpx2.MockTransport(self._carry))
        budget = Budget(database, self.town.clock.microseconds)
        key = Secret(KEY)
        self.client = Client(
            BASE, key, budget, self.town.clock, transport=Transport(BASE, key, client=http), sleep=self._sleep
        )
        self.reconciler = Reconciler(database, self.town.clock, self.client)
        self.engine = Engine(database)
        self.follower = Follower(database)

    def close(self) -> None:
        self.reconciler.close()
        self.client.close()
        self.town.world.close()

    def _sleep(self, seconds: float) -> None:
        self.town.clock.time += timedelta(seconds=seconds)

    def _carry(self, asked: httpx2.Request) -> httpx2.Response:
        path = asked.url.raw_path.decode()
        self.requests[f"{asked.method} {path.partition('?')[0].removeprefix('/api/ext/').split('/')[0]}"] += 1
        self.times.append(self.town.clock.time)
        reply = request(self.app, asked.method, path, dict(asked.headers), asked.read())
        return httpx2.Response(reply.status, headers=reply.headers, content=reply.content)

    def passes(self, time: timedelta, step: timedelta = HOUR) -> None:
        """The world goes on, and the service looks at it; each step leaves it the time to do so."""
        for _ in range(int(time / step)):
            self.town.passes(step)
            self.look()

    def look(self) -> None:
        """Until nothing is due any more."""
        quiet = 0
        while quiet < 60:
            if self.reconciler.step():
                quiet = 0
            else:
                # Until the quota for routine has room again; nobody waits for that longer than it takes to fill.
                quiet += 1
                self.town.clock.time += timedelta(seconds=1)
            while self.engine.step():
                pass
            while self.follower.step():
                pass

    def row(self, bundle_id: str) -> Any:
        with self.database.read() as connection:
            return connection.execute(sa.select(bundles).where(bundles.c.bundle_id == bundle_id)).one()

    def video(self, video_id: str) -> Any:
        with self.database.read() as connection:
            return connection.execute(sa.select(videos).where(videos.c.video_id == video_id)).one()

    def truth(self, bundle: Bundle) -> tuple[str, bool]:
        """The state that the town's bundle is in, and whether its account is warm."""
        world = self.town.world
        account = world.find(SavedAccount, bundle.saved_account_id or "")
        if account is None:
            return "created", False
        sessions = [row for row in world.all(WarmingSession) if row.saved_account_id == account.id]
        warm = any(session.status == "completed" for session in sessions)
        listing = world.get(Listing, bundle.account_id or "")
        if account.banned:
            return "banned", warm
        if any(session.status == "active" for session in sessions):
            return "warming", warm
        if warm:
            return "completed", True
        return ("ready" if listing.status == "finalized" else "created"), False


@pytest.fixture
def database(migrated_url: str) -> Iterator[Database]:
    with closing(Database(migrated_url, connections=4)) as database:
        yield database


def compared(service: Service) -> None:
    for bundle in service.town.world.all(Bundle):
        row = service.row(bundle.id)
        assert (row.state, row.warmed) == service.truth(bundle), bundle
        assert row.saved_account_id == bundle.saved_account_id
        assert (row.country, row.platform) == ({"USA": "US"}.get(bundle.country, bundle.country), bundle.platform)
        assert ("closed" in row.holds) == (bundle.status in ("cancelled", "archived"))


def test_what_exists_is_discovered_and_what_happens_is_noticed_without_a_single_webhook(database: Database) -> None:
    service = Service(database, remakes=1.0)
    with closing(service):
        town = service.town
        found = [town.found(state=state) for state in ("published", "ready", "warming", "warm", "warm")]
        service.look()
        compared(service)
        assert service.row(found[3].id).slots_free == 30
        assert service.row(found[3].id).username == town.account(found[3]).username
        day = (town.clock.time + 2 * DAY).date().isoformat()
        slot = town.hand_over(found[3], 1, day)
        service.passes(5 * DAY, 6 * HOUR)
        compared(service)
        assert town.world.get(Slot, slot.id).platform_url is not None
        town.life.managers.bans.ban(town.account(found[4]), appeal=False)
        service.passes(HOUR, HOUR)
        compared(service)
        assert service.row(found[4].id).state == "banned"
        service.passes(6 * DAY, 6 * HOUR)
        compared(service)
        assert service.row(found[4].id).state not in ("banned", "unknown"), "it was remade"
        with database.read() as connection:
            query = sa.select(marks.c.status).join(journal, journal.c.seq == marks.c.seq)
            became = set(connection.execute(query.where(journal.c.kind == FOUND)).scalars())
        assert became == {"applied"}


def test_a_post_is_found_by_the_slot_and_the_review_ends(database: Database) -> None:
    service = Service(database)
    with closing(service):
        town = service.town
        bundle = town.found(state="warm")
        day = (town.clock.time + 2 * DAY).date().isoformat()
        slot = town.hand_over(bundle, 1, day)
        service.look()
        assert service.video(slot.id).state == "scheduled"
        town.passes(6 * DAY)
        posted = town.world.get(Slot, slot.id)
        assert posted.posted_at is not None
        service.reconciler.forget()
        with database.write() as connection:
            # It is a stranger's: nothing is overdue, so somebody has to ask.
            connection.execute(sa.text("DELETE FROM sweeps"))
        service.look()
        row = service.video(slot.id)
        assert (row.state, row.post_url) == ("posted", posted.platform_url)
        assert row.posted_at == iso(instant_of(posted.posted_at // 1000 * 1000))


def test_failed_deliveries_are_sent_again(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service(database)
    with closing(service):
        town = service.town
        headers = {"X-API-Key": KEY, "content-type": "application/json"}
        body = (
            b'{"url": "https://ours.example.com/webhooks/tokportal", "events": ["bundle.created", "account.finalized"]}'
        )
        made = request(service.app, "POST", "/api/ext/webhooks", headers, body)
        assert made.status < 300, made.content
        town.found(state="ready")
        failed = {row.id for row in town.deliveries() if row.endpoint_id == made.data["id"]}
        assert len(failed) == 2
        again = []

        async def retry(delivery: Any) -> Any:
            again.append(delivery.id)
            delivery.success = True
            town.world.put(delivery)
            return delivery

        monkeypatch.setattr(town.world.sender, "retry", retry)
        town.clock.time += HOUR
        service.look()
        assert sorted(again) == sorted(failed)
        town.clock.time += HOUR
        service.look()
        assert len(again) == 2


def test_routine_takes_a_tenth_of_the_quota_at_most(database: Database) -> None:
    service = Service(database)
    with closing(service):
        for _ in range(30):
            service.town.found(state="warm")
        service.look()
        service.times.clear()
        began = service.town.clock.time
        service.passes(2 * DAY, HOUR)
        seconds = (service.town.clock.time - began).total_seconds()
        assert 0 < len(service.times) <= 12 + 0.2 * seconds
        for first, last in zip(service.times, service.times[12 + 12 :], strict=False):
            assert (last - first).total_seconds() >= 60 - 1
