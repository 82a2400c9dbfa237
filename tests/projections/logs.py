"""Logs, and read models that follow them."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from eventsourcing.persistence import StoredEvent

from orchestrator.database import Database
from orchestrator.database.tables import (
    accounts,
    bundle_accounts,
    bundle_videos,
    bundles,
    campaigns,
    countries,
    decisions,
    projections,
    videos,
)
from orchestrator.dialects import ARTICLE, PUBLIC, identify
from orchestrator.engine import Engine
from orchestrator.journal import Journal, Message, message_id_of
from orchestrator.log import EventLog
from projections import Follower

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
READ_MODELS = (bundles, accounts, bundle_accounts, videos, bundle_videos, countries, decisions, campaigns)


def article(number: int, event: str, bundle: str, *, minute: int = 0, country: str = "US", **data: Any) -> Message:
    body = {
        "id": f"evt_{number}",
        "event": event,
        "timestamp": (NOON + timedelta(minutes=minute)).isoformat(),
        "bundle_id": bundle,
        "platform": "tiktok",
        "country": country,
        "data": data,
    }
    return webhook(ARTICLE, body)


def public(number: int, event: str, *, minute: int = 0, **data: Any) -> Message:
    created_at = (NOON + timedelta(minutes=minute)).isoformat()
    return webhook(PUBLIC, {"id": f"evt_{number}", "type": event, "created_at": created_at, "data": data})


def webhook(dialect: str, body: dict[str, Any]) -> Message:
    raw = json.dumps(body).encode()
    name = identify(dialect, raw)
    return Message(
        message_id=message_id_of(dialect, name.event_id, name.digest),
        kind="webhook",
        endpoint="default",
        mode="live",
        dialect=dialect,
        event_id=name.event_id,
        id_source=name.id_source,
        digest=name.digest,
        body=raw,
        headers="{}",
        actor="{}",
        received_at=int((NOON + timedelta(days=1)).timestamp() * 1e6),
    )


def record(database: Database, messages: Sequence[Message]) -> None:
    journal = Journal(database)
    journal.append(messages)
    journal.close()
    engine = Engine(database)
    while engine.step():
        pass


def append(database: Database, log: Sequence[StoredEvent]) -> None:
    """Writes a log as it is, past the engine."""
    with database.write() as connection:
        EventLog(database).append(connection, log)


def follow(database: Database, page: int = 1000) -> None:
    follower = Follower(database, page=page)
    while follower.step():
        pass


def rows(database: Database, table: sa.Table) -> list[tuple[Any, ...]]:
    with database.read() as connection:
        return sorted(tuple(row) for row in connection.execute(sa.select(table)))


def start_over(database: Database) -> None:
    with database.write() as connection:
        for table in READ_MODELS:
            connection.execute(table.delete())
        connection.execute(projections.update().values(position=0))


def eventful(seed: int) -> list[Message]:
    """Both dialects, shared accounts, countries learnt late, videos of bundles that nobody has heard of yet."""
    rng = random.Random(seed)
    messages = []
    for number in range(160):
        bundle, minute = f"b{rng.randrange(6)}", rng.randrange(50)
        account = rng.choice([None, "s1", "s2", "s3"])
        country = rng.choice(["US", "FR", None])
        known: dict[str, Any] = {"bundle_id": bundle, "saved_account_id": account, "country": country}
        choice = rng.randrange(8)
        if choice == 0:
            event = rng.choice(["bundle.created", "bundle.ready", "bundle.warming_completed", "bundle.banned"])
            messages.append(article(number, event, bundle, minute=minute, country=rng.choice(["US", "FR"])))
        elif choice == 1:
            event = rng.choice(["account.finalized", "warming.session_started", "account.remade", "bundle.cancelled"])
            messages.append(public(number, event, minute=minute, **known))
        elif choice == 2:
            event = rng.choice(["account.banned", "subscription.lapsed", "subscription.renewed", "account.remade"])
            messages.append(public(number, event, minute=minute, saved_account_id=account or "s1"))
        else:
            event = rng.choice(["video.configured", "video.in_review", "video.finalized", "video.ai_labeled"])
            video = f"v{rng.randrange(12)}"
            url = rng.choice([None, f"https://example.com/{video}"])
            messages.append(public(number, event, minute=minute, video_id=video, platform_url=url, **known))
    return messages
