"""The brain under load: a campaign of ten thousand videos, and bans of accounts that have a hundred to post."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from orchestrator.campaigns import CampaignSpec, read_csv, read_document
from orchestrator.database import Database
from orchestrator.dialects import ARTICLE, identify
from orchestrator.engine import Engine
from orchestrator.engine.turn import microseconds
from orchestrator.journal import Journal, Message, message_id_of
from orchestrator.journal.commands import order
from orchestrator.log import EventLog
from orchestrator.planning import Draft, draft
from orchestrator.worker import tune_collector

COUNTRIES = "AR AT AU BE BR CA CH CL CO CZ DE DK ES FI FR GB GR IE IT JP KR MX NL NO NZ PL PT SE US ZA".split()
ACCOUNTS = 1_000
VIDEOS = 10_000
BANS = 100
ON_AN_ACCOUNT = 100
POLICIES = """
defaults:
  warming: {start: manual}
  ban: {breaker: {bans: 1000, within: 1h}}
"""


class Planned(NamedTuple):
    """Seconds. `start`: until every video has its account, its day and its command; `longest`: the longest step of the
    engine on the way, in which nothing else is decided."""

    dry_run: float
    start: float
    longest: float


class World:
    """The engine with a thousand warm accounts in thirty countries. It is at the current time: what follows from time
    is not measured."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.engine = Engine(database)
        self.journal = Journal(database)
        self.now = datetime.now(UTC)
        self._number = 0
        self.say({"command": "mode", "mode": "sandbox"})
        self.say({"command": "policies.apply", "text": POLICIES})
        began = self.now - timedelta(days=30)
        for minute, event in enumerate(("created", "ready", "warming_started", "warming_completed")):
            at = began + timedelta(minutes=minute)
            self.journal.append([self.webhook(event, number, at) for number in range(ACCOUNTS)])
        self.run()

    def run(self) -> float:
        """Until the engine has nothing left to do; the seconds of its longest step."""
        longest = 0.0
        while True:
            began = time.monotonic()
            done = self.engine.step()
            longest = max(longest, time.monotonic() - began)
            if not done:
                return longest

    def say(self, command: dict[str, Any]) -> float:
        self.journal.append([order(command, endpoint="bench", name="bench", received_at=microseconds(self.now))])
        return self.run()

    def webhook(self, event: str, number: int, at: datetime) -> Message:
        self._number += 1
        content = {
            "id": f"evt_{self._number}",
            "event": f"bundle.{event}",
            "timestamp": at.isoformat(),
            "bundle_id": account(number),
            "platform": "tiktok",
            "country": COUNTRIES[number % len(COUNTRIES)],
            "data": {},
        }
        body = msgspec.json.encode(content)
        name = identify(ARTICLE, body)
        return Message(
            message_id_of(ARTICLE, name.event_id, name.digest),
            "webhook",
            "default",
            "live",
            ARTICLE,
            name.event_id,
            name.id_source,
            name.digest,
            body,
            "{}",
            "{}",
            microseconds(self.now),
        )

    def draft(self, spec: CampaignSpec) -> Draft:
        with self.database.read() as connection:
            return draft(connection, self.database, spec, self.now)

    def topics(self, after: int) -> Counter[str]:
        """What the log has after a position."""
        with self.database.read() as connection:
            return Counter(stored.topic for stored in EventLog(self.database).after(connection, after, 1_000_000))

    def head(self) -> int:
        with self.database.read() as connection:
            return EventLog(self.database).head(connection)


def account(number: int) -> str:
    return f"bdl_{number:04}"


@contextmanager
def world(url: str) -> Iterator[World]:
    tune_collector()
    database = Database(url, connections=2)
    try:
        made = World(database)
        yield made
        made.journal.close()
    finally:
        database.close()


def everywhere() -> CampaignSpec:
    """Ten videos for each of the thousand accounts."""
    return read_document(_campaign("everywhere", VIDEOS // ACCOUNTS, "{country: %s, platform: tiktok}"))


def row_by_row() -> CampaignSpec:
    """A CSV file with a row, and content of its own, for each video."""
    rows = "".join(
        f"r{number},https://cdn.example.com/{number}.mp4,{COUNTRIES[number % len(COUNTRIES)]},tiktok\n"
        for number in range(VIDEOS)
    )
    data = f"ref,media,country,platform\n{rows}".encode()
    return read_csv(data, name="rows", disclose_as_ads=True, ai_content_disclaimer=False)


def _campaign(name: str, refs: int, target: str) -> str:
    contents = (f"  - {{ref: r{number}, media: 'https://cdn.example.com/{number}.mp4'}}\n" for number in range(refs))
    targets = (f"  - {target % country}\n" for country in COUNTRIES)
    stated = "disclose_as_ads: true\nai_content_disclaimer: false\n"
    return f"name: {name}\nvideos:\n{''.join(contents)}targets:\n{''.join(targets)}{stated}"


def planning(url: str, spec: CampaignSpec) -> Planned:
    """A campaign's dry run, and its start."""
    with world(url) as there:
        began = time.monotonic()
        planned = there.draft(spec)
        dry_run = time.monotonic() - began
        there.say(planned.order(spec))
        head = there.head()
        began = time.monotonic()
        longest = there.say({"command": "campaign.start", "campaign_id": spec.campaign_id})
        start = time.monotonic() - began
        placed = there.topics(head)["VideoPlanned"]
        if placed != VIDEOS:
            raise RuntimeError(f"{placed:,} of {VIDEOS:,} videos were placed")
        return Planned(dry_run, start, longest)


def bans(url: str) -> list[float]:
    """By ban, the least first: the seconds from its being in the journal, when the webhook is answered, to the commit
    of the last decision."""
    accounts = -(-BANS // len(COUNTRIES))
    target = f"{{country: %s, platform: tiktok, accounts: {accounts}}}"
    spec = read_document(_campaign("many", ON_AN_ACCOUNT, target))
    with world(url) as there:
        planned = there.draft(spec)
        there.say(planned.order(spec))
        there.say({"command": "campaign.start", "campaign_id": spec.campaign_id})
        seconds = []
        for name in sorted({item["bundle_id"] for item in planned.plan()})[:BANS]:
            head = there.head()
            there.journal.append([there.webhook("banned", int(name.removeprefix("bdl_")), there.now)])
            began = time.monotonic()
            there.run()
            seconds.append(time.monotonic() - began)
            topics = there.topics(head)
            if topics["VideoRerouted"] + topics["VideoWaiting"] < ON_AN_ACCOUNT:
                raise RuntimeError(f"{name} was banned, and some of its videos stayed there")
        return sorted(seconds)
