"""What nobody can ask the real TokPortal."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from starlette.types import ASGIApp

from orchestrator.sandbox.app import create_app
from tests.sandbox.house import KEY, Reply, request
from tests.sandbox.town import ARTICLE, DAY, PUBLIC, Town

LOCAL = {"host": "127.0.0.1:8090"}


class Desk:
    """A town and its whole web application."""

    def __init__(self, **town: Any) -> None:
        self.town = Town(**town)
        self.app: ASGIApp = create_app(self.town.life, advance=self._advance)

    def _advance(self, seconds: float) -> None:
        self.town.clock.time += timedelta(seconds=seconds)

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] = LOCAL) -> Reply:
        return request(self.app, method, path, headers, b"" if body is None else json.dumps(body).encode())


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    desk = Desk()
    # Without the application's lifespan there is no network.
    monkeypatch.setattr(desk.town.life.sender, "pump", lambda: 0)
    return desk


def test_the_truth_is_all_that_is_so(desk: Desk) -> None:
    bundle = desk.town.found(state="warm")
    slot = desk.town.hand_over(bundle, 1, "2026-12-02", "ours")
    other = desk.town.found(country="FR")
    desk.town.passes(5 * DAY)
    truth = desk.ask("GET", "/sandbox/truth").json
    assert {row["id"] for row in truth["bundles"]} == {bundle.id, other.id}
    assert [row["video_id"] for row in truth["slots"]] == [slot.id]
    (post,) = truth["posts"]
    assert post["external_ref"] == "ours" and post["at"].endswith("Z") and post["url"] == slot.platform_url
    assert truth["violations"] == [] and truth["doubles"] == [] and truth["dialect"] == PUBLIC
    assert truth["deliveries"]["total"] > 0
    narrow = desk.ask("GET", f"/sandbox/truth?bundle_id={other.id}").json
    assert [row["id"] for row in narrow["bundles"]] == [other.id] and narrow["posts"] == []


def test_events_are_sent_on_request_in_either_dialect_true_or_not(desk: Desk) -> None:
    bundle = desk.town.found(state="warm")
    slot = desk.town.hand_over(bundle, 3, "2026-12-02", "ours")
    order = {"type": "video.posted", "video_id": slot.id, "data": {"url": "https://example.com/1"}}
    sent = desk.ask("POST", "/sandbox/events", order).json["deliveries"]
    assert [row["endpoint_id"] for row in sent] == [ARTICLE]
    (posted,) = desk.town.data(ARTICLE, "video.posted")
    assert posted["video_id"] == slot.id and posted["position"] == 3 and posted["url"] == "https://example.com/1"
    strange = {"type": "video.in_review", "bundle_id": "bdl_x", "video_id": "vid_x", "position": 9, "event_id": "evt_x"}
    sent = desk.ask("POST", "/sandbox/events", {**strange, "at": "2026-11-30T08:00:00+01:00"}).json["deliveries"]
    assert [(row["endpoint_id"], row["event_id"]) for row in sent] == [(PUBLIC, "evt_x")]
    (body,) = [body for body in desk.town.bodies(PUBLIC) if body["id"] == "evt_x"]
    assert body["created_at"] == "2026-11-30T07:00:00.000Z" and body["data"]["bundle_id"] == "bdl_x"
    both = desk.ask("POST", "/sandbox/events", {"type": "bundle.created", "bundle_id": "bdl_y", "country": "FR"}).json
    assert len(both["deliveries"]) == 2
    one = desk.ask("POST", "/sandbox/events", {"type": "bundle.created", "dialect": "article"}).json
    assert [row["endpoint_id"] for row in one["deliveries"]] == [ARTICLE]


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ({"type": "video.exploded"}, "video.exploded"),
        ({"type": "bundle.created", "dialect": "welsh"}, "article or 2026-05-25"),
        ({"type": "bundle.created", "at": "2026-12-01T08:00:00"}, "offset"),
        ({"typ": "bundle.created"}, "`typ`"),
    ],
)
def test_an_event_that_makes_no_sense_is_refused_in_words(desk: Desk, order: Any, message: str) -> None:
    reply = desk.ask("POST", "/sandbox/events", order)
    assert reply.status == 400 and message in reply.json["error"]["message"]


def test_bans_on_request(desk: Desk) -> None:
    bundles = [desk.town.found(country=country, state="warm") for country in ("US", "US", "FR")]
    assert desk.ask("POST", "/sandbox/bans", {"country": "US", "count": 5}).json["banned"] == 2
    assert desk.ask("POST", "/sandbox/bans", {"country": "US"}).json["banned"] == 0
    banned = desk.ask("POST", "/sandbox/bans", {"bundle_id": bundles[2].id, "appeal": True, "reason": "spam"}).json
    assert banned["bans"][0]["status"] == "appeal_pending" and banned["bans"][0]["reason"] == "spam"
    assert desk.ask("POST", "/sandbox/bans", {"bundle_id": "bdl_x"}).status == 400
    assert [bundle.status for bundle in bundles] == ["cancelled", "cancelled", "accepted"]


def test_accounts_on_request_are_in_their_state(desk: Desk) -> None:
    order = {"country": "FR", "platform": "instagram", "count": 2, "state": "warm", "slots": 5, "username": "acme"}
    ids = desk.ask("POST", "/sandbox/bundles", order).json["bundle_ids"]
    rows = {row["id"]: row for row in desk.ask("GET", "/sandbox/truth").json["bundles"]}
    assert len(ids) == 2 and all(rows[id]["account_status"] == "finalized" for id in ids)
    assert desk.town.heard(ARTICLE)[-1] == "bundle.warming_completed"
    reply = desk.ask("POST", "/sandbox/bundles", {"country": "Atlantis"})
    assert reply.status == 400 and "Atlantis" in reply.json["error"]["message"]
    assert desk.ask("POST", "/sandbox/bundles", {"country": "US", "warming_targets": 4}).status == 400


def test_faults_are_set_member_by_member(desk: Desk) -> None:
    desk.ask("PATCH", "/sandbox/faults", {"webhooks": {"lost": 0.5}})
    rest = [{"share": 1.0, "methods": ["write"], "path": "/bundles*", "status": 502, "first": 1}]
    now = desk.ask("PATCH", "/sandbox/faults", {"rest": rest}).json
    assert now["webhooks"]["lost"] == 0.5 and now["rest"][0]["kind"] == "error"
    assert desk.ask("GET", "/sandbox/faults").json == now
    key = {"x-api-key": KEY, **LOCAL}
    order = {"bundle_type": "account_only", "platform": "tiktok", "country": "FR"}
    assert desk.ask("GET", "/api/ext/bundles", headers=key).status == 200
    assert desk.ask("POST", "/api/ext/bundles", order, key).status == 502
    assert desk.ask("POST", "/api/ext/bundles", order, key).status == 201
    assert desk.ask("PATCH", "/sandbox/faults", {"webhooks": {"lost": 2}}).status == 400
    assert desk.ask("PATCH", "/sandbox/faults", {"webhooks": {"losst": 0.1}}).status == 400


def test_parameters_are_set_member_by_member_and_survive(desk: Desk) -> None:
    before = desk.ask("GET", "/sandbox/parameters").json
    change = {"managers": {"misses": 1.0}, "parameters": {"prices": {"video_upload": 9}}, "webhooks": {"timeout": 1}}
    after = desk.ask("PATCH", "/sandbox/parameters", change).json
    assert after["managers"] == {**before["managers"], "misses": 1.0}
    assert after["parameters"]["prices"] == {**before["parameters"]["prices"], "video_upload": 9}
    assert desk.town.world.parameters.prices.video_upload == 9
    assert desk.town.life.habits.managers.misses == 1.0
    assert desk.ask("PATCH", "/sandbox/parameters", {"managers": {"misses": -1}}).status == 400
    assert desk.town.life.habits.managers.misses == 1.0


def test_a_clock_that_moves_by_hand_is_moved(desk: Desk) -> None:
    desk.town.found(state="published", age_days=0)
    assert desk.ask("POST", "/sandbox/advance", {"seconds": 4 * 86_400}).json["now"] == "2026-12-05T08:00:00.000Z"
    assert "account.finalized" in desk.town.heard(PUBLIC)
    assert desk.ask("POST", "/sandbox/advance", {"seconds": -1}).status == 400


def test_a_clock_that_runs_is_not_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    town = Town()
    reply = request(create_app(town.life), "POST", "/sandbox/advance", LOCAL, b'{"seconds": 1}')
    assert reply.status == 409 and reply.code == "CLOCK_RUNS"


@pytest.mark.parametrize("host", ["sandbox.example", "evil.localhost.example", "10.0.0.1:8090"])
def test_another_name_of_this_machine_does_not_get_in(desk: Desk, host: str) -> None:
    reply = desk.ask("GET", "/sandbox/truth", headers={"host": host})
    assert reply.status == 403 and reply.code == "LOOPBACK_ONLY"


def test_the_api_of_tokportal_is_beside_it(desk: Desk) -> None:
    assert desk.ask("GET", "/api/ext/me", headers={"x-api-key": KEY}).status == 200
    assert desk.ask("GET", "/sandbox/nothing").status == 404
