"""What every request passes, and what every answer carries."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from orchestrator.sandbox.hooks import Fault
from orchestrator.sandbox.model import Bundle, Coverage, Due, IdempotencyRecord
from orchestrator.sandbox.parameters import Parameters
from orchestrator.sandbox.world import World
from tests.sandbox.house import KEY, House, StandingClock

_ORDER = {"bundle_type": "account_only", "platform": "tiktok", "country": "FR"}


def _other(**parameters: Any) -> House:
    clock = StandingClock()
    return House(World(clock, parameters=Parameters(**parameters)), clock)


def _bundles(house: House) -> int:
    return len(list(house.world.all(Bundle)))


def test_keys() -> None:
    revoked = "sk_" + "0" * 64
    house = _other(revoked_keys=[revoked])
    for key, code in (("", "AUTH_MISSING_KEY"), ("sk_test", "AUTH_INVALID_KEY"), (revoked, "AUTH_REVOKED_KEY")):
        reply = house.ask("GET", "/me", api_key=key, Authorization=f"Bearer {KEY}")
        assert (reply.status, reply.code) == (401, code)
        assert "x-ratelimit-limit" not in reply.headers
    assert house.ask("GET", "/webhooks/events", api_key="").status == 200


def test_headers(house: House) -> None:
    reply = house.ask("GET", "/me", X_Request_ID="our-id.1")
    assert reply.headers["x-tokportal-request-id"] == "our-id.1"
    assert reply.headers["x-tokportal-api-version"] == "2026-05-25"
    assert reply.headers["x-tokportal-api-stability"] == "stable"
    assert reply.headers["content-type"] == "application/json"
    invented = house.ask("GET", "/me", X_Request_ID="not valid!").headers["x-tokportal-request-id"]
    assert invented.startswith("req_") and len(invented) == 36


def test_a_body_that_is_no_json(house: House) -> None:
    assert house.ask("POST", "/bundles", b"{").code == "VALIDATION_ERROR"
    assert house.ask("POST", "/bundles", b"[]").code == "VALIDATION_ERROR"
    id = house.active()
    assert house.ask("PUT", f"/bundles/{id}/videos/1", b"[]").code == "VALIDATION_ERROR"


def test_the_bucket_runs_on_the_worlds_clock(house: House) -> None:
    now = house.clock.time // 1_000_000
    for used in range(1, 121):
        reply = house.ask("GET", "/me")
        assert reply.headers["x-ratelimit-remaining"] == str(120 - used)
    assert reply.headers["x-ratelimit-reset"] == str(now + 60)
    reply = house.ask("POST", "/bundles", _ORDER)
    assert (reply.status, reply.code) == (429, "RATE_LIMIT_EXCEEDED")
    assert (reply.headers["retry-after"], reply.details) == ("1", {"retry_after_seconds": 1})
    assert _bundles(house) == 0
    house.clock.forward(seconds=0.5)
    assert house.ask("GET", "/me").status == 200
    assert house.ask("GET", "/me").status == 429
    other = "sk_" + "b" * 64
    assert house.ask("GET", "/me", api_key=other).status == 200
    house.clock.forward(hours=1)
    assert house.ask("GET", "/me").headers["x-ratelimit-remaining"] == "119"
    assert (house.world.counters["requests"], house.world.counters["rate_limited"]) == (125, 2)


def test_capacity_for_bundles_is_another_thing() -> None:
    house = _other(cooldown_capacity=3, cooldown_window=600)
    house.ask("POST", "/bundles", _ORDER)
    house.clock.forward(seconds=60)
    bulk = {"platforms": ["tiktok"], "country": "FR", "accounts_count": 3}
    reply = house.ask("POST", "/bundles/bulk", bulk)
    assert (reply.status, reply.code, reply.headers["retry-after"]) == (429, "capacity_cooldown", "540")
    assert _bundles(house) == 1
    assert house.ask("POST", "/bundles/bulk", {**bulk, "accounts_count": 2}, dry="true").status == 201
    assert house.ask("POST", "/bundles/bulk", {**bulk, "accounts_count": 2}).status == 201
    assert house.ask("POST", "/bundles", _ORDER).headers["retry-after"] == "540"
    assert house.ask("GET", "/bundles").status == 200
    house.clock.forward(seconds=540)
    assert house.ask("POST", "/bundles", _ORDER).status == 201
    # What was spent is known from the world, whoever counts.
    again = House(house.world, house.clock)
    assert again.ask("POST", "/bundles", _ORDER).code == "capacity_cooldown"


def test_a_key_is_one_order(house: House) -> None:
    first = house.ask("POST", "/bundles", _ORDER, key="order-1")
    assert "idempotent-replayed" not in first.headers
    again = house.ask("POST", "/bundles", dict(reversed(_ORDER.items())), key="order-1")
    assert (again.status, again.content, again.headers["idempotent-replayed"]) == (201, first.content, "true")
    assert _bundles(house) == 1
    other = house.ask("POST", "/bundles", {**_ORDER, "country": "DE"}, key="order-1")
    assert (other.status, other.code) == (409, "IDEMPOTENCY_KEY_CONFLICT")
    path = f"/bundles/{first.data['bundle_id']}"
    assert house.ask("PATCH", path, _ORDER, key="order-1").code == "IDEMPOTENCY_KEY_CONFLICT"
    assert house.ask("POST", "/bundles", _ORDER, key="order-1", api_key="sk_" + "b" * 64).status == 201
    assert _bundles(house) == 2
    assert [effect.idempotency_key for effect in house.world.effects] == ["order-1", "order-1"]


def test_a_key_is_forgotten_in_time() -> None:
    house = _other(idempotency_retention=60, idempotency_conflict_status=422, idempotency_conflict_code="KEY_TAKEN")
    house.ask("POST", "/bundles", _ORDER, key="order-1")
    reply = house.ask("POST", "/bundles", {**_ORDER, "country": "DE"}, key="order-1")
    assert (reply.status, reply.code) == (422, "KEY_TAKEN")
    house.clock.forward(seconds=60)
    house.ask("POST", "/bundles", _ORDER, key="order-2")
    assert [record.id[-7:] for record in house.world.all(IdempotencyRecord)] == ["order-2"]
    assert house.ask("POST", "/bundles", _ORDER, key="order-1").status == 201
    assert _bundles(house) == 3
    # Which is what a soak must never see.
    assert [len(group) for group in house.world.doubles()] == [2]


@pytest.mark.parametrize("keeps", [False, True])
def test_whether_a_refusal_is_kept_is_a_parameter(keeps: bool) -> None:
    house = _other(idempotency_keeps_errors=keeps)
    id = house.active()
    account = house.account_of(id)
    account.banned = True
    path, body = f"/bundles/{id}/videos/1", house.video()
    assert house.ask("PUT", path, body, key="k").code == "MANAGED_ACCOUNT_TASK_BLOCKED"
    account.banned = False
    assert house.ask("PUT", path, body, key="k").status == (409 if keeps else 200)


def test_a_key_has_a_form(house: House) -> None:
    assert house.ask("POST", "/bundles", _ORDER, key="k" * 256).code == "VALIDATION_ERROR"


@pytest.mark.parametrize(
    "path",
    [
        "/webhooks",
        "/accounts/a/reveal-credentials",
        "/accounts/a/verification-code",
        "/upload/video",
        "/upload/image",
        "/analytics/export/reports",
    ],
)
def test_sensitive_operations_take_no_key(house: House, path: str) -> None:
    reply = house.ask("POST", path, {"url": "https://hooks.example.com"}, key="k")
    assert (reply.status, reply.code) == (400, "IDEMPOTENCY_KEY_NOT_ALLOWED_FOR_SENSITIVE_RESPONSE")
    assert house.world.violations == []


def test_a_dry_run_is_the_real_thing_without_effect(house: House) -> None:
    heard: list[str] = []
    house.world.listen(lambda type, data: heard.append(type))
    house.world.watch(lambda change, row: heard.append(change))
    order = {"bundle_type": "account_and_videos", "platform": "tiktok", "country": "FR", "videos_quantity": 2}
    reply = house.ask("POST", "/bundles", order, dry="true", key="k")
    assert reply.data["bundle_id"].startswith("00000000-00")
    assert reply.json["dry_run"] is True and reply.json["dry_run_notice"]
    money = ("credits_charged", "credits_would_charge", "credits_remaining")
    assert [reply.json[name] for name in money] == [0, 36, 1_000_000]
    assert (_bundles(house), house.world.credits, house.world.effects, heard) == (0, 1_000_000, [], [])
    assert house.ask("POST", "/bundles", {**order, "country": "XX"}, dry="true").code == "COUNTRY_NOT_ENABLED"
    used = house.ask("GET", f"/bundles/{reply.data['bundle_id']}")
    assert (used.status, used.code) == (400, "DRY_RUN_ID_IN_LIVE_REQUEST")
    videos_only = {"bundle_type": "videos_only", "videos_quantity": 1, "account_id": reply.data["account_id"]}
    assert house.ask("POST", "/bundles", videos_only).code == "DRY_RUN_ID_IN_LIVE_REQUEST"
    # The key was not used up, and the ids of the real thing are those it would have had without.
    real = house.ask("POST", "/bundles", order, key="k").data["bundle_id"]
    assert real == House(World(StandingClock()), StandingClock()).ask("POST", "/bundles", order).data["bundle_id"]


def test_dry_runs_of_slots(house: House) -> None:
    id = house.active()
    before = house.ask("GET", f"/bundles/{id}/videos").data
    assert (
        house.ask("POST", f"/bundles/{id}/add-video-slots", {"quantity": 3}, dry="true").json["credits_would_charge"]
        == 6
    )
    house.ask("PUT", f"/bundles/{id}/videos/1", house.video(external_ref="v1", auto_publish=True), dry="true")
    assert house.ask("GET", f"/bundles/{id}/videos").data == before
    assert house.world.live_slots("v1") == []
    house.ask("PUT", f"/bundles/{id}/videos/1", house.video(external_ref="v1"))
    house.ask("POST", f"/bundles/{id}/videos/1/unschedule", dry="true")
    assert [slot.status for slot in house.world.live_slots("v1")] == ["configured"]


def test_a_dry_run_says_what_a_renewal_would_cost(house: House) -> None:
    id = house.active()
    account = house.account_of(id)
    house.clock.forward(days=31)
    reply = house.ask("POST", f"/bundles/{id}/add-video-slots", {"quantity": 1}, dry="true")
    assert reply.json["credits_would_charge"] == 27
    assert house.world.get(Coverage, account.id).recorded_status == "included"


def test_a_refusal_leaves_no_half_effect(house: House) -> None:
    id = house.active()
    house.clock.forward(days=31)
    reply = house.ask("PUT", f"/bundles/{id}/videos/1", house.video(0))
    assert reply.code == "INVALID_DATE"
    assert house.world.get(Coverage, house.account_of(id).id).recorded_status == "included"
    assert house.world.credits == 1_000_000 - 44


class _Always:
    def __init__(self, fault: Fault) -> None:
        self._fault = fault
        self.asked: list[tuple[str, str]] = []

    def on_request(self, method: str, path: str) -> Fault | None:
        self.asked.append((method, path))
        return self._fault


@pytest.mark.parametrize(
    ("kind", "status", "bundles", "complete"),
    [
        ("error", 503, 0, True),
        ("late_error", 503, 1, True),
        ("drop", 200, 1, False),
        ("timeout", 200, 1, False),
        ("slow", 201, 1, True),
    ],
)
def test_faults(
    house: House,
    kind: Literal["error", "drop", "timeout", "late_error", "slow"],
    status: int,
    bundles: int,
    complete: bool,
) -> None:
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    faults = _Always(Fault(kind=kind, seconds=7.0))
    house.world.faults, house.world.sleep = faults, sleep
    reply = house.ask("POST", "/bundles", _ORDER)
    assert (reply.status, reply.complete, _bundles(house)) == (status, complete, bundles)
    assert waited == ([7.0] if kind in ("slow", "timeout") else [])
    assert faults.asked == [("POST", "/bundles")]


def test_what_is_due_happens_before_the_answer(house: House) -> None:
    id = house.active()

    def accept(bundle_id: str) -> None:
        house.world.move_bundle(house.world.get(Bundle, bundle_id), "completed")

    house.world.on("complete", accept)
    house.world.at(house.world.now() + 1_000_000, "complete", bundle_id=id)
    assert house.ask("GET", f"/bundles/{id}").data["status"] == "accepted"
    house.clock.forward(seconds=1)
    assert house.ask("GET", f"/bundles/{id}").data["status"] == "completed"
    assert list(house.world.all(Due)) == []
