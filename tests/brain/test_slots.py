"""Slots: how many a bundle has, what that means for placing, and more of them where videos wait for nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.api.queries.bundles import bundle_item
from orchestrator.api.queries.capacity import spare
from orchestrator.domain.decisions import SlotsCounted, SlotsOrdered, VideoRerouted
from projections import Follower
from tests.brain.stage import POLICIES, Make, Stage, campaign

ONLY_B1 = "[{country: US, platform: tiktok, bundles: [b1]}]"
FREE = """
defaults:
  warming: {terms: [a1, b2, c3]}
  budget: {credits_per_day: 0, approve_above: 0}
"""


def count(stage: Stage, bundle: str, total: int | None, free: int, *, then: str | None = None) -> None:
    """A video is handed over, and TokPortal says with its answer how many slots there are afterwards."""
    (command,) = stage.commands(kind="configure_video", bundle_id=bundle, status="pending")[:1]
    stage._tell("dispatch", {"command_ids": [command["command_id"]]})
    answer = {"slots": {"bundle_id": bundle, "total": total, "free": free}}
    stage.result(command["command_id"], then or "done", **answer)


def refuse(stage: Stage, **data: Any) -> None:
    """The first video that is handed over is refused for want of a slot: TokPortal counted."""
    command, *_ = stage.commands(kind="configure_video", status="pending")
    stage._tell("dispatch", {"command_ids": [command["command_id"]]})
    data = {"slots": {"bundle_id": command["bundle_id"], "total": 3, "free": 0}} | data
    stage.result(command["command_id"], "refused", code="NO_FREE_SLOT", **data)


def counts(stage: Stage) -> list[tuple[int | None, int]]:
    return [(event.data["total"], event.data["free"]) for event in stage.events(SlotsCounted)]


def start(stage: Stage, name: str, number: int = 1, targets: str = ONLY_B1) -> list[str]:
    refs = [f"{name}-{n}" for n in range(number)]
    return stage.video_ids(stage.campaign(campaign(name, refs=refs, targets=targets)))


def orders(stage: Stage) -> list[tuple[str, int, int, str]]:
    rows = stage.commands(kind="add_slots")
    return [(row["bundle_id"], row["body"]["quantity"], row["price"], row["status"]) for row in rows]


# What is known.


def test_what_tokportal_counted_is_known_and_is_news_once(make: Make) -> None:
    stage = make()
    stage.warm("b1")
    start(stage, "one", 3)
    for free in (4, 3, 3):
        stage.wait(seconds=1)
        count(stage, "b1", 6, free)

    # The third answer counts the third video, which is news although the number is the same.
    assert counts(stage) == [(6, 4), (6, 3), (6, 3)]
    slots = stage.bundle("b1").slots
    assert slots is not None
    assert (slots.total, slots.free, slots.at) == (6, 3, stage.now)


def test_what_changes_nothing_is_no_news(make: Make) -> None:
    stage = make()
    stage.warm("b1")
    start(stage, "one", 1)
    count(stage, "b1", 6, 4)
    (video,) = start(stage, "two", 1)
    stage.wait(minutes=1)
    stage.order({"command": "video.cancel", "video_id": video})
    start(stage, "three", 1)
    count(stage, "b1", 6, 4, then="again")

    assert counts(stage) == [(6, 4)]


def test_what_is_planned_uses_a_slot_too(make: Make) -> None:
    stage = make()
    stage.warm("b1")
    start(stage, "one", 1)
    count(stage, "b1", 3, 2)
    first, second, third = start(stage, "two", 3)

    assert [stage.video(video).state for video in (first, second, third)] == ["planned", "planned", "waiting"]
    assert stage.video(third).reason == "b1 does not qualify: no free slot"


def test_what_was_taken_since_the_count_uses_a_slot_and_one_that_was_counted_does_not(make: Make) -> None:
    stage = make()
    stage.warm("b1")
    start(stage, "one", 3)
    count(stage, "b1", 5, 4)  # The first is counted; the others have still to get theirs.
    stage.wait(minutes=1)
    stage.send_all()  # TokPortal takes them, and does not count.
    videos = start(stage, "two", 3)

    assert [stage.video(video).state for video in videos] == ["planned", "planned", "waiting"]


def test_unknown_slots_count_as_free(make: Make) -> None:
    stage = make()
    stage.warm("b1")

    assert {stage.video(video).state for video in start(stage, "one", 30)} == {"planned"}


def test_a_video_that_leaves_gives_its_slot_to_one_that_waits(make: Make) -> None:
    stage = make()
    stage.warm("b1")
    start(stage, "one", 1)
    count(stage, "b1", 2, 1)
    first, second = start(stage, "two", 2)
    assert stage.video(second).state == "waiting"
    stage.order({"command": "video.cancel", "video_id": first})

    assert stage.video(second).bundle_id == "b1"


def test_a_bundle_without_a_slot_is_no_spare_capacity(make: Make) -> None:
    stage = make()
    stage.warm("b1", "b2")
    start(stage, "one", 1)
    count(stage, "b1", 1, 0)
    follower = Follower(stage.database)
    while follower.step():
        pass
    with stage.database.read() as connection:
        days = spare(connection, [("US", "tiktok")], 1_000_000, stage.now)["US", "tiktok"]
        item = bundle_item(connection, "b1")

    assert set(days.values()) == {3}  # Of b2 alone.
    assert item is not None
    assert item["slots"] == {"total": 1, "free": 0}


# No free slot.


def test_a_video_without_a_slot_moves_to_an_account_of_its_market_that_has_one(make: Make) -> None:
    stage = make()
    stage.warm("b1", "b2")
    (video,) = start(stage, "one", 1)
    refuse(stage)

    assert stage.video(video).bundle_id == "b2"
    (moved,) = stage.events(VideoRerouted)
    assert moved.reason == "b1 has no free slot; b2 takes it on 2026-11-24: least loaded"
    assert counts(stage) == [(3, 0)]
    assert orders(stage) == []


def test_what_else_was_planned_there_moves_too_with_no_refusal_of_its_own(make: Make) -> None:
    stage = make()
    stage.warm("b1", "b2")
    videos = start(stage, "one", 3)
    refuse(stage, slots={"bundle_id": "b1", "total": 3, "free": 0})

    assert {stage.video(video).bundle_id for video in videos} == {"b2"}
    assert counts(stage) == [(3, 0)]


def test_where_no_other_account_has_room_slots_are_bought_and_the_videos_stay(make: Make) -> None:
    stage = make()
    stage.warm("b1")
    videos = start(stage, "one", 3)
    refuse(stage, slots={"bundle_id": "b1", "total": 3, "free": 0})

    assert {stage.video(video).state for video in videos} == {"planned"}
    assert {(row["status"], row["reason"]) for row in stage.commands(kind="configure_video", status="held")} == {
        ("held", "b1 has no free slot")
    }
    (ordered,) = stage.events(SlotsOrdered)
    assert ordered.reason == "3 videos wait for a slot on b1, and no other account has room"
    assert orders(stage) == [("b1", 3, 6, "pending")]
    (command,) = stage.dispatch()
    assert command["body"] == {"bundle_id": "b1", "quantity": 3, "had": 3}
    stage.result(command["command_id"], slots={"bundle_id": "b1", "total": 6, "free": 3})

    assert len(stage.commands(kind="configure_video", status="pending")) == 3
    stage.send_all()
    assert {stage.video(video).state for video in videos} == {"scheduled"}


def test_where_nobody_says_how_many_were_added_they_are_those_that_were_ordered(make: Make) -> None:
    stage = make()
    stage.warm("b1")
    (video,) = start(stage, "one", 1)
    refuse(stage, slots={"bundle_id": "b1", "total": 3, "free": 0})
    stage.send_all()

    assert counts(stage) == [(3, 0), (4, 1)]
    stage.send_all()
    assert stage.video(video).state == "scheduled"


def test_a_video_that_was_never_placed_has_slots_bought_too(make: Make) -> None:
    stage = make()
    stage.warm("b1")
    start(stage, "one", 1)
    count(stage, "b1", 1, 0)
    videos = start(stage, "two", 12)

    assert {stage.video(video).state for video in videos} == {"waiting"}
    assert orders(stage) == [("b1", 10, 20, "pending")]
    stage.send_all()
    assert [stage.video(video).state for video in videos].count("planned") == 10


def test_at_most_one_order_is_under_way_and_trouble_is_not_repeated_at_once(make: Make) -> None:
    stage = make()
    stage.warm("b1")
    (video,) = start(stage, "one", 1)
    refuse(stage)
    start(stage, "two", 2)
    assert len(orders(stage)) == 1
    (command,) = stage.dispatch()
    stage.result(command["command_id"], "refused", code="BUNDLE_PRICING_CHANGED")
    start(stage, "three", 2)
    assert [status for *_, status in orders(stage)] == ["dead"]

    stage.wait(days=2)
    assert [status for *_, status in orders(stage)] == ["dead", "pending"]
    assert stage.video(video).state == "planned"


def test_slots_beyond_the_budget_wait_for_an_admin(make: Make) -> None:
    stage = make(policies=FREE)
    stage.warm("b1")
    (video,) = start(stage, "one", 1)
    refuse(stage)
    (command,) = stage.commands(kind="add_slots")

    why = "an admin's approval: about 2 credits, and the policy spends 0 without asking"
    assert (command["status"], command["reason"]) == ("held", why)
    assert "budget" in stage.alerts()
    stage.order({"command": "command.approve", "command_id": command["command_id"]})
    stage.send_all()
    stage.send_all()
    assert stage.video(video).state == "scheduled"


def test_slots_that_nobody_waits_for_any_more_are_not_bought(make: Make) -> None:
    stage = make(policies=FREE)
    stage.warm("b1")
    (video,) = start(stage, "one", 1)
    refuse(stage)
    (command,) = stage.commands(kind="add_slots")
    stage.warm("b2")
    assert stage.video(video).bundle_id == "b2"
    stage.order({"command": "command.approve", "command_id": command["command_id"]})

    assert orders(stage) == [("b1", 1, 2, "discarded")]


def test_what_waits_for_a_slot_longer_than_the_policy_allows_is_given_up(make: Make) -> None:
    stage = make(policies=FREE)
    stage.warm("b1")
    (video,) = start(stage, "one", 1)
    refuse(stage)
    stage.wait(days=9)

    view = stage.video(video)
    assert (view.state, view.reason) == ("abandoned", "its deadline has passed: b1 has no free slot")


@pytest.mark.parametrize("outcome", ["refused", "again", "unknown"])
def test_only_slots_that_were_not_bought_cost_nothing(make: Make, outcome: str) -> None:
    stage = make(policies=POLICIES.replace("credits_per_day: 1000", "credits_per_day: 2"))
    stage.warm("b1")
    stage.warm("b2", country="FR")
    start(stage, "one", 1)
    start(stage, "two", 1, "[{country: FR, platform: tiktok, bundles: [b2]}]")
    for command in stage.dispatch():
        slots = {"bundle_id": command["bundle_id"], "total": 1, "free": 0}
        stage.result(command["command_id"], "refused", code="NO_FREE_SLOT", slots=slots)
    first, second = stage.commands(kind="add_slots")
    stage._tell("dispatch", {"command_ids": [first["command_id"], second["command_id"]]})
    (second,) = stage.commands(command_id=second["command_id"])
    assert second["status"] == "held"
    stage.result(first["command_id"], outcome, code=None)
    stage.order({"command": "service.pause"})
    stage.order({"command": "service.resume"})

    (second,) = stage.commands(command_id=second["command_id"])
    assert second["status"] == ("held" if outcome == "unknown" else "pending")


def test_no_slots_are_bought_where_they_would_not_help(make: Make) -> None:
    stage = make()
    stage.warm("b1")
    (video,) = start(stage, "one", 1)
    details = {"current_status": "pending_setup"}
    slots = {"bundle_id": "b1", "total": 5, "free": 4}
    (command,) = stage.dispatch()
    stage.result(command["command_id"], "refused", code="BUNDLE_INVALID_STATUS", details=details, slots=slots)

    assert orders(stage) == []
    (_, again) = stage.commands(kind="configure_video")
    assert (again["status"], again["reason"]) == ("held", "b1 takes no videos now: BUNDLE_INVALID_STATUS")
    # The next count says that it takes some again.
    stage.wait(minutes=1)
    found = {"source": "GET /bundles/b1/videos", "asked_at": stage.now.isoformat(), "facts": [], "slots": [slots]}
    stage._tell("found", found)
    stage.send_all()
    assert stage.video(video).state == "scheduled"


def test_without_a_count_nobody_could_tell_whether_slots_were_bought(make: Make) -> None:
    stage = make()
    stage.warm("b1")
    start(stage, "one", 1)
    refuse(stage, slots=None)

    assert counts(stage) == [(None, 0)]
    assert orders(stage) == []


# What it costs.


def test_a_price_of_tokportals_own_is_judged_anew(make: Make) -> None:
    stage = make(policies=POLICIES.replace("approve_above: 1000", "approve_above: 5"))
    stage.warm("b1")
    (video,) = start(stage, "one", 1)
    refuse(stage)
    (command,) = stage.dispatch()
    stage.result(command["command_id"], "again", code="PRICE", price=7)

    (command,) = stage.commands(kind="add_slots")
    why = "an admin's approval: about 7 credits, and the policy spends 5 without asking"
    assert (command["price"], command["status"], command["reason"]) == (7, "held", why)
    stage.order({"command": "command.approve", "command_id": command["command_id"]})
    stage.send_all()
    stage.send_all()
    assert stage.video(video).state == "scheduled"


def test_what_was_approved_is_no_more_than_was_shown(make: Make) -> None:
    stage = make(policies=FREE)
    stage.warm("b1")
    start(stage, "one", 1)
    refuse(stage)
    (command,) = stage.commands(kind="add_slots")
    stage.order({"command": "command.approve", "command_id": command["command_id"]})
    stage.dispatch()
    stage.result(command["command_id"], "again", code="PRICE", price=40)

    assert orders(stage) == [("b1", 1, 40, "held")]


def test_a_price_within_the_budget_is_sent(make: Make) -> None:
    stage = make()
    stage.article("bundle.ready", "b1")
    (command,) = stage.dispatch()
    stage.result(command["command_id"], "again", code="PRICE", price=21)

    (command,) = stage.dispatch()
    assert (command["kind"], command["price"]) == ("start_warming", 21)
    # By whichever way it is judged again, the price that counts is TokPortal's.
    stage.result(command["command_id"], "again")
    stage.policies(POLICIES.replace("approve_above: 1000", "approve_above: 20"))
    (command,) = stage.commands(kind="start_warming")
    assert command["status"] == "held"


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ({"started": "already"}, "pending"),
        ({"started": "terms"}, "pending"),
        ({"credits_charged": 0}, "pending"),
        ({"credits_charged": 15}, "held"),
        ({"started": "rewarmed"}, "held"),
        ({}, "held"),
    ],
)
def test_what_was_really_charged_is_what_was_spent(make: Make, said: dict[str, Any], status: str) -> None:
    stage = make(policies=POLICIES.replace("credits_per_day: 1000", "credits_per_day: 15"))
    stage.article("bundle.ready", "b1")
    (command,) = stage.dispatch()
    stage.result(command["command_id"], **said)
    stage.article("bundle.ready", "b2")

    (second,) = stage.commands(kind="start_warming", bundle_id="b2")
    assert second["status"] == status
