"""Orders of people: which are journalled, as what, and when they are answered."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from orchestrator.api.handlers import orders
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


def test_an_answer_that_waited_shows_what_the_order_did(house: House, stage: Stage) -> None:
    follow(house)
    stop = threading.Event()

    def lag() -> None:
        follower = Follower(house.database)
        while not stop.wait(0.05):
            follower.step()

    following = threading.Thread(target=lag)
    with engine_running(house):
        following.start()
        try:
            for verb, holds in (("pause", ["paused"]), ("resume", [])):
                answer = house.client.post(f"/api/bundles/b1/{verb}", headers={"Prefer": "wait=20"})
                assert answer.status_code == 200
                item = house.get("/api/bundles/b1")
                assert item["holds"] == holds
                assert item["position"] >= answer.json()["events"][-1]
        finally:
            stop.set()
            following.join()


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
