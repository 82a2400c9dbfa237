"""Accounts warm up by themselves, as the policy says, and people are asked where that does not work."""

from __future__ import annotations

from datetime import timedelta

from orchestrator.domain.decisions import WarmingRequested
from tests.brain.stage import POLICIES, Make


def test_a_new_account_is_to_be_warmed_and_that_waits_until_it_is_ready(make: Make) -> None:
    stage = make()
    stage.article("bundle.created", "b1")
    assert stage.decisions() == [("warm", "the account is created")]
    (command,) = stage.commands(kind="start_warming")
    assert (command["status"], command["reason"]) == ("held", "TokPortal can warm the account once it is ready")
    assert command["body"]["terms"] == ["a1", "b2", "c3"]
    assert command["price"] == 15

    stage.article("bundle.ready", "b1")
    (command,) = stage.commands(kind="start_warming")
    assert command["status"] == "pending"
    assert len(stage.decisions()) == 1


def test_with_start_ready_nothing_is_asked_for_before(make: Make) -> None:
    stage = make(policies="defaults: {warming: {start: ready, terms: [a1, b2, c3]}}")
    stage.article("bundle.created", "b1")
    assert stage.decisions() == []
    stage.article("bundle.ready", "b1")
    assert stage.decisions() == [("warm", "the account is ready")]


def test_what_costs_more_than_the_budget_waits_for_an_admin(make: Make) -> None:
    stage = make(policies="defaults: {warming: {terms: [a1, b2, c3]}}")
    stage.article("bundle.created", "b1")
    stage.article("bundle.ready", "b1")
    (command,) = stage.commands(kind="start_warming")
    assert command["reason"] == "an admin's approval: about 15 credits, and the policy spends 0 without asking"
    assert stage.order({"command": "command.approve", "command_id": command["command_id"]}) == ("applied", None)
    assert stage.commands(kind="start_warming")[0]["status"] == "pending"


def test_a_failed_warming_is_started_again_and_then_people_are_asked(make: Make) -> None:
    stage = make()
    for event in ("created", "ready", "warming_started"):
        stage.article(f"bundle.{event}", "b1", at=stage.now)
        stage.wait(minutes=1)
    stage.article("bundle.warming_failed", "b1", code="shadowban", reason="no reach")
    assert stage.decisions()[-1] == ("warm", "warming failed: no reach; restart 1 of 1")
    stage.wait(minutes=1)
    stage.article("bundle.warming_failed", "b1", reason="no reach again")
    assert stage.decisions()[-1] == ("review", "warming failed: no reach again, after 1 restart")
    assert "needs_review" in stage.bundle("b1").holds
    assert "needs_review" in stage.alerts()

    assert stage.order({"command": "bundle.reviewed", "bundle_id": "b1", "reason": "looks well"}) == ("applied", None)
    assert stage.bundle("b1").holds == ()
    assert len(stage.decisions()) == 3


def test_one_failure_is_answered_once_however_often_it_is_told(make: Make) -> None:
    stage = make()
    stage.article("bundle.created", "b1")
    stage.wait(minutes=1)
    stage.article("bundle.warming_failed", "b1", event_id="evt_failed")
    for _ in range(3):
        stage.article("bundle.warming_failed", "b1", event_id="evt_failed")
    stage.article("bundle.ready", "b1", at=stage.now - timedelta(hours=1))
    assert [kind for kind, _ in stage.decisions()] == ["warm", "warm"]


def test_silence_while_an_account_warms_is_noticed(make: Make) -> None:
    stage = make()
    stage.article("bundle.created", "b1")
    stage.article("bundle.warming_started", "b1")
    stage.wait(days=6)
    assert [kind for kind, _ in stage.decisions()] == ["warm"]
    stage.wait(days=2)
    assert stage.decisions()[-1] == ("review", "warming since 2026-11-23, and no news")


def test_a_remade_account_is_warmed_again(make: Make) -> None:
    stage = make()
    stage.warm("b1")
    stage.public("account.remade", bundle_id="b1", saved_account_id="acc_2")
    requests = stage.events(WarmingRequested)
    assert [request.data["era"] for request in requests] == [0, 1]


def test_without_policies_nothing_is_decided_and_later_everything_is(make: Make) -> None:
    stage = make(policies=None)
    stage.article("bundle.created", "b1")
    assert stage.decisions() == []
    stage.policies(POLICIES)
    assert stage.decisions() == [("warm", "the account is created")]


def test_a_person_can_have_an_account_warmed(make: Make) -> None:
    stage = make(policies="defaults: {warming: {start: manual, terms: [a1, b2, c3]}}")
    stage.article("bundle.ready", "b1")
    assert stage.decisions() == []
    assert stage.order({"command": "bundle.warm", "bundle_id": "b1", "reason": "launch"}) == ("applied", None)
    (request,) = stage.events(WarmingRequested)
    assert request.actor == {"kind": "person", "name": "ann"}
    assert request.reason == "launch"
    status, why = stage.order({"command": "bundle.warm", "bundle_id": "nobody"})
    assert (status, why) == ("refused", "there is no bundle 'nobody'")
