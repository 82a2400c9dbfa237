"""While no decision is taken, the same set of webhooks gives the same facts, states, attempts and metrics in any order,
with any duplicates, in any batches."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.database import Database
from orchestrator.database.tables import marks
from orchestrator.desk import Desk
from orchestrator.dialects import ARTICLE, PUBLIC, Reading, article, identify, public
from orchestrator.domain.bundle import Account, Bundle, bundle_view
from orchestrator.domain.facts import Fact, Note, VideoFact
from orchestrator.domain.video import Video, video_view
from orchestrator.engine import Engine
from orchestrator.engine.decide import apply, judge
from orchestrator.engine.turn import Follow, Turn
from orchestrator.journal import Journal, Message, message_id_of
from orchestrator.journal.inbox import Taken
from orchestrator.journal.journal import LIVE, WEBHOOK
from orchestrator.log import EventLog, EventMapper
from tests.conftest import prepare
from tests.postgres import PostgresServer

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
NOON_MICROS = int(NOON.timestamp()) * 1_000_000
# Few of each, so that they meet: in one bundle, one account, one video, one instant.
BUNDLES = ["bdl_1", "bdl_2", "bdl_3"]
ACCOUNTS = ["acc_1", "acc_2"]
VIDEOS = ["vid_1", "vid_2"]
MINUTES = st.integers(0, 5)
# What is worth telling more often than the rest: what cuts, bans and holds.
WEIGHTY = ["account.remade", "account.banned", "account.ban_appeal.submitted", "account.ban_appeal.resolved"]


def profile(max_examples: int) -> settings:
    return settings(derandomize=True, deadline=None, max_examples=max_examples, print_blob=False)


# What may be sent


@dataclass(frozen=True)
class Sent:
    """A webhook that can be understood."""

    dialect: str
    content: dict[str, Any]

    def body(self, delivery: int) -> bytes:
        """The body of one of its deliveries: each is written in another way."""
        if delivery == 0:
            return json.dumps(self.content).encode()
        signed = {**self.content, "signature": f"{delivery:064x}"}
        return json.dumps(signed, indent=delivery % 3, sort_keys=delivery % 2 == 0).encode()


def moment(minute: int) -> str:
    return (NOON + timedelta(minutes=minute)).isoformat()


def optional(values: Sequence[Any]) -> st.SearchStrategy[Any]:
    return st.sampled_from([None, *values])


@st.composite
def articles(draw: st.DrawFn) -> Sent:
    event = draw(st.sampled_from(sorted(article.EVENTS)))
    data: dict[str, Any] = {"saved_account_id": draw(optional(ACCOUNTS))}
    if event.startswith("video."):
        data["video_id"] = draw(st.sampled_from(VIDEOS))
    if event == "video.posted":
        data["url"] = draw(optional(["https://t.example/1", "https://t.example/2"]))
    elif event == "video.post_failed":
        data |= {"error_code": draw(st.sampled_from("xy")), "retry": {"will_retry": draw(st.booleans())}}
    elif event == "video.analytics_updated":
        data["views"] = draw(st.integers(0, 3))
    elif event == "bundle.warming_failed":
        data["code"] = draw(st.sampled_from("xy"))
    elif event in ("bundle.created", "bundle.ready"):
        data["username"] = draw(optional(["ann", "ben"]))
    return Sent(
        ARTICLE,
        {
            "id": f"evt_{draw(st.integers(0, 99))}",
            "event": event,
            "timestamp": moment(draw(MINUTES)),
            "bundle_id": draw(st.sampled_from(BUNDLES)),
            "platform": draw(st.sampled_from(["tiktok", "tiktok", "instagram"])),
            "country": draw(st.sampled_from(["US", "USA", "FR"])),
            "data": data,
        },
    )


@st.composite
def publics(draw: st.DrawFn) -> Sent:
    type = draw(st.sampled_from(sorted(public.EVENTS)) | st.sampled_from(WEIGHTY))
    data: dict[str, Any] = {"saved_account_id": draw(optional(ACCOUNTS)), "country": draw(optional(["US", "FR"]))}
    kind = public.EVENTS[type]
    if kind is not None and issubclass(kind, VideoFact):
        data |= {"video_id": draw(st.sampled_from(VIDEOS)), "bundle_id": draw(st.sampled_from(BUNDLES))}
        data["platform_url"] = draw(optional(["https://t.example/1"]))
    elif data["saved_account_id"] is None or draw(st.booleans()):
        data["bundle_id"] = draw(st.sampled_from(BUNDLES))
    if type == "account.banned":
        data |= {"reason": draw(st.sampled_from("xy")), "banned_at": moment(draw(MINUTES))}
    elif type == "account.ban_appeal.resolved":
        data["outcome"] = draw(optional(["accepted", "refused"]))
    elif type == "account.revealed":
        data["management_ended"] = draw(st.booleans())
    return Sent(
        PUBLIC,
        {"id": f"evt_{draw(st.integers(0, 99))}", "type": type, "created_at": moment(draw(MINUTES)), "data": data},
    )


facts_sent = st.lists(articles() | publics(), min_size=1, max_size=16, unique_by=lambda s: (s.dialect, s.content["id"]))


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Sent], list[Sent]]:
    """Some webhooks, and the same in another order."""
    sent = draw(facts_sent)
    return sent, draw(st.permutations(sent))


@dataclass(frozen=True)
class Arrival:
    """Webhooks that come at once; afterwards the engine takes `steps` batches, having been `restarted` or not."""

    messages: list[Message]
    steps: int
    restarted: bool


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[list[Sent], list[Arrival]]:
    """Some webhooks, and a way in which they may come."""
    sent = draw(facts_sent)
    again = draw(st.lists(st.sampled_from(sent), max_size=6))
    arrivals, batch, times = [], [], dict.fromkeys(map(id, sent), 0)
    for one in draw(st.permutations([*sent, *again])):
        delay = draw(st.integers(-600, 600)) * 1_000_000  # The receiver's clock is no help.
        batch.append(message(one, times[id(one)], NOON_MICROS + delay))
        times[id(one)] += 1
        if draw(st.booleans()):
            arrivals.append(Arrival(batch, draw(st.integers(0, 2)), draw(st.booleans())))
            batch = []
    return sent, [*arrivals, Arrival(batch, 0, False)] if batch else arrivals


def message(sent: Sent, delivery: int, received_at: int) -> Message:
    body = sent.body(delivery)
    identity = identify(sent.dialect, body)
    return Message(
        message_id=message_id_of(sent.dialect, identity.event_id, identity.digest),
        kind=WEBHOOK,
        endpoint="default",
        mode=LIVE,
        dialect=sent.dialect,
        event_id=identity.event_id,
        id_source=identity.id_source,
        digest=identity.digest,
        body=body,
        headers="{}",
        actor="{}",
        received_at=received_at,
    )


# What they amount to


@dataclass(frozen=True)
class World:
    facts: list[tuple[Any, ...]]
    bundles: dict[str, Any]
    videos: dict[str, Any]


def world(aggregates: Iterable[Any], events: Iterable[Any]) -> World:
    kept = list(aggregates)
    bundles: dict[str, list[Note]] = {one.bundle_id: one.notes for one in kept if isinstance(one, Bundle)}
    accounts: dict[str, list[Note]] = {one.saved_account_id: one.notes for one in kept if isinstance(one, Account)}
    return World(
        facts=sorted(told(event) for event in events if isinstance(event, Fact)),
        bundles={
            name: bundle_view(notes, accounts, [others for other, others in bundles.items() if other != name])
            for name, notes in bundles.items()
        },
        videos={one.video_id: video_view(one.notes) for one in kept if isinstance(one, Video)},
    )


def told(fact: Fact) -> tuple[Any, ...]:
    """All of a fact but when, and as which of its aggregate's events, we recorded it."""
    state = {name: value for name, value in vars(fact).items() if name not in ("timestamp", "originator_version")}
    return type(fact).__name__, json.dumps(state, default=str, sort_keys=True)


Kind = TypeVar("Kind", Bundle, Account, Video)


class Memory:
    """The engine's aggregates, without a database."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}
        self.desk = Desk(None)  # type: ignore[arg-type]

    def load(self, connection: Any, keys: Iterable[str]) -> None:
        """There is nothing to read: what is not kept is new."""

    def is_at_hand(self, key: str) -> bool:
        return key in self.kept

    def known(self, key: str) -> Any:
        return self.kept.get(key)

    def take(self, reading: Reading, message: Taken) -> None:
        apply(reading, self.turn(message))

    def turn(self, message: Taken) -> Turn:
        nothing: Any = None  # No policies are in force: no outbox and no database are asked for anything.
        return Turn(
            message=message,
            cause=None,
            now=NOON,
            connection=nothing,
            aggregates=self,  # type: ignore[arg-type]
            desk=self.desk,
            outbox=nothing,
            policies=None,
            follow=Follow(),
            set_policies=nothing,
            told=set(),
        )

    def bundle(self, bundle_id: str, message_id: str, now: datetime) -> Bundle:
        return self._kept(Bundle, bundle_id, message_id, now)

    def account(self, saved_account_id: str, message_id: str, now: datetime) -> Account:
        return self._kept(Account, saved_account_id, message_id, now)

    def video(self, video_id: str, message_id: str, now: datetime) -> Video:
        return self._kept(Video, video_id, message_id, now)

    def _kept(self, kind: type[Kind], name: str, message_id: str, now: datetime) -> Kind:
        key = kind.key(name)
        if key not in self.kept:
            self.kept[key] = kind.register(name, message_id=message_id, now=now)
        kept: Kind = self.kept[key]
        return kept


def remembered(sent: Sequence[Sent]) -> Memory:
    """These webhooks taken in this order, by the domain alone."""
    memory = Memory()
    for seq, one in enumerate(sent):
        m = message(one, 0, NOON_MICROS)
        taken = Taken(
            seq, m.message_id, m.kind, m.endpoint, m.mode, m.dialect, m.event_id, m.body, m.actor, m.received_at
        )
        judged = judge(taken)
        assert judged.reading is not None, judged.reason
        memory.take(judged.reading, taken)
    return memory


def folded(sent: Sequence[Sent]) -> World:
    """What these webhooks amount to in this order."""
    kept = remembered(sent).kept.values()
    return world(kept, [event for aggregate in kept for event in aggregate.collect_events()])


def journalled(url: str, arrivals: Sequence[Arrival], max_batch: int) -> tuple[World, set[str]]:
    """What they amount to when they are sent to a database this way; and what became of the messages."""
    database = Database(url, connections=2)
    try:
        engine = Engine(database, max_batch=max_batch)
        for arrival in arrivals:
            with closing(Journal(database)) as door:
                door.append(arrival.messages)
            if arrival.restarted:
                engine = Engine(database, max_batch=max_batch)
            for _ in range(arrival.steps):
                engine.step()
        while engine.step():
            pass
        mapper, log = EventMapper(), EventLog(database)
        aggregates: dict[str, Any] = {}
        with database.read() as connection:
            events = [mapper.event(*stored[1:]) for stored in log.after(connection, 0, 100_000)]
            became = {row.status for row in connection.execute(marks.select())}
        for event in events:
            aggregates[event.originator_id] = event.mutate(aggregates.get(event.originator_id))
        return world(aggregates.values(), events), became
    finally:
        database.close()


# The properties


@profile(1_000)
@given(histories())
def test_order_does_not_matter_to_the_domain(history: tuple[list[Sent], list[Sent]]) -> None:
    sent, shuffled = history
    assert folded(shuffled) == folded(sent)


@profile(150)
@given(facts_sent)
def test_bundle_depends_on_its_accounts_and_on_the_bundles_that_had_them_and_on_nothing_else(sent: list[Sent]) -> None:
    kept = remembered(sent).kept
    everybody = world(kept.values(), []).bundles
    bundles: dict[str, Bundle] = {name: one for name, one in kept.items() if isinstance(one, Bundle)}
    named = {name: {note.account for note in one.notes if note.account} for name, one in bundles.items()}
    for name, bundle in bundles.items():
        keys = {account: Account.key(account) for account in named[name]}
        accounts = {account: kept[key].notes for account, key in keys.items() if key in kept}
        kin = [other.notes for key, other in bundles.items() if key != name and named[key] & named[name]]
        assert bundle_view(bundle.notes, accounts, kin) == everybody[bundle.bundle_id]


@profile(150)
@given(deliveries(), st.integers(1, 8))
def test_order_duplicates_and_batches_do_not_matter_on_sqlite(
    migrated_sqlite_file: Path,
    tmp_path_factory: pytest.TempPathFactory,
    delivered: tuple[list[Sent], list[Arrival]],
    max_batch: int,
) -> None:
    sent, arrivals = delivered
    folder = tmp_path_factory.mktemp("world")
    try:
        shutil.copyfile(migrated_sqlite_file, folder / "world.db")
        seen, became = journalled(f"sqlite:///{folder / 'world.db'}", arrivals, max_batch)
    finally:
        shutil.rmtree(folder)
    assert became == {"applied"}
    assert seen == folded(sent)


@profile(20)
@given(deliveries(), st.integers(1, 8))
def test_order_duplicates_and_batches_do_not_matter_on_postgresql(
    postgres_server: PostgresServer, delivered: tuple[list[Sent], list[Arrival]], max_batch: int
) -> None:
    sent, arrivals = delivered
    url = postgres_server.new_migrated_database(prepare)
    try:
        seen, became = journalled(url, arrivals, max_batch)
    finally:
        postgres_server.drop_database(url)
    assert became == {"applied"}
    assert seen == folded(sent)
