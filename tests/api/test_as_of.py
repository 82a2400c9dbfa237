"""As of a moment of the past: what was answered then is answered again, exact to the event."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from eventsourcing.persistence import StoredEvent
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from orchestrator.api.queries import as_of
from orchestrator.api.queries.bundles import bundle_item, list_bundles
from orchestrator.api.queries.histories import bundle_history, campaign_history, video_history
from orchestrator.api.queries.moments import BadMoment, Moment, parse_moment
from orchestrator.api.queries.videos import list_videos, video_item
from orchestrator.database import Database
from orchestrator.domain.times import iso
from orchestrator.log import recorded_at
from projections import Follower
from tests.api.house import House, webhook
from tests.projections.logs import append
from tests.projections.wild import BUNDLES, STRANGERS, wild

NOW = datetime(2027, 1, 1, tzinfo=UTC)
FILTERS: list[tuple[str, dict[str, Any]]] = [
    ("bundles", {}),
    ("bundles", {"postable": True}),
    ("bundles", {"postable": False, "country": "US"}),
    ("bundles", {"country": "FR"}),
    ("bundles", {"country": "FR", "platform": "instagram"}),
    ("bundles", {"country": "ZW"}),
    ("bundles", {"state": "banned"}),
    ("bundles", {"state": "banned", "country": "US"}),
    ("bundles", {"state": "failed"}),
    ("bundles", {"state": "warming"}),
    ("bundles", {"group": "acme"}),
    ("bundles", {"platform": "tiktok"}),
    ("bundles", {"username": "ub1"}),
    ("videos", {}),
    ("videos", {"state": "posted"}),
    ("videos", {"bundle_id": "b1"}),
    ("videos", {"campaign_id": "cmp_1"}),
    ("videos", {"campaign_id": "cmp_1", "ref": "teaser", "platform": "tiktok"}),
    ("videos", {"country": "FR"}),
    ("videos", {"country": "US", "platform": "tiktok"}),
    ("videos", {"platform": "instagram"}),
    ("videos", {"state": "failed"}),
    ("videos", {"state": "abandoned"}),
    ("videos", {"state": "cancelled"}),
    ("videos", {"state": "uploading"}),
    ("videos", {"ref": "teaser"}),
    ("videos", {"error_code": "network_error"}),
]
NAMED: list[tuple[str, str]] = [
    *(("bundle", name) for name in BUNDLES[:3]),
    *(("video", name) for name in (*STRANGERS[:4], "w0", "w1")),
]
LIVE: dict[str, Callable[..., Any]] = {"bundles": list_bundles, "videos": list_videos}
THEN: dict[str, Callable[..., Any]] = {"bundles": as_of.list_bundles, "videos": as_of.list_videos}
LIVE_ITEM: dict[str, Callable[..., Any]] = {"bundle": bundle_item, "video": video_item}
THEN_ITEM: dict[str, Callable[..., Any]] = {"bundle": as_of.bundle_item, "video": as_of.video_item}
HISTORY: dict[str, Callable[..., Any]] = {"bundle": bundle_history, "video": video_history}


@contextmanager
def opened(url: str) -> Iterator[Database]:
    database = Database(url, connections=4)
    try:
        yield database
    finally:
        database.close()


def live(connection: Connection) -> dict[str, Any]:
    """Everything that is answered now."""
    answers: dict[str, Any] = {f"{what} {query}": LIVE[what](connection, limit=500, **query) for what, query in FILTERS}
    answers |= {f"{kind} {name}": LIVE_ITEM[kind](connection, name) for kind, name in NAMED}
    answers |= {f"history {kind} {name}": HISTORY[kind](connection, name, limit=500) for kind, name in NAMED}
    return answers | {"history cmp_1": campaign_history(connection, "cmp_1", limit=500)}


def then(connection: Connection, moment: Moment) -> dict[str, Any]:
    """Everything that is answered as of the moment."""
    answers: dict[str, Any] = {
        f"{what} {query}": THEN[what](connection, moment, limit=500, **query) for what, query in FILTERS
    }
    answers |= {f"{kind} {name}": THEN_ITEM[kind](connection, moment, name) for kind, name in NAMED}
    answers |= {
        f"history {kind} {name}": HISTORY[kind](connection, name, limit=500, as_of=moment) for kind, name in NAMED
    }
    return answers | {"history cmp_1": campaign_history(connection, "cmp_1", limit=500, as_of=moment)}


def check(database: Database, log: list[StoredEvent], ends: list[int]) -> None:
    """At each of the `ends`, which the log reaches one after the other, the answers are recorded; afterwards they are
    asked for again, by position and by time."""
    follower = Follower(database)
    recorded: dict[int, dict[str, Any]] = {}
    begin = 0
    for end in ends:
        append(database, log[begin:end])
        begin = end
        while follower.step():
            pass
        with database.read() as connection:
            recorded[end] = live(connection)
    with database.read() as connection:
        for end, answers in recorded.items():
            again = then(connection, Moment(end, NOW))
            for question, answer in answers.items():
                assert again[question] == answer, f"{question} as of {end}"
            assert again == answers
            at = recorded_at(log[end - 1].state)
            if end == len(log) or recorded_at(log[end].state) > at:
                assert Moment(at, NOW).resolve(connection) == end
                assert list_at(connection, Moment(at, NOW)) == answers["bundles {}"]


def list_at(connection: Connection, moment: Moment) -> Any:
    return as_of.list_bundles(connection, moment, limit=500)


@pytest.mark.parametrize("seed", range(6))
def test_what_was_answered_at_any_position_is_answered_again(migrated_url: str, seed: int) -> None:
    log = wild(seed, acts=120)
    rng = random.Random(seed)
    with opened(migrated_url) as database:
        check(database, log, [*sorted(rng.sample(range(1, len(log)), 25)), len(log)])


@settings(
    max_examples=15,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(seed=st.integers(0, 10**9), acts=st.integers(1, 60))
def test_as_of_every_position_is_what_was_answered_there(
    tmp_path_factory: pytest.TempPathFactory, migrated_sqlite_file: Path, seed: int, acts: int
) -> None:
    path = tmp_path_factory.mktemp("wild") / "wild.db"
    path.write_bytes(migrated_sqlite_file.read_bytes())
    log = wild(seed, acts=acts)
    with opened(f"sqlite:///{path}") as database:
        check(database, log, list(range(1, len(log) + 1)))


@pytest.mark.parametrize("behind", [1, 40, 200])
def test_what_the_read_models_have_not_followed_yet_is_known_all_the_same(migrated_url: str, behind: int) -> None:
    log = wild(77, acts=200)
    with opened(migrated_url) as database:
        follower = Follower(database)
        append(database, log[:-behind])
        while follower.step():
            pass
        append(database, log[-behind:])
        with database.read() as connection:
            early = then(connection, Moment(len(log), NOW))
        while follower.step():
            pass
        with database.read() as connection:
            assert early == live(connection)


@pytest.mark.parametrize("seed", range(3))
def test_pages_of_the_past_hold_everything_once(migrated_url: str, seed: int) -> None:
    log = wild(seed, acts=150)
    with opened(migrated_url) as database:
        append(database, log)
        Follower(database).step()
        with database.read() as connection:
            moment = Moment(len(log) // 2, NOW)
            for what, query in FILTERS:
                whole = THEN[what](connection, moment, limit=500, **query)
                for limit in (1, 3):
                    found, cursor = [], None
                    while True:
                        page = THEN[what](connection, moment, limit=limit, cursor=cursor, **query)
                        assert len(page["items"]) <= limit
                        found += page["items"]
                        cursor = page["next"]
                        if cursor is None:
                            break
                    assert found == whole["items"]


def test_before_the_first_event_there_was_nothing(migrated_url: str) -> None:
    with opened(migrated_url) as database:
        append(database, wild(1, acts=20))
        with database.read() as connection:
            for moment in (Moment(0, NOW), Moment(datetime(2020, 1, 1, tzinfo=UTC), NOW)):
                assert list_at(connection, moment) == {"items": [], "next": None, "position": 0}
                assert as_of.bundle_item(connection, moment, "b1") is None
                assert video_history(connection, "v1", as_of=moment) is None


def test_moments_are_positions_or_times() -> None:
    at = datetime(2026, 11, 20, 17, tzinfo=UTC)
    assert parse_moment("4711", NOW).at == 4711
    for text in ("2026-11-20T17:00:00Z", "2026-11-20T17:00", "2026-11-20T18:00:00+01:00", "2026-11-20T18:00:00 01:00"):
        assert parse_moment(text, NOW).at == at
    for text in ("-1", "1.5", "yesterday", "2026-13-01", "٣", "9" * 20, str(2**63), "0001-01-01T00:00+14:00"):
        with pytest.raises(BadMoment):
            parse_moment(text, NOW)


# Over HTTP.


def told(house: House) -> None:
    house.tell(
        webhook("bundle.created", 1),
        webhook("bundle.ready", 2),
        webhook("video.upload_started", 3, data={"video_id": "vid_1"}),
        webhook("video.posted", 4, data={"video_id": "vid_1", "url": "https://example.com/1"}),
    )
    Follower(house.database).step()


def test_the_past_is_asked_for_over_http(house: House) -> None:
    told(house)
    assert house.get("/api/bundles/bdl_1")["state"] == "ready"
    then = house.get("/api/bundles/bdl_1", params={"as_of": "2"})
    assert (then["state"], then["position"], then["videos"]) == ("created", 2, {})
    assert house.get("/api/bundles?as_of=2")["items"] == [then]
    video = house.get("/api/videos/vid_1", params={"as_of": "5"})
    assert (video["state"], video["position"]) == ("uploading", 5)
    assert house.get("/api/videos?as_of=5&bundle_id=bdl_1&country=us")["items"] == [video]
    assert house.get("/api/videos?as_of=3") == {"items": [], "next": None, "position": 3}
    house.get("/api/videos/vid_1?as_of=3", 404)
    history = house.get("/api/videos/vid_1/history?as_of=5")
    assert ([item["event"] for item in history["items"]], history["position"]) == (["UploadStarted"], 5)
    house.get("/api/videos/vid_1/history?as_of=3", 404)
    house.get("/api/campaigns/none/history?as_of=3", 404)


def test_a_time_is_that_of_the_recording(house: House) -> None:
    told(house)
    recorded = house.get("/api/events?after=0")["items"][0]["recorded_at"]
    assert house.get("/api/bundles/bdl_1", params={"as_of": recorded}) == house.get("/api/bundles/bdl_1")
    before = iso(datetime.fromisoformat(recorded) - timedelta(microseconds=1))
    assert house.get("/api/bundles", params={"as_of": before}) == {"items": [], "next": None, "position": 0}


def test_what_is_still_to_come_is_not_known(house: House) -> None:
    told(house)
    head = house.get("/api/events?after=0")["position"]
    for path in ("bundles", "videos", "bundles/bdl_1", "videos/vid_1", "bundles/bdl_1/history", "videos/vid_1/history"):
        assert house.get(f"/api/{path}?as_of={head}")
        for wrong in (str(head + 1), "2030-01-01T00:00:00Z", "-1", "now", "1e3"):
            problem = house.get(f"/api/{path}", 400, params={"as_of": wrong})
            assert problem["parameter"] == "as_of"


def test_nobody_waits_for_the_past(house: House) -> None:
    told(house)
    assert "until" in house.get("/api/videos/vid_1?as_of=5&until=posted", 400)["detail"]
