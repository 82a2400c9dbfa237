"""The checks can fail: each invariant is broken on purpose."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from orchestrator.commands import TryAgain
from orchestrator.database import Database
from orchestrator.database.tables import journal
from orchestrator.domain.decisions import (
    AttemptCancelled,
    DayFilled,
    HandoverRefused,
    HandoverStarted,
    Ours,
    SlotsCounted,
    VideoAbandoned,
    VideoHeld,
    VideoPlanned,
    VideoRerouted,
)
from orchestrator.domain.facts import PostFailed
from orchestrator.outbox import Command
from tests.brain.stage import Stage, campaign
from tests.conftest import prepare
from tests.simulation.checker import Broken, Checker
from tests.simulation.vendor import Slot
from tests.simulation.world import World


@pytest.fixture
def database(migrated_url: str) -> Iterator[Database]:
    with closing(Database(migrated_url, connections=6)) as database:
        yield database


@pytest.fixture
def story(database: Database) -> Iterator[list[Any]]:
    """A video that was handed over, failed, and was moved: nothing is wrong with that."""
    with closing(Stage(database)) as stage:
        stage.warm("b1", "b2")
        stage.warm("b3", country="FR")
        (video,) = stage.video_ids(stage.campaign(campaign()))
        stage.send_all()
        failure = {"error_code": "network_error", "retry": {"will_retry": False}}
        stage.article("video.post_failed", "b1", video_id=video, **failure)
        stage.send_all()
        events = stage.events()
    Checker().take(events)
    yield events


Spoil = Callable[[list[Any]], list[Any]]


def changed(events: list[Any], kind: type[Any], **data: Any) -> list[Any]:
    """The story with other values in the last event of a kind."""
    last = max(index for index, event in enumerate(events) if isinstance(event, kind))
    event = events[last]
    return [*events[:last], replace(event, data={**event.data, **data}), *events[last + 1 :]]


def without(events: list[Any], kind: type[Any]) -> list[Any]:
    return [event for event in events if not isinstance(event, kind)]


def first(events: list[Any], kind: type[Any]) -> Any:
    return next(event for event in events if isinstance(event, kind))


def rejected(events: list[Any]) -> list[Any]:
    """Another video of the content was abandoned, since the platform rejected it, before this one moved."""
    planned, moved = first(events, VideoPlanned), events.index(first(events, VideoRerouted))
    requested = next(event for event in events if type(event).__name__ == "VideoRequested")
    common = {name: getattr(planned, name) for name in ("timestamp", "message_id", "actor", "policy", "answers")}
    other = "video:vid_other"
    return [
        *events[:moved],
        replace(requested, originator_id=other),
        VideoAbandoned(other, 3, reason="the platform rejected this content", data={}, **common),
        *events[moved:],
    ]


def held(events: list[Any]) -> list[Any]:
    planned, sent = first(events, VideoPlanned), events.index(first(events, HandoverStarted))
    common = {name: getattr(planned, name) for name in ("timestamp", "message_id", "actor", "policy", "answers")}
    return [*events[:sent], VideoHeld(planned.originator_id, 9, reason="seen", data={}, **common), *events[sent:]]


def told(events: list[Any], kind: type[Ours], before: type[Any], **data: Any) -> list[Any]:
    """TokPortal had told this of the account that takes the video over, before the last event of a kind."""
    planned = first(events, VideoPlanned)
    common = {name: getattr(planned, name) for name in ("timestamp", "message_id", "actor", "policy", "answers")}
    at = max(index for index, event in enumerate(events) if isinstance(event, before))
    return [*events[:at], kind("bundle:b2", 99, reason=None, data=data, **common), *events[at:]]


def refused(events: list[Any]) -> list[Any]:
    """The account refused the video again and again."""
    planned = first(events, VideoPlanned)
    common = {name: getattr(planned, name) for name in ("timestamp", "message_id", "actor", "policy", "answers")}
    data = {"number": 1, "code": "busy", "details": {}}
    return [*events, *[HandoverRefused(planned.originator_id, 9, reason="no", data=data, **common)] * 7]


NONE_FREE = {"bundle_id": "b2", "total": 1, "free": 0, "at": "2026-11-23T12:00:00Z"}
SPOILT: list[tuple[int, str, Spoil]] = [
    (1, "took effect twice", lambda events: [*events, first(events, PostFailed)]),
    (3, "second live attempt", lambda events: without(events, AttemptCancelled)),
    (3, "may still post it", lambda events: without(events, PostFailed)),
    (3, "not numbered", lambda events: changed(events, VideoRerouted, number=3)),
    (4, "leaves ('US', 'tiktok')", lambda events: changed(events, VideoRerouted, bundle_id="b3")),
    (4, "not warm but ready", lambda events: never_warm(events)),
    (4, "returns to the account", lambda events: changed(events, VideoRerouted, bundle_id="b1")),
    (4, "0 videos need its 0 free slots", lambda events: told(events, SlotsCounted, VideoRerouted, **NONE_FREE)),
    (4, "has no free slot", lambda events: told(events, SlotsCounted, HandoverStarted, **NONE_FREE)),
    (4, "is full there", lambda events: told(events, DayFilled, VideoRerouted, day="2026-11-24", count=3)),
    (4, "7 times, and goes on", refused),
    (5, "rejected its content", rejected),
    (5, "while it is held", held),
    (6, "gives no reason", lambda events: [*events, replace(first(events, VideoRerouted), reason=None)]),
    (6, "names no policies", lambda events: [*events, replace(first(events, VideoRerouted), policy=None)]),
    (6, "was chosen", lambda events: changed(events, VideoRerouted, candidates={"own": [], "judged": None})),
]


def never_warm(events: list[Any]) -> list[Any]:
    """The account that takes the video was never reported to be warm."""
    return [
        event
        for event in events
        if not (event.originator_id == "bundle:b2" and not isinstance(event, Ours) and hasattr(event, "rank"))
        or type(event).__name__ == "BundleReady"
    ]


@pytest.mark.parametrize(("invariant", "says", "spoil"), SPOILT, ids=[f"{n}: {says}" for n, says, _ in SPOILT])
def test_a_spoilt_story_is_found_out(story: list[Any], invariant: int, says: str, spoil: Spoil) -> None:
    with pytest.raises(Broken) as caught:
        Checker().take(spoil(story))
    assert str(caught.value).startswith(f"{invariant}: ")
    assert says in str(caught.value)


def test_a_full_account_is_found_out(database: Database) -> None:
    with closing(Stage(database)) as stage:
        stage.warm("b1")
        more = "starts: 2026-11-24\nends: 2026-11-26"
        stage.campaign(campaign(refs=[f"r{n}" for n in range(4)], more=more))
        events = stage.events()
    Checker().take(events)
    crowded = [
        replace(event, data={**event.data, "target_day": "2026-11-24"}) if isinstance(event, VideoPlanned) else event
        for event in events
    ]
    with pytest.raises(Broken, match="one too many"):
        Checker().take(crowded)


def test_a_key_that_is_used_for_something_else_is_found_out(database: Database) -> None:
    with closing(World(database, 1)) as world:
        one = _command("cmd_1", {"target_day": "2026-12-01"})
        other = _command("cmd_1", {"target_day": "2026-12-02"})
        world.vendor.rng.seed(3)
        _until_done(lambda: world.vendor.execute(one))
        with pytest.raises(AssertionError, match="another body"):
            _until_done(lambda: world.vendor.execute(other))


def _command(command_id: str, body: dict[str, Any]) -> Any:
    return Command(
        command_id=command_id,
        kind="unschedule_video",
        bundle_id="b00",
        video_id="vid_1",
        campaign_id=None,
        country=None,
        platform=None,
        body=body,
        idempotency_key=command_id,
        price=None,
        status="running",
        reason=None,
        not_before=0,
        created_at=0,
        message_id="msg_1",
    )


def _until_done(call: Callable[[], Any]) -> None:
    while True:
        try:
            call()
            return
        except TryAgain:
            continue


def test_a_video_that_the_vendor_posts_twice_is_found_out(database: Database) -> None:
    with closing(World(database, 2)) as world:
        for name in list(world.vendor.accounts)[:2]:
            slot = Slot(name, "vid_1", f"tp_{name}_1", 1, date(2026, 12, 1), "posted")
            world.vendor.accounts[name].slots["vid_1"] = slot
        with pytest.raises(Broken, match="3: vid_1 was really posted on"):
            world.check()


def test_a_read_model_that_differs_from_the_log_is_found_out(database: Database) -> None:
    with closing(World(database, 2)) as world:
        world.run(5)
        with database.write() as connection:
            connection.exec_driver_sql("UPDATE bundles SET state = 'banned'")
        with pytest.raises(Broken, match="8: bundles"):
            world.check_read_models()


def test_a_journal_that_was_changed_gives_other_events(
    database: Database, request: pytest.FixtureRequest, migrated_url: str
) -> None:
    with closing(World(database, 2)) as world:
        world.run(5)
        with database.write() as connection:
            day = timedelta(days=1) // timedelta(microseconds=1)
            webhooks = journal.update().where(journal.c.kind == "webhook")
            connection.execute(webhooks.values(received_at=journal.c.received_at + day))
        with pytest.raises(Broken, match="9: "):
            world.check_replay(_empty(request, migrated_url))


def _empty(request: pytest.FixtureRequest, migrated_url: str) -> Callable[[], Database]:
    def make() -> Database:
        if migrated_url.startswith("sqlite"):
            path = request.getfixturevalue("tmp_path") / "again.db"
            shutil.copyfile(request.getfixturevalue("migrated_sqlite_file"), path)
            return Database(f"sqlite:///{path}", connections=6)
        return Database(request.getfixturevalue("postgres_server").new_migrated_database(prepare), connections=6)

    return make
