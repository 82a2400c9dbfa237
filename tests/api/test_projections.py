"""Read models over HTTP: how they stand, and the order to make one anew."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from orchestrator.database.tables import journal, projections, rebuilds
from tests.api.house import House, bearer


def items(house: House) -> dict[str, dict[str, Any]]:
    return {item["name"]: item for item in house.client.get("/api/projections").json()["items"]}


def stop(house: House, name: str, **values: Any) -> None:
    with house.database.write() as connection:
        connection.execute(projections.update().where(projections.c.name == name).values(values))


def begin(house: House, name: str, **values: Any) -> None:
    row = {"version": 1, "position": 0, "done": 0, "total": 0, "began_at": 100.0, "changed_at": 100.0}
    with house.database.write() as connection:
        connection.execute(rebuilds.insert().values({"name": name, **row, **values}))


def test_a_read_model_that_is_well_is_live(house: House) -> None:
    assert items(house)["bundles"] == {
        "name": "bundles",
        "position": 0,
        "head": 0,
        "lag": 0,
        "state": "live",
        "progress": None,
        "version": 1,
        "failure": None,
        "rebuild": None,
    }


def test_one_that_stopped_says_where_and_why(house: House) -> None:
    stop(house, "videos", failed_at=7, failed_topic="VideoPosted", failure="KeyError: 'tp_1'", failed_since=1.0)
    found = items(house)
    assert found["videos"]["state"] == "failed"
    assert found["videos"]["failure"] == {"position": 7, "event": "VideoPosted", "reason": "KeyError: 'tp_1'"}
    assert found["bundles"]["state"] == "live"


def test_health_names_the_event_and_keeps_what_it_said_from_strangers(house: House) -> None:
    stop(house, "videos", failed_at=7, failed_topic="VideoPosted", failure="KeyError: 'tp_1'", failed_since=1.0)
    answer = house.client.get("/health/work")
    check = answer.json()["checks"]["projection videos"]
    assert (answer.status_code, check["status"]) == (503, "fail")
    assert check["detail"].startswith("stopped at the event at position 7 (VideoPosted): KeyError")
    assert "tp_1" not in answer.text


@pytest.mark.parametrize("stage", ["wanted", "reading", "indexing", "following", "ready"])
def test_one_that_is_made_anew_says_how_far_it_is(house: House, stage: str) -> None:
    begin(house, "bundles", stage=stage, done=250, total=1000, changed_at=102.0)
    found = items(house)["bundles"]
    assert (found["state"], found["progress"]) == ("rebuilding", 0.25)
    assert found["rebuild"] == {
        "stage": stage,
        "progress": 0.25,
        "events_per_second": 125,
        "seconds_left": 6.0,
        "reason": None,
    }


def test_one_that_was_made_anew_is_live_again(house: House) -> None:
    begin(house, "bundles", stage="done", done=1000, total=1000, changed_at=102.0)
    found = items(house)["bundles"]
    assert (found["state"], found["progress"], found["rebuild"]["stage"]) == ("live", None, "done")


def test_a_rebuild_that_failed_says_why(house: House) -> None:
    begin(house, "bundles", stage="failed", failure="the event at position 7 (BundleReady) cannot be folded: …")
    found = items(house)["bundles"]
    assert (found["state"], found["rebuild"]["stage"]) == ("live", "failed")
    assert "position 7" in found["rebuild"]["reason"]


def test_an_order_to_make_one_anew_is_journalled_with_who_gave_it_and_why(guarded: House) -> None:
    path = "/api/projections/bundles/rebuild"
    answer = guarded.client.post(path, headers=bearer("admin"), json={"reason": "by hand"})
    assert answer.status_code == 202
    message_id = answer.json()["message_id"]
    assert answer.headers["location"] == f"/api/messages/{message_id}"
    with guarded.database.read() as connection:
        row = connection.execute(sa.select(journal).where(journal.c.message_id == message_id)).one()
    assert msgspec.json.decode(row.body) == {"command": "projection.rebuild", "name": "bundles", "reason": "by hand"}
    assert msgspec.json.decode(row.actor) == {"kind": "person", "name": "ada"}


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_only_an_admin_may_order_it(guarded: House, role: str) -> None:
    answer = guarded.client.post("/api/projections/bundles/rebuild", headers=bearer(role))
    assert answer.status_code == 403


def test_what_does_not_exist_cannot_be_made_anew(house: House) -> None:
    answer = house.client.post("/api/projections/accounts/rebuild")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


def test_a_malformed_order_is_not_journalled(house: House) -> None:
    answer = house.client.post("/api/projections/bundles/rebuild", json={"why": 1})
    assert answer.status_code == 422
    with house.database.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(journal)).scalar_one() == 0
