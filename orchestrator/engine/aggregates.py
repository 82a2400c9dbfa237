"""The aggregates that the engine works on: loaded many at a time, and kept while they are in use."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from datetime import datetime
from operator import itemgetter
from typing import Any

import sqlalchemy as sa

from orchestrator.domain.aggregate import Remembering
from orchestrator.domain.bundle import Account, Bundle
from orchestrator.domain.campaign import Campaign
from orchestrator.domain.house import Market, Service
from orchestrator.domain.video import Video
from orchestrator.log import EventLog, EventMapper

KEPT = 20_000
_moment = itemgetter(0)


class LoadedAggregates:
    """Keeps the most recently used aggregates.

    That is safe only for the one process that holds the engine's lease: whatever else could change an aggregate
    would have had to take the lease, and `forget` is called whenever the lease or a commit was lost.
    """

    def __init__(self, log: EventLog, mapper: EventMapper) -> None:
        self._log = log
        self._mapper = mapper
        self._kept: OrderedDict[str, Any] = OrderedDict()
        self._touched: dict[str, Remembering] = {}
        self._absent: set[str] = set()

    def load(self, connection: sa.Connection, keys: Iterable[str]) -> None:
        """Makes sure that every aggregate with one of `keys` that exists is at hand; one query for all."""
        missing = []
        for key in set(keys):
            if key in self._kept:
                self._kept.move_to_end(key)
            elif key not in self._absent:
                missing.append(key)
        if not missing:
            return
        self._absent.update(missing)
        for key, stored in sorted(self._log.of(connection, missing).items()):
            aggregate: Any = None
            for row in stored:
                event = self._mapper.event(row.originator_id, row.originator_version, row.topic, row.state)
                aggregate = event.mutate(aggregate)
            self._kept[key] = aggregate

    def is_at_hand(self, key: str) -> bool:
        if key in self._kept:
            self._kept.move_to_end(key)
            return True
        return False

    def bundle(self, bundle_id: str, message_id: str, now: datetime) -> Bundle:
        key = Bundle.key(bundle_id)
        found: Bundle = self._kept.get(key) or Bundle.register(bundle_id, message_id=message_id, now=now)
        self._touch(key, found)
        return found

    def account(self, saved_account_id: str, message_id: str, now: datetime) -> Account:
        key = Account.key(saved_account_id)
        found: Account = self._kept.get(key) or Account.register(saved_account_id, message_id=message_id, now=now)
        self._touch(key, found)
        return found

    def video(self, video_id: str, message_id: str, now: datetime) -> Video:
        key = Video.key(video_id)
        found: Video = self._kept.get(key) or Video.register(video_id, message_id=message_id, now=now)
        self._touch(key, found)
        return found

    def campaign(self, campaign_id: str, message_id: str, now: datetime) -> Campaign:
        key = Campaign.key(campaign_id)
        found: Campaign = self._kept.get(key) or Campaign.register(campaign_id, message_id=message_id, now=now)
        self._touch(key, found)
        return found

    def market(self, country: str, platform: str, message_id: str, now: datetime) -> Market:
        key = Market.key(country, platform)
        found: Market = self._kept.get(key) or Market.register(country, platform, message_id=message_id, now=now)
        self._touch(key, found)
        return found

    def service(self, message_id: str, now: datetime) -> Service:
        found: Service = self._kept.get(Service.KEY) or Service.register(message_id=message_id, now=now)
        self._touch(Service.KEY, found)
        return found

    def known(self, key: str) -> Any:
        """The aggregate, only to look at, if it exists and was loaded."""
        return self._kept.get(key)

    def _touch(self, key: str, aggregate: Remembering) -> None:
        self._kept[key] = aggregate
        self._touched[key] = aggregate

    def collect(self) -> list[Any]:
        """The new events of the message just applied, in the order in which they were recorded."""
        changed = [aggregate for aggregate in self._touched.values() if aggregate.pending_events]
        self._touched.clear()
        collected = [numbered for aggregate in changed for numbered in aggregate.collect()]
        return [event for _, event in sorted(collected, key=_moment)]

    def trim(self) -> None:
        self._absent.clear()
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)

    def forget(self) -> None:
        """Drops everything: what is kept may hold events that were never committed."""
        self._kept.clear()
        self._touched.clear()
        self._absent.clear()
