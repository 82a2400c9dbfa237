"""Orders of people: which are journalled, as what, and when they are answered."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from orchestrator.api.handlers import orders
from orchestrator.engine import Engine
from orchestrator.engine.reactions import campaigns as reactions
from orchestrator.journal import Journal
from orchestrator.journal.group_commit import JournalUnavailableError
from projections import Follower
from tests.api.house import House, bearer, check_problem, webhook
from tests.api.test_messages import engine_running, rows
from tests.api.test_ours import follow, merged
from tests.brain.stage import MONDAY, Stage, campaign


@pytest.fixture
def stage(house: House) -> Iterator[Stage]:
    house.clock.now = MONDAY
    with closing(Stage(house.database)) as stage:
        stage.warm("b1", "b2")
        yield stage


def ordered(house: House) -> list[Any]:
    """The bodies of the orders that came through the API."""
    return [json.loads(row.body) for row in rows(house) if row.kind == "command" and row.endpoint == "api"]


def test_what_the_log_knows_can_be_ordered_about_before_it_is_shown(house: House) -> None:
    house.tell(webhook("bundle.created"), webhook("video.upload_started", data={"video_id": "vid_1"}))
    house.get("/api/bundles/bdl_1", 404)
    for path in ("/api/bundles/bdl_1/pause", "/api/videos/vid_1/cancel"):
        assert house.client.post(path).status_code == 202
    for path in ("/api/bundles/bdl_2/pause", "/api/videos/vid_2/cancel", "/api/campaigns/cmp_1/start"):
        answer = house.client.post(path)
        assert answer.status_code == 404
        check_problem(answer)
    assert [order["command"] for order in ordered(house)] == ["bundle.pause", "video.cancel"]


def test_an_order_about_a_stranger_that_is_ours_is_about_ours(house: House, stage: Stage) -> None:
    name = merged(stage)
    follow(house)
    assert house.client.post("/api/videos/tp_1/cancel", json={"reason": "x"}).status_code == 202
    assert ordered(house) == [{"command": "video.cancel", "video_id": name, "reason": "x"}]


def test_corrections_are_ordered_with_a_comment_and_fields(house: House, stage: Stage) -> None:
    video = in_review(stage)
    body = {"comment": "The caption has a typo.", "fields": {"description": "New drop"}}
    assert house.client.post(f"/api/videos/{video}/corrections", json=body).status_code == 202
    assert house.client.post(f"/api/videos/{video}/finalize").status_code == 202
    assert house.client.post(f"/api/videos/{video}/refresh").status_code == 202

    named = {"video_id": video, "reason": None}
    assert ordered(house) == [
        {"command": "video.corrections", **named, **body},
        {"command": "video.finalize", **named},
        {"command": "video.refresh", **named},
    ]
    stage.run()
    assert stage.commands(kind="request_corrections")[0]["body"]["comment"] == "The caption has a typo."
    assert len(stage.commands(kind="finalize_video")) == 1


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"comment": "  "},
        {"comment": 7},
        {"comment": "x" * 2_001},
        {"comment": "x", "fields": ["description"]},
        {"comment": "x", "fields": {"description": 7}},
        {"comment": "x", "fields": {str(n): "y" for n in range(51)}},
        {"comment": "x", "reason": 7},
        {"comment": "x", "other": "y"},
    ],
)
def test_corrections_that_say_nothing_are_malformed(house: House, stage: Stage, body: dict[str, Any]) -> None:
    answer = house.client.post(f"/api/videos/{in_review(stage)}/corrections", json=body)
    assert answer.status_code == 422
    check_problem(answer)
    assert ordered(house) == []


def in_review(stage: Stage) -> str:
    """A video whose post TokPortal shows for review."""
    (video,) = stage.video_ids(stage.campaign(campaign()))
    stage.send_all()
    stage.public("video.in_review", video_id=video, bundle_id="b1", platform_url="https://t.example/1")
    return video


@contextmanager
def following(house: House) -> Iterator[None]:
    """Read models that come a moment later."""
    stop = threading.Event()

    def lag() -> None:
        follower = Follower(house.database)
        while not stop.wait(0.05):
            follower.step()

    thread = threading.Thread(target=lag)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_an_answer_that_waited_shows_what_the_order_did(house: House, stage: Stage) -> None:
    follow(house)
    with engine_running(house), following(house):
        for verb, holds in (("pause", ["paused"]), ("resume", [])):
            answer = house.client.post(f"/api/bundles/b1/{verb}", headers={"Prefer": "wait=20"})
            assert answer.status_code == 200
            item = house.get("/api/bundles/b1")
            assert item["holds"] == holds
            assert item["position"] >= answer.json()["events"][-1]


def test_read_models_that_stand_still_do_not_keep_back_the_answer_for_ever(house: House, stage: Stage) -> None:
    follow(house)
    with engine_running(house):
        answer = house.client.post("/api/bundles/b1/pause", headers={"Prefer": "wait=1"})
    assert (answer.status_code, answer.json()["status"]) == (200, "applied")


def test_orders_for_many_go_to_all_that_the_filter_finds(house: House, stage: Stage) -> None:
    spec = stage.campaign(campaign(refs=[f"t{n}" for n in range(7)]))
    follow(house)
    body = {"action": "cancel", "filter": {"campaign_id": spec.campaign_id}, "reason": "all"}
    answer = house.client.post("/api/videos/bulk", json=body)
    assert (answer.status_code, answer.json()["count"], answer.json()["truncated"]) == (202, 7, False)
    assert len(set(answer.json()["message_ids"])) == 7
    assert sorted(order["video_id"] for order in ordered(house)) == sorted(stage.video_ids(spec))
    assert {(order["command"], order["reason"]) for order in ordered(house)} == {("video.cancel", "all")}


def test_orders_for_too_many_say_so(house: House, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orders, "MOST_AT_ONCE", 4)
    for number, expected in ((4, (4, False)), (5, (4, True))):
        spec = stage.campaign(campaign(f"c{number}", refs=[f"t{n}" for n in range(number)]))
        follow(house)
        body = {"action": "cancel", "filter": {"campaign_id": spec.campaign_id}}
        dry = house.client.post("/api/videos/bulk", json=body | {"dry_run": True}).json()
        assert (dry["count"], dry["truncated"], len(dry["sample"])) == (*expected, 4)
        done = house.client.post("/api/videos/bulk", json=body).json()
        assert (done["count"], done["truncated"], len(done["message_ids"])) == (*expected, 4)


def test_a_bulk_order_needs_the_role_of_the_single_one(guarded: House) -> None:
    body = {"action": "approve", "filter": {"status": "held"}, "dry_run": True}
    for role, status in (("viewer", 403), ("operator", 403), ("admin", 200)):
        answer = guarded.client.post("/api/commands/bulk", json=body, headers=bearer(role))
        assert answer.status_code == status
    body["action"] = "discard"
    assert guarded.client.post("/api/commands/bulk", json=body, headers=bearer("operator")).status_code == 200


def test_a_journal_that_fails_in_the_middle_is_told(
    house: House, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = stage.campaign(campaign(refs=["t1", "t2", "t3"]))
    follow(house)

    def fail(*_: Any) -> Any:
        raise JournalUnavailableError

    monkeypatch.setattr(Journal, "append", fail)
    answer = house.client.post(
        "/api/videos/bulk", json={"action": "cancel", "filter": {"campaign_id": spec.campaign_id}}
    )
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    check_problem(answer)


def test_a_draft_of_a_journal_that_is_not_taken_is_answered_all_the_same(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.api.handlers.campaigns.WAIT", 0.2)
    text = campaign().encode()
    first, second = (house.client.post("/api/campaigns", content=text) for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 201)
    assert len(ordered(house)) == 1


def test_a_campaign_is_answered_only_once_it_can_be_shown(
    house: House, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.api.handlers.campaigns.WAIT", 0.2)
    spec = stage.campaign(campaign(), start=False)
    answer = house.client.post("/api/campaigns", content=campaign().encode())
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    check_problem(answer)
    follow(house)
    answer = house.client.post("/api/campaigns", content=campaign().encode())
    assert (answer.status_code, answer.json()["campaign_id"]) == (200, spec.campaign_id)
    assert answer.headers["location"] == f"/api/campaigns/{spec.campaign_id}"


def test_an_optional_member_that_is_null_is_not_there(house: House, stage: Stage) -> None:
    spec = stage.campaign(campaign())
    (video,) = stage.video_ids(spec)
    follow(house)
    for body in ({"reason": None, "bundle_id": None}, {"reason": None}, {}):
        assert house.client.post(f"/api/videos/{video}/reroute", json=body).status_code == 202
    many = {"action": "cancel", "filter": {"campaign_id": spec.campaign_id}, "dry_run": None, "reason": None}
    assert house.client.post("/api/videos/bulk", json=many).status_code == 202
    reroute = {"command": "video.reroute", "video_id": video, "reason": None}
    assert ordered(house) == [*[reroute] * 3, {"command": "video.cancel", "video_id": video, "reason": None}]


def test_a_filter_that_is_null_does_not_let_everything_through(house: House, stage: Stage) -> None:
    body = {"action": "cancel", "filter": {"state": "planned", "campaign_id": None}}
    assert house.client.post("/api/videos/bulk", json=body).status_code == 422


@pytest.mark.parametrize(
    "address",
    [
        "/api/countries/US/pause?platform=youtube",
        "/api/bundles/b1/pause?until=tomorrow",
        "/api/pause?x",
        "/api/campaigns?dry_run=maybe",
    ],
)
def test_an_order_with_parameters_that_are_none_is_not_journalled(house: House, stage: Stage, address: str) -> None:
    before = len(rows(house))
    answer = house.client.post(address)
    assert answer.status_code == 422
    check_problem(answer)
    assert len(rows(house)) == before
    house.get("/api/countries?platfrom=tiktok", 400)


def started(house: House, stage: Stage, refs: int) -> str:
    """The address of a draft that is yet to be started."""
    spec = stage.campaign(campaign(refs=[f"t{n}" for n in range(refs)]), start=False)
    follow(house)
    return f"/api/campaigns/{spec.campaign_id}"


def test_an_answer_that_waited_comes_when_all_of_a_campaign_is_placed_and_when_all_is_cancelled(
    house: House, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reactions, "SLICE", 1)
    address = started(house, stage, 30)
    with engine_running(house), following(house):
        for verb, state in (("start", "planned"), ("cancel", "cancelled")):
            assert house.client.post(f"{address}/{verb}", headers={"Prefer": "wait=20"}).status_code == 200
            item = house.get(address)
            assert item["placing"] is False
            states = item["progress"]["by_state"]
            assert sum(states.values()) == 30
            assert set(states) <= {state, "waiting"}


def test_a_campaign_shows_that_it_is_still_being_placed(
    house: House, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reactions, "SLICE", 1)
    address = started(house, stage, 3)
    assert house.get(address)["placing"] is False
    engine = Engine(house.database)

    def take_the_order() -> None:
        while not engine.step():
            time.sleep(0.01)  # The order comes from another thread; nothing tells this one when.

    taking = threading.Thread(target=take_the_order)
    taking.start()
    answer = house.client.post(f"{address}/start", headers={"Prefer": "wait=1"})
    taking.join()
    assert (answer.status_code, answer.json()["status"]) == (200, "applied")
    assert house.get(address)["placing"] is True
    assert [item["placing"] for item in house.get("/api/campaigns")["items"]] == [True]
    while engine.step():
        pass
    assert house.get(address)["placing"] is False
