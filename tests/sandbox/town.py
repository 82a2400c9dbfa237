"""A small sandbox world on a clock that tests move, whose webhooks are read where they are queued."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from orchestrator.clock import Clock
from orchestrator.sandbox.faults import FaultSettings
from orchestrator.sandbox.founding import Founding
from orchestrator.sandbox.habits import Habits, Managing, Sending
from orchestrator.sandbox.life import Life, open_world
from orchestrator.sandbox.model import Bundle, Delivery, Endpoint, SavedAccount, Slot
from orchestrator.sandbox.parameters import Parameters

ARTICLE = "article"
PUBLIC = "2026-05-25"
BEGINNING = datetime(2026, 12, 1, 8, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

CALM: dict[str, Any] = {
    "misses": 0.0,
    "fails": 0.0,
    "bans_per_account_year": 0.0,
    "lapses": 0.0,
    "account_review": "at_once",
}
"""Habits with which nothing goes wrong."""


class ManualClock(Clock):
    def __init__(self, now: datetime = BEGINNING) -> None:
        self.time = now

    def microseconds(self) -> int:
        return int(self.time.timestamp() * 1_000_000)


class Town:
    """A world with one endpoint for each dialect, both told everything."""

    def __init__(
        self,
        path: Path | None = None,
        *,
        dialect: str = PUBLIC,
        seed: int = 7,
        clock: ManualClock | None = None,
        sending: dict[str, Any] | None = None,
        faults: FaultSettings | None = None,
        sender: dict[str, Any] | None = None,
        **managing: Any,
    ) -> None:
        self.clock = clock or ManualClock()
        self.world = open_world(self.clock, path=path, seed=seed, parameters=Parameters(webhook_dialect=dialect))
        habits = Habits(managers=Managing(**(CALM | managing)), webhooks=Sending(**(sending or {})))
        self.life = Life(self.world, habits=habits, faults=faults, **(sender or {}))
        for name in (ARTICLE, PUBLIC):
            endpoint = Endpoint(id=name, url=f"http://127.0.0.1:1/{name}", signing_secret="town", dialect=name)
            if self.world.find(Endpoint, name) is None:
                self.world.put(endpoint)

    def found(self, **founding: Any) -> Bundle:
        """One account that has a past."""
        (bundle_id,) = self.life.founder.found(Founding(**({"country": "US"} | founding)))
        self.world.run_due()
        return self.world.get(Bundle, bundle_id)

    def hand_over(self, bundle: Bundle, position: int, day: str, external_ref: str | None = None) -> Slot:
        """Configure and publish a slot, as the REST side does."""
        slot = self.world.slot(bundle, position)
        assert slot is not None
        slot.external_ref = external_ref or f"ours-{bundle.id[:4]}-{position}"
        slot.target_publish_date = day
        slot.target_publish_end_date = (datetime.fromisoformat(day) + DAY).date().isoformat()
        slot.revision += 1
        self.world.move_slot(slot, "configured")
        self.world.changed("slot.configured", slot)
        self.world.move_slot(slot, "published")
        self.world.changed("slot.published", slot)
        return slot

    def take_back(self, slot: Slot) -> None:
        """Reset a slot, as the REST side does."""
        slot.status, slot.external_ref, slot.target_publish_date = "pending", None, None
        slot.revision += 1
        self.world.put(slot)
        self.world.changed("slot.reset", slot)

    def passes(self, time: timedelta, step: timedelta = HOUR) -> None:
        end = self.clock.time + time
        while self.clock.time < end:
            self.clock.time = min(self.clock.time + step, end)
            self.world.run_due()
            self.world.save()

    def behave(self, **managing: Any) -> None:
        """Managers have other habits from now on."""
        habits = self.life.habits
        self.life.habits = replace(habits, managers=replace(habits.managers, **managing))

    def account(self, bundle: Bundle) -> SavedAccount:
        account = self.world.saved_account_of(bundle)
        assert account is not None
        return account

    def bodies(self, dialect: str) -> list[dict[str, Any]]:
        """What the endpoint of this dialect is sent, in order of what happened."""
        found = [json.loads(row.body) for row in self.world.all(Delivery) if row.endpoint_id == dialect]
        key = "created_at" if dialect == PUBLIC else "timestamp"
        return sorted(found, key=lambda body: str(body[key]))

    def heard(self, dialect: str, prefix: str = "") -> list[str]:
        """The types of what was sent."""
        name = "type" if dialect == PUBLIC else "event"
        return [body[name] for body in self.bodies(dialect) if body[name].startswith(prefix)]

    def data(self, dialect: str, type: str) -> list[dict[str, Any]]:
        name = "type" if dialect == PUBLIC else "event"
        return [body["data"] for body in self.bodies(dialect) if body[name] == type]

    def deliveries(self) -> list[Delivery]:
        return list(self.world.all(Delivery))
