"""What is read, when, on whose account, and how it goes on after trouble."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator.commands.executor import TryAgain
from orchestrator.database.tables import bundles, events, marks, videos
from orchestrator.dialects import article
from orchestrator.dialects.public import EVENTS
from orchestrator.domain.times import iso
from orchestrator.tokportal.client import Refused
from tests.reconcile.fake import NOON, Desk, bundle, slot

OURS = "vid_" + "a" * 32


def refusal(status: int = 403) -> Refused:
    return Refused("NOT_YOURS", "no", status, {}, NOON)


def known(desk: Desk, name: str, state: str, **more: Any) -> None:
    """The read model has this bundle."""
    values = {
        "bundle_id": name,
        "group": "default",
        "state": state,
        "warmed": False,
        "postable": False,
        "holds": "[]",
        "flags": "[]",
        "first_seen": iso(NOON),
        "memo": b"",
        **more,
    }
    with desk.database.write() as connection:
        connection.execute(bundles.insert().values(values))


def wanted(desk: Desk, name: str, bundle_id: str, day: datetime, state: str = "scheduled") -> None:
    """The read model has this video of ours."""
    values = {
        "video_id": name,
        "bundle_id": bundle_id,
        "state": state,
        "flags": "[]",
        "attempts": "[]",
        "memo": b"",
        "campaign_id": "cmp_1",
        "target_day": day.date().isoformat(),
    }
    with desk.database.write() as connection:
        connection.execute(videos.insert().values(values))


def settled(desk: Desk) -> None:
    """Everything that exists has been seen, and nothing is due for the moment."""
    desk.run()
    desk.reads.asked.clear()


# Discovery


def test_everything_that_exists_is_read_once_page_by_page(desk: Desk) -> None:
    desk.reads.of_bundles = [bundle(f"b{number}") for number in range(5)]
    desk.reads.of_slots = {"b0": [slot(1, "published", external_ref=OURS), slot(2)]}
    desk.reads.of_sessions = {"acc_b0": [{"status": "completed", "started_at": iso(NOON - timedelta(days=9))}]}
    desk.reads.of_accounts = [{"id": "acc_b0", "username": "ann", "platform": "tiktok", "country": "US"}]
    desk.run()
    counts = desk.reads.counts()
    assert [counts[name] for name in ("bundles", "bundle", "warming_sessions", "slots")] == [3, 0, 5, 5]
    assert {one[0] for one in desk.reads.asked if one[1] in ("bundles", "warming_sessions", "slots")} == {"ordinary"}
    first = desk.told("GET /bundles/{id}")[0]
    assert first["discovery"] is True
    assert [fact["fact"] for fact in first["facts"]] == [
        "BundleMentioned",
        "BundleCreated",
        "WarmingStarted",
        "WarmingCompleted",
        "BundleReady",
        "BundlePublished",
    ]
    (slots,) = [body for body in desk.told("GET /bundles/{id}/videos") if body["facts"]]
    assert slots["slots"] == [{"bundle_id": "b0", "total": 2, "free": 1}]
    assert slots["facts"][0]["video"] == {"external_ref": OURS, "vendor_id": "tp_1", "position": 1}
    assert desk.facts("GET /accounts") == [("BundleMentioned", None)]


def test_a_row_that_says_too_little_has_the_bundle_itself_read(desk: Desk) -> None:
    full = bundle("b1")
    desk.reads.of_bundles = [full]
    listed = {name: full[name] for name in ("id", "bundle_id", "status")}
    reads = desk.reads.bundles
    desk.reads.bundles = lambda *a, **k: _with(reads(*a, **k), listed)
    desk.run()
    assert desk.reads.counts()["bundle"] == 1
    assert ("BundleReady", "b1") in desk.facts()


def _with(page: Any, row: dict[str, Any]) -> Any:
    return replace(page, rows=(row,))


def test_discovery_goes_on_after_a_restart_where_it_was(desk: Desk) -> None:
    desk.reads.of_bundles = [bundle(f"b{number}") for number in range(4)]
    for _ in range(9):
        desk.reconciler.step()
    desk.reconciler.close()
    desk.start()
    desk.run()
    counts = desk.reads.counts()
    assert [counts[name] for name in ("bundles", "warming_sessions", "slots")] == [2, 4, 4]
    desk.clock.wait(days=30)
    desk.reads.asked.clear()
    desk.start().step()
    desk.run()
    assert [one for one in desk.reads.asked if one[:2] == ("ordinary", "bundles")] == []


def test_routine_waits_until_everything_has_been_seen(desk: Desk) -> None:
    desk.reads.of_bundles = [bundle("b1")]
    desk.reads.shut["warming_sessions"] = TryAgain("later", after=60.0)
    desk.run()
    assert {"bans", "accounts"}.isdisjoint(desk.reads.counts())
    desk.reads.shut.clear()
    desk.clock.wait(minutes=2)
    desk.run()
    assert {"bans", "accounts"} <= set(desk.reads.counts())


# Trouble


def test_a_quota_that_is_used_up_is_asked_again_only_when_it_said(desk: Desk) -> None:
    settled(desk)
    desk.clock.wait(minutes=11)
    desk.reads.shut["sweep"] = TryAgain("the quota is used up", after=90.0)
    assert desk.run() == 3, "two of which look into the database only, and one makes a list"
    first = len(desk.reads.asked)
    assert first == 1
    for _ in range(20):
        assert desk.reconciler.step() == 0
    assert len(desk.reads.asked) == first
    desk.reads.shut.clear()
    desk.clock.wait(seconds=91)
    desk.run()
    assert desk.reads.counts()["bans"] >= 1


def test_recovery_goes_on_while_routine_has_to_wait(desk: Desk) -> None:
    desk.reads.of_bundles = [bundle("b1")]
    settled(desk)
    known(desk, "b1", "completed")
    wanted(desk, OURS, "b1", NOON - timedelta(days=1))
    desk.reads.shut["sweep"] = TryAgain("later", after=900.0)
    desk.clock.wait(minutes=11)
    desk.run()
    assert [one[:3] for one in desk.reads.asked if one[0] == "recovery"] == [
        ("recovery", "bundle", "b1"),
        ("recovery", "slots", "b1"),
    ]


@pytest.mark.parametrize(
    "name", ["bundles", "bundle", "warming_sessions", "slots", "accounts", "bans", "events", "credits", "endpoints"]
)
def test_what_tokportal_refuses_keeps_nothing_else_waiting(desk: Desk, name: str) -> None:
    desk.reads.of_bundles = [bundle("b1", account_status=None), bundle("b2")]
    del desk.reads.of_bundles[0]["account_status"]
    desk.reads.of_bans = [_ban("ban_1", "b2")]
    desk.reads.shut[name] = refusal()
    desk.run()
    expected = {"bundles", "events", "credits", "endpoints"}
    assert expected <= set(desk.reads.counts())


# Bans


def _ban(name: str, bundle_id: str, **more: Any) -> dict[str, Any]:
    times = {"reported_at": iso(NOON - timedelta(hours=5)), "decided_at": iso(NOON - timedelta(hours=1))}
    row = {"id": name, "account_id": f"acc_{bundle_id}", "bundle_id": bundle_id, "status": "no_appeal_banned"}
    return {**row, **times, "updated_at": iso(NOON - timedelta(hours=1)), **more}


def test_bans_are_read_since_the_newest_that_is_known_with_some_overlap(desk: Desk) -> None:
    desk.reads.of_bundles = [bundle("b1"), bundle("b2")]
    desk.reads.of_bans = [_ban("ban_1", "b1")]
    settled(desk)
    (body,) = desk.told("GET /account-bans")
    assert [fact["fact"] for fact in body["facts"]][-1] == "BundleBanned"
    assert body["facts"][-1]["occurred_at"] == iso(NOON - timedelta(hours=1))
    desk.reads.of_bans.append(_ban("ban_2", "b2", updated_at=iso(NOON + timedelta(minutes=5))))
    desk.clock.wait(minutes=11)
    desk.run()
    (asked,) = [one for one in desk.reads.asked if one[1] == "bans"]
    assert asked == ("sweep", "bans", 1, NOON - timedelta(hours=1, minutes=10))
    assert ("recovery", "bundle", "b2") in desk.reads.asked
    assert [fact["bundle_id"] for fact in desk.told("GET /account-bans")[-1]["facts"]][-1] == "b2"
    assert len(desk.told("GET /account-bans")) == 2, "the first is read again, and is no news"


def test_a_ban_that_goes_on_is_told_again(desk: Desk) -> None:
    desk.reads.of_bundles = [bundle("b1")]
    desk.reads.of_bans = [_ban("ban_1", "b1", status="appeal_pending", decided_at=None)]
    settled(desk)
    desk.reads.of_bans = [_ban("ban_1", "b1", status="appeal_accepted", updated_at=iso(NOON + timedelta(minutes=5)))]
    desk.clock.wait(minutes=11)
    desk.run()
    bodies = desk.told("GET /account-bans")
    assert [body["facts"][-1]["fact"] for body in bodies] == ["AppealSubmitted", "AppealResolved"]
    assert bodies[-1]["facts"][-1]["data"]["outcome"] == "accepted"


def test_the_listing_of_a_bundle_is_not_taken_for_its_account(desk: Desk) -> None:
    desk.reads.of_bundles = [bundle("b1")]
    desk.reads.of_bans = [_ban("ban_1", "b1", account_id="lst_b1")]
    desk.run()
    (body,) = desk.told("GET /account-bans")
    assert body["facts"][-1]["account"] == "acc_b1"


# Deliveries


def _delivery(name: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "event_id": f"evt_{name}", "event_type": "video.finalized", "success": False, **more}


def retried(desk: Desk) -> list[str]:
    return [one[3] for one in desk.reads.asked if one[1] == "retry_delivery"]


def test_what_could_not_be_delivered_is_asked_for_again_and_less_and_less(desk: Desk) -> None:
    desk.reads.of_endpoints = [
        {"id": "wh_1", "url": "https://ours.example.com/webhooks/tokportal"},
        {"id": "wh_2", "url": "https://theirs.example.com/hooks"},
        {"id": "wh_3", "url": "https://ours.example.com/webhooks/tokportal/videos"},
    ]
    desk.reads.of_deliveries = {"wh_1": [_delivery("d1"), _delivery("d2"), _delivery("d3")], "wh_2": [_delivery("d9")]}
    desk.run()
    assert retried(desk) == ["d1", "d2", "d3"]
    assert len(set(desk.reads.keys)) == 3
    desk.reads.asked.clear()
    for _ in range(5):
        desk.clock.wait(minutes=5)
        desk.run()
    assert retried(desk) == []
    desk.clock.wait(minutes=10)
    desk.run()
    assert retried(desk) == ["d1", "d2", "d3"]
    assert len(set(desk.reads.keys)) == 6
    for _ in range(400):
        desk.clock.wait(hours=1)
        desk.run()
    assert len(retried(desk)) == 4 * 3
    assert set(desk.sweeps()["deliveries"]["tried"]) == {"d1", "d2", "d3"}
    desk.reads.of_deliveries.clear()
    desk.clock.wait(hours=1)
    desk.run()
    assert desk.sweeps()["deliveries"]["tried"] == {}


def test_what_has_arrived_meanwhile_is_left_alone(desk: Desk) -> None:
    desk.reads.of_endpoints = [{"id": "wh_1", "url": "https://ours.example.com/webhooks/tokportal"}]
    desk.reads.of_deliveries = {"wh_1": [_delivery("d1"), _delivery("d2", event_id=None)]}
    values = {"seq": 1, "applied_seq": 1, "status": "applied", "first_position": 0, "events": 0, "claim": 0}
    with desk.database.write() as connection:
        connection.execute(marks.insert().values({**values, "dialect": "2026-05-25", "event_id": "evt_d1"}))
    desk.run()
    assert retried(desk) == ["d2"]


def test_only_the_endpoints_of_this_service_are_looked_at_where_its_address_is_known(desk: Desk) -> None:
    desk.reads.of_endpoints = [
        {"id": "wh_1", "url": "https://ours.example.com/webhooks/tokportal"},
        {"id": "wh_2", "url": "https://staging.example.com/webhooks/tokportal"},
    ]
    desk.reads.of_deliveries = {"wh_1": [_delivery("d1")], "wh_2": [_delivery("d2")]}
    desk.reconciler.close()
    desk.start(public_url="https://ours.example.com/")
    desk.run()
    assert retried(desk) == ["d1"]


def test_a_delivery_that_tokportal_does_not_send_again_is_passed_over(desk: Desk) -> None:
    desk.reads.of_endpoints = [{"id": "wh_1", "url": "https://ours.example.com/webhooks/tokportal"}]
    desk.reads.of_deliveries = {"wh_1": [_delivery("d1"), _delivery("d2")]}
    desk.reads.shut["retry_delivery"] = refusal(404)
    desk.run()
    assert retried(desk) == ["d1", "d2"]


# Rounds


def test_routine_reads_bundles_and_looks_closely_at_what_nobody_knew(desk: Desk) -> None:
    desk.reads.of_bundles = [bundle("b1"), bundle("b2", status="cancelled")]
    settled(desk)
    known(desk, "b1", "completed")
    known(desk, "b2", "completed")
    desk.reads.of_bundles.append(bundle("b3"))
    desk.clock.wait(hours=7)
    desk.run()
    assert [one[:2] for one in desk.reads.asked if one[1] in ("bundles", "slots")] == [
        ("sweep", "bundles"),
        ("sweep", "bundles"),
        ("sweep", "slots"),
    ]
    assert ("BundleCancelled", "b2") in desk.facts("GET /bundles")
    assert ("BundleReady", "b3") in desk.facts("GET /bundles/{id}")
    assert "BundleReady" not in [name for name, _ in desk.facts("GET /bundles")], "nobody asked for its warming"


def test_slots_of_bundles_with_something_under_way_are_read_in_turn(desk: Desk) -> None:
    settled(desk)
    for number in range(3):
        known(desk, f"b{number}", "completed")
        wanted(desk, f"{OURS}{number}", f"b{number}", NOON + timedelta(days=9))
    wanted(desk, f"{OURS}9", "b9", NOON, state="posted")
    desk.clock.wait(hours=7)
    desk.run()
    assert [one for one in desk.reads.asked if one[1] == "slots"] == [
        ("sweep", "slots", "b0"),
        ("sweep", "slots", "b1"),
        ("sweep", "slots", "b2"),
    ]
    desk.reads.asked.clear()
    desk.clock.wait(hours=3)
    desk.run()
    assert desk.reads.counts()["slots"] == 0


# Overdue


def test_the_longest_overdue_are_looked_at_first_and_not_at_every_look(desk: Desk) -> None:
    desk.reads.of_bundles = [bundle("b1"), bundle("b2"), bundle("b3")]
    settled(desk)
    for name in ("b1", "b2", "b3"):
        known(desk, name, "completed")
    wanted(desk, f"{OURS}1", "b1", NOON)
    wanted(desk, f"{OURS}2", "b2", NOON - timedelta(days=3))
    wanted(desk, f"{OURS}3", "b3", NOON + timedelta(days=3))
    desk.clock.wait(minutes=11)
    desk.run()
    assert [one[2] for one in desk.reads.asked if one[:2] == ("recovery", "slots")] == ["b2", "b1"]
    desk.reads.asked.clear()
    desk.clock.wait(hours=2)
    desk.run()
    assert [one for one in desk.reads.asked if one[0] == "recovery"] == []
    desk.clock.wait(hours=1)
    desk.run()
    assert [one[2] for one in desk.reads.asked if one[:2] == ("recovery", "slots")] == ["b2", "b1"]


def test_accounts_that_are_created_or_warmed_for_long_are_looked_at(desk: Desk) -> None:
    desk.reads.of_bundles = [bundle("b1"), bundle("b2")]
    settled(desk)
    known(desk, "b1", "warming", state_since=iso(NOON - timedelta(days=4)))
    known(desk, "b2", "warming", state_since=iso(NOON - timedelta(days=2)))
    desk.clock.wait(minutes=11)
    desk.run()
    assert [one[1:] for one in desk.reads.asked if one[0] == "recovery"] == [
        ("bundle", "b1"),
        ("warming_sessions", "acc_b1"),
    ]


def test_slots_are_read_again_when_coverage_was_reactivated(desk: Desk) -> None:
    settled(desk)
    known(desk, "b1", "completed", saved_account_id="acc_1")
    known(desk, "b2", "completed", saved_account_id="acc_1")
    known(desk, "b3", "completed", saved_account_id="acc_3")
    with desk.database.write() as connection:
        head = connection.execute(sa.select(sa.func.count()).select_from(events)).scalar_one()
        for number, subject in enumerate(("account:acc_1", "bundle:b3"), start=head + 1):
            row = {"notification_id": number, "originator_id": subject, "originator_version": 1, "state": b"{}"}
            connection.execute(events.insert().values(topic="CoverageReactivated", **row))
    desk.clock.wait(minutes=2)
    desk.run()
    assert sorted(one[2] for one in desk.reads.asked if one[:2] == ("recovery", "slots")) == ["b1", "b2", "b3"]


# Daily


def test_a_changed_contract_is_told_when_it_changes(desk: Desk) -> None:
    desk.reads.of_events = [{"type": name} for name in EVENTS]
    settled(desk)
    assert desk.told("GET /webhooks/events") == []
    desk.reads.of_events = [*desk.reads.of_events[1:], {"type": "video.deleted"}]
    for _ in range(3):
        desk.clock.wait(days=1, minutes=1)
        desk.run()
    (body,) = desk.told("GET /webhooks/events")
    assert body["contract"] == {"unknown": ["video.deleted"], "missing": [next(iter(EVENTS))]}
    desk.reads.of_events = [{"type": name} for name in EVENTS]
    desk.clock.wait(days=1, minutes=1)
    desk.run()
    assert desk.told("GET /webhooks/events")[-1]["contract"] == {"unknown": [], "missing": []}


def test_the_contract_of_the_other_dialect_is_known_too(desk: Desk) -> None:
    """Whichever of the two TokPortal lists, the types of the other are not missing."""
    desk.reads.of_events = [{"type": name} for name in article.EVENTS]
    settled(desk)
    assert desk.told("GET /webhooks/events") == []

    desk.reads.of_events.append({"type": "video.deleted"})
    desk.clock.wait(days=1, minutes=1)
    desk.run()
    (body,) = desk.told("GET /webhooks/events")
    assert body["contract"] == {"unknown": ["video.deleted"], "missing": []}


def test_credits_that_expire_soon_are_told(desk: Desk) -> None:
    desk.reads.balance = {"total_credits": 90, "expiring_within_7_days": 40}
    desk.run()
    (body,) = desk.told("GET /credits/balance")
    assert body["credits"] == {"total": 90, "expiring": 40}


def test_the_same_reading_is_one_message_and_a_step_without_work_asks_nothing(desk: Desk) -> None:
    desk.reads.of_bundles = [bundle("b1")]
    settled(desk)
    told = len(desk.told())
    for _ in range(10):
        assert desk.reconciler.step() == 0
    assert desk.reads.asked == []
    assert len(desk.told()) == told
