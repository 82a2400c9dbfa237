"""The read models follow the log: what they show, that they can be made again, and that only one runner can write."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator.database import Database, Lease, LeaseLostError
from orchestrator.database.tables import accounts, bundle_accounts, bundles, countries, events, projections, videos
from orchestrator.dialects import ARTICLE, PUBLIC, identify
from orchestrator.domain.bundle import bundle_view
from orchestrator.domain.video import video_view
from orchestrator.engine import Engine
from orchestrator.journal import Journal, Message, message_id_of
from orchestrator.log import EventLog, note
from projections import NAMES, Follower
from projections.follower import OvertakenError

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
READ_MODELS = (bundles, accounts, bundle_accounts, videos, countries)


@pytest.fixture
def database(migrated_url: str) -> Iterator[Database]:
    database = Database(migrated_url, connections=4)
    yield database
    database.close()


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


def positions(database: Database) -> set[tuple[str, int]]:
    return set(rows(database, projections))


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


def test_read_models_start_empty_at_position_0(database: Database) -> None:
    assert positions(database) == {(name, 0) for name in NAMES}
    assert Follower(database).step() == 0


def test_rows_and_positions_move_together_to_the_head(database: Database) -> None:
    record(database, [article(1, "bundle.created", "b1"), article(2, "video.posted", "b1", video_id="v1", url="u")])
    follow(database)
    with database.read() as connection:
        head = EventLog(database).head(connection)
    assert positions(database) == {(name, head) for name in NAMES}
    assert [(row[0], row[4]) for row in rows(database, bundles)] == [("b1", "created")]
    assert [(row[0], row[2]) for row in rows(database, videos)] == [("v1", "posted")]


@pytest.mark.parametrize("seed", range(4))
def test_pages_of_any_size_give_the_same_rows(database: Database, seed: int) -> None:
    record(database, eventful(seed))
    follow(database, page=1000)
    whole = {table.name: rows(database, table) for table in READ_MODELS}
    for page in (1, 7, 60):
        start_over(database)
        follow(database, page)
        assert {table.name: rows(database, table) for table in READ_MODELS} == whole


@pytest.mark.parametrize("seed", range(4, 8))
def test_rows_say_what_the_facts_in_the_log_say(database: Database, seed: int) -> None:
    record(database, eventful(seed))
    follow(database, page=9)
    facts: dict[str, list[Any]] = {}
    for _, owner, _, topic, state in rows(database, events):
        fact = note(topic, state)
        facts.setdefault(owner, [])
        if fact is not None:
            facts[owner].append(fact)
    named = {owner: {fact.account for fact in told if fact.account} for owner, told in facts.items()}
    reported = {owner.removeprefix("account:"): told for owner, told in facts.items() if owner.startswith("account:")}
    all_accounts = {account: reported.get(account, []) for names in named.values() for account in names}
    for row in rows(database, bundles):
        own = f"bundle:{row[0]}"
        kin = [facts[o] for o in facts if o.startswith("bundle:") and o != own and named[o] & named[own]]
        view = bundle_view(facts[own], all_accounts, kin)
        assert (row[4], row[1], row[2], bool(row[6]), bool(row[7]), row[11]) == (
            *(view.state, view.platform, view.country, view.warmed, view.postable),
            view.saved_account_id,
        )
        assert (json.loads(row[8]), json.loads(row[9])) == (list(view.holds), list(view.flags))
    for row in rows(database, videos):
        video = video_view(facts[f"video:{row[0]}"])
        assert (row[2], row[1], row[4]) == (video.state, video.bundle_id, video.post_url)
        assert [attempt["state"] for attempt in json.loads(row[8])] == [attempt.state for attempt in video.attempts]


@pytest.mark.parametrize("seed", range(8, 12))
def test_countries_count_what_the_other_read_models_show(database: Database, seed: int) -> None:
    record(database, eventful(seed))
    follow(database, page=11)
    counted: dict[tuple[str, str, str, str], int] = {}

    def count(country: str | None, platform: str | None, subject: str, state: str, by: int = 1) -> None:
        key = (country or "", platform or "", subject, state)
        counted[key] = counted.get(key, 0) + by

    places = {}
    for row in rows(database, bundles):
        places[row[0]] = (row[2], row[1])
        count(row[2], row[1], "bundles", row[4])
        count(row[2], row[1], "postable", "", int(row[7]))
    for row in rows(database, videos):
        count(*places[row[1]], "videos", row[2])
    assert {row[:4]: row[4] for row in rows(database, countries)} == {k: n for k, n in counted.items() if n}


def test_ban_of_one_bundle_shows_at_the_other_bundle_of_its_account(database: Database) -> None:
    record(database, [public(1, "account.finalized", bundle_id="b1", saved_account_id="s1")])
    follow(database)
    record(database, [public(2, "account.banned", minute=1, bundle_id="b2", saved_account_id="s1")])
    follow(database)
    assert {row[0]: row[4] for row in rows(database, bundles)} == {"b1": "banned", "b2": "banned"}


def test_news_of_an_account_waits_for_the_bundle_that_has_it(database: Database) -> None:
    record(database, [public(1, "account.banned", minute=5, saved_account_id="s1")])
    follow(database)
    assert rows(database, bundles) == []
    record(database, [public(2, "account.finalized", bundle_id="b1", saved_account_id="s1")])
    follow(database)
    assert [row[4] for row in rows(database, bundles)] == ["banned"]


def test_of_two_runners_only_one_applies_a_page(database: Database) -> None:
    record(database, [article(1, "bundle.created", "b1")])
    late, early = Follower(database), Follower(database)
    assert late.step()
    assert early.step() == 0
    record(database, [article(2, "bundle.ready", "b1", minute=1)])
    with database.read() as connection:
        head = EventLog(database).head(connection)
    prepared = late._countries.prepare

    def overtake(*arguments: Any) -> None:
        """The other runner commits the page after this one has read it."""
        late._countries.prepare = prepared  # type: ignore[method-assign]
        assert early.step()
        prepared(*arguments)

    late._countries.prepare = overtake  # type: ignore[method-assign]
    with pytest.raises(OvertakenError):
        late.step()
    assert positions(database) == {(name, head) for name in NAMES}
    assert [row[4] for row in rows(database, countries) if row[2] == "bundles"] == [1]
    assert late.step() == 0


def test_runner_without_its_lease_writes_nothing(database: Database) -> None:
    record(database, [article(1, "bundle.created", "b1")])
    lease = Lease(database, "projections", "first")
    assert lease.acquire()
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE leases SET expires_at = 0")
    assert Lease(database, "projections", "second").acquire()
    with pytest.raises(LeaseLostError):
        Follower(database, lease).step()
    assert rows(database, bundles) == []


def test_gap_in_the_log_stops_the_runner(database: Database) -> None:
    record(database, [article(1, "bundle.created", "b1"), article(2, "bundle.ready", "b1", minute=1)])
    with database.write() as connection:
        connection.execute(events.delete().where(events.c.notification_id == 2))
    with pytest.raises(AssertionError, match="gap after position 0"):
        Follower(database).step()
