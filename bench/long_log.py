"""A long log, written past the engine: bundles on their way to being warm, videos on their way to being posted and
measured for months, the decisions about them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from pathlib import Path
from typing import Any

from eventsourcing.persistence import StoredEvent

from orchestrator.database import Database
from orchestrator.domain import decisions as ours
from orchestrator.domain import facts
from orchestrator.domain.bundle import Bundle
from orchestrator.domain.house import Service
from orchestrator.domain.video import Video
from orchestrator.log import EventLog, EventMapper

EVENTS = 1_000_000
AGGREGATES = 50_000
BEGAN = datetime(2026, 1, 5, 8, tzinfo=UTC)
COUNTRIES = "AT BE CH DE DK ES FI FR GB IE IT NL NO PL PT SE US".split()
POLICIES = Path(__file__).parent.parent / "config" / "policies.yaml"
BATCH = 5_000
TOGETHER = 2_000
"""Aggregates whose lives run side by side: the events of one lie scattered over the log, as they do in life."""

_policy = "2b72fa199d69e3cbfe57ecae9b2a4c1d71e145e8bbb2859a67aadbe85783c12f"
_candidates = {"own": [[f"bdl_{n:06}", "more to post than others", 0] for n in range(6)], "counts": {"banned": 2}}
Happening = tuple[type[Any], dict[str, Any]]


class _Writer:
    def __init__(self) -> None:
        self.mapper, self.now, self.number = EventMapper(), BEGAN, 0
        self.versions: dict[str, int] = {}

    def stored(self, key: str, kind: type[Any], values: dict[str, Any]) -> StoredEvent:
        self.number += 1
        self.now += timedelta(milliseconds=700)
        version = self.versions[key] = self.versions.get(key, 0) + 1
        common = {"timestamp": self.now, "message_id": f"msg_{self.number:032x}"}
        if issubclass(kind, facts.Fact | facts.BundleMentioned):
            common |= {"occurred_at": self.now - timedelta(seconds=2), "event_id": f"evt_{self.number}"}
            common |= {"dialect": facts.PUBLIC}
        event = object.__new__(kind)
        event.__dict__.update({"originator_id": key, "originator_version": version, **common, **values})
        return self.mapper.to_stored_event(event)


def long_log(events: int = EVENTS, aggregates: int = AGGREGATES) -> Iterator[StoredEvent]:
    """`events` events of `aggregates` bundles and videos, half of each."""
    writer, rng = _Writer(), random.Random(7)
    yield writer.stored(Service.KEY, Service.ServiceRegistered, {"originator_topic": "Service"})
    text = POLICIES.read_text(encoding="utf-8")
    applied = _ours({"text": text, "sha256": _policy}, actor={"kind": "trigger", "name": "serve"})
    yield writer.stored(Service.KEY, ours.PoliciesApplied, applied)
    # Every life is as long as the events last: the first ones are one longer where they cannot all be equal.
    length, longer = divmod(events - 2, aggregates)
    names = iter(range(aggregates))
    alive: list[tuple[str, Iterator[Happening]]] = []
    while True:
        while len(alive) < TOGETHER and (number := next(names, None)) is not None:
            key, life = _bundle(number, length) if number % 2 == 0 else _video(number)
            alive.append((key, islice(life, length + (number < longer))))
        if not alive:
            return
        index = rng.randrange(len(alive))
        key, life = alive[index]
        happening = next(life, None)
        if happening is None:
            alive[index] = alive[-1]
            alive.pop()
        else:
            yield writer.stored(key, *happening)


def _ours(data: dict[str, Any], actor: dict[str, str] = ours.POLICY, reason: str | None = None) -> dict[str, Any]:
    return {"reason": reason, "actor": actor, "policy": _policy, "answers": None, "data": data}


def _fact(bundle: str, country: str | None, data: dict[str, Any], account: str | None = None) -> dict[str, Any]:
    return {
        "bundle_id": bundle,
        "account": account,
        "country": country,
        "platform": "tiktok",
        "data": data,
    }


def _bundle(number: int, length: int) -> tuple[str, Iterator[Happening]]:
    name = f"bdl_{number:06}"
    country = COUNTRIES[number % len(COUNTRIES)]
    account = f"acc_{number:06}"

    def life() -> Iterator[Happening]:
        yield Bundle.BundleRegistered, {"originator_topic": "Bundle", "bundle_id": name}
        yield facts.BundleCreated, _fact(name, country, {"platform": "tiktok", "country": country})
        yield facts.BundleReady, _fact(name, country, {"username": f"user.{number}"}, account)
        requested = {"era": 0, "tries": 1, "mode": "advanced", "terms": [], "command_id": f"cmd_{number:032x}"}
        yield ours.WarmingRequested, _ours(requested, reason="new accounts are warmed")
        yield facts.WarmingStarted, _fact(name, country, {"mode": "advanced"}, account)
        for term in range(length // 3):
            yield facts.TermVerified, _fact(name, country, {"term": f"term {term}"}, account)
        yield facts.WarmingCompleted, _fact(name, country, {"terms": length // 3}, account)
        for hour in count():
            if hour % 3 == 0:
                yield facts.BundleMentioned, {"account": account, "country": country, "platform": "tiktok"}
            else:
                at = (BEGAN + timedelta(hours=hour)).isoformat()
                yield ours.SlotsCounted, _ours({"bundle_id": name, "total": 30, "free": 30 - hour % 30, "at": at})

    return Bundle.key(name), life()


def _video(number: int) -> tuple[str, Iterator[Happening]]:
    name, bundle = f"vid_{number:032x}", f"bdl_{number - number % 2:06}"
    country = COUNTRIES[number % len(COUNTRIES)]
    where = {"number": 1, "bundle_id": bundle}
    wish = {"campaign_id": f"cmp_{number % 50:032x}", "target": 0, "ref": f"teaser-{number % 90}", "platform": "tiktok"}
    wish |= {"country": country, "group": "default", "starts": None, "ends": None, "bundles": None}

    def life() -> Iterator[Happening]:
        yield Video.VideoRegistered, {"originator_topic": "Video", "video_id": name}
        if number % 5:
            yield ours.VideoRequested, _ours({**wish, "accounts": None, "day": None})
            planned = {**where, "account": bundle, "target_day": "2026-02-11", "candidates": _candidates}
            yield ours.VideoPlanned, _ours(planned, reason="least loaded")
            yield ours.HandoverStarted, _ours({**where, "command_id": f"cmd_{number:032x}"})
            joined = {**where, "vendor_id": f"tp_{number}", "position": 3, "at": BEGAN.isoformat()}
            yield ours.SlotJoined, _ours(joined)
        told = {"video_id": f"tp_{number}", "external_ref": name}
        yield facts.VideoScheduled, _fact(bundle, None, told)
        yield facts.UploadStarted, _fact(bundle, None, told)
        if number % 9 == 0:
            failed = {**told, "error_code": "network_error", "message": "try later", "retry": {"will_retry": True}}
            yield facts.PostFailed, _fact(bundle, None, failed)
        yield facts.UploadCompleted, _fact(bundle, None, told)
        yield facts.VideoPosted, _fact(bundle, None, {**told, "url": f"https://www.tiktok.com/@u/video/{number}"})
        for day in count():
            metrics = {"views": 1000 * day, "likes": 30 * day, "shares": day, "comments": 2 * day}
            yield facts.MetricsUpdated, _fact(bundle, None, {**told, **metrics})

    return Video.key(name), life()


def write_log(database: Database, log: Iterator[StoredEvent]) -> None:
    recorder, batch = EventLog(database), []
    for event in log:
        batch.append(event)
        if len(batch) == BATCH:
            with database.write() as connection:
                recorder.append(connection, batch)
            batch = []
    with database.write() as connection:
        recorder.append(connection, batch)
