"""Causes of alerts: what people hear of together, and what tells them that it is over."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from orchestrator.engine.causes import CAUSES, LONGEST, cause_of, subject_of
from orchestrator.policies.fields import ALERTS
from tests.brain.stage import Make, Stage, campaign


def alerts(stage: Stage, kind: str | None = None) -> list[dict[str, Any]]:
    rows = stage.commands(kind="alert")
    return [row for row in rows if not row["body"].get("resolves") and kind in (None, row["body"]["alert"])]


def ends(stage: Stage, kind: str) -> list[str]:
    """Of whom it is said that it is over."""
    rows = stage.commands(kind="alert")
    return [row["body"]["subject"] for row in rows if row["body"].get("resolves") and row["body"]["alert"] == kind]


def causes(stage: Stage, kind: str) -> list[str]:
    return [row["body"]["cause"] for row in alerts(stage, kind)]


# Fingerprints.


def test_every_kind_whose_cause_is_not_the_market_is_a_kind() -> None:
    assert set(CAUSES) <= set(ALERTS)


def test_equal_parts_are_one_cause_and_others_are_not() -> None:
    us, fr = {"country": "US", "platform": "tiktok"}, {"country": "FR", "platform": "tiktok"}
    assert cause_of("banned", us | {"bundle_id": "b1"}) == cause_of("banned", us | {"bundle_id": "b2"})
    assert cause_of("banned", us) != cause_of("banned", fr)
    assert cause_of("banned", us) != cause_of("appeal", us)
    assert cause_of("contradiction", us | {"bundle_id": "b1"}) != cause_of("contradiction", us | {"bundle_id": "b2"})
    assert cause_of("dead_command", us, ("configure_video", "A")) != cause_of("dead_command", us, ("add_slots", "A"))


@pytest.mark.parametrize("code", ["x" * 10_000, "nul\0byte", "line\nbreak", "ünïcode", "half \ud800"])
def test_whatever_the_vendor_says_a_cause_is_a_short_plain_text(code: str) -> None:
    cause = cause_of("dead_command", {"country": "US"}, (code,))
    assert cause.isascii() and cause.isprintable() and len(cause) <= LONGEST
    assert cause == cause_of("dead_command", {"country": "US"}, (code,))
    assert cause != cause_of("dead_command", {"country": "US"}, (code + "y",))


def test_whom_an_alert_is_about() -> None:
    assert subject_of({"video_id": "v", "bundle_id": "b"}) == "v"
    assert subject_of({"video_id": None, "bundle_id": "b", "country": "US"}) == "b"
    assert subject_of({"country": "US", "platform": "tiktok"}) == "US:tiktok"
    assert subject_of({}) == ""


# In the reactions.


def test_accounts_banned_in_one_market_are_one_cause_and_each_is_a_subject(make: Make) -> None:
    stage = make()
    for country, names in (("US", ("b1", "b2", "b3")), ("FR", ("b4",))):
        stage.warm(*names, country=country)
        for name in names:
            stage.article("bundle.banned", name, country=country)

    assert causes(stage, "banned") == ["banned:US:tiktok"] * 3 + ["banned:FR:tiktok"]
    assert [row["body"]["subject"] for row in alerts(stage, "banned")] == ["b1", "b2", "b3", "b4"]
    first = alerts(stage, "banned")[0]
    assert first["body"]["about"] == {"bundle_id": "b1", "country": "US", "platform": "tiktok"}
    assert first["message_id"].startswith("msg_")


def test_an_account_that_is_reinstated_is_no_longer_banned(make: Make) -> None:
    stage = make()
    stage.warm("b1")
    stage.article("bundle.banned", "b1")
    assert ends(stage, "banned") == []
    stage.order({"command": "bundle.reinstate", "bundle_id": "b1"})
    assert ends(stage, "banned") == ["b1"]


def test_a_breaker_that_a_person_resumes_is_over(make: Make) -> None:
    stage = make()
    stage.warm("b1", "b2", "b3")
    for name in ("b1", "b2", "b3"):
        stage.article("bundle.banned", name)
    (opened,) = alerts(stage, "breaker")
    assert opened["body"]["cause"] == "breaker:US:tiktok"

    stage.order({"command": "market.resume", "country": "US", "platform": "tiktok"})
    assert ends(stage, "breaker") == [opened["body"]["subject"]]


def test_a_market_that_was_paused_by_a_person_had_no_breaker_to_end(make: Make) -> None:
    stage = make()
    stage.order({"command": "market.pause", "country": "US", "platform": "tiktok"})
    stage.order({"command": "market.resume", "country": "US", "platform": "tiktok"})
    assert ends(stage, "breaker") == []


def test_an_appeal_ends_with_the_hold(make: Make) -> None:
    stage = make()
    stage.warm("b1")
    stage.public("account.ban_appeal.submitted", bundle_id="b1", country="US", platform="tiktok")
    assert causes(stage, "appeal") == ["appeal:US:tiktok"]
    stage.now += timedelta(hours=1)
    stage.public("account.ban_appeal.resolved", bundle_id="b1", country="US", platform="tiktok", outcome="accepted")
    assert ends(stage, "appeal") == ["b1"]


def test_a_review_ends_when_a_person_has_reviewed(make: Make) -> None:
    stage = make()
    stage.warm("b1")
    stage.order({"command": "bundle.review", "bundle_id": "b1"})
    (asked,) = alerts(stage, "needs_review")
    stage.order({"command": "bundle.reviewed", "bundle_id": "b1"})
    assert ends(stage, "needs_review") == [asked["body"]["subject"]] == ["b1"]


def test_a_video_that_waited_and_is_placed_waits_no_more(make: Make) -> None:
    stage = make()
    stage.warm("b1")
    (video,) = stage.video_ids(stage.campaign(campaign()))
    stage.article("bundle.banned", "b1")
    (waiting,) = alerts(stage, "waiting")
    assert (waiting["body"]["cause"], waiting["body"]["subject"]) == ("waiting:US:tiktok", video)
    assert ends(stage, "waiting") == []

    stage.warm("b2")
    assert stage.video(video).state in ("planned", "scheduled")
    assert ends(stage, "waiting") == [video]


def handed(stage: Stage, *bundles: str) -> list[str]:
    stage.warm(*bundles)
    stage.campaign(campaign(targets=f"[{{country: US, platform: tiktok, accounts: {len(bundles)}}}]"))
    return [row["command_id"] for row in stage.dispatch() if row["kind"] == "configure_video"]


def test_commands_that_fail_with_one_code_in_one_market_are_one_cause(make: Make) -> None:
    stage = make()
    for name in handed(stage, "b1", "b2", "b3"):
        stage.result(name, "dead", code="SERVICE_DOWN")
    found = causes(stage, "dead_command")
    assert len(found) == 3 and set(found) == {"dead_command:US:tiktok:configure_video:SERVICE_DOWN"}


def test_a_dead_command_ends_as_trouble_when_a_person_settles_it(make: Make) -> None:
    stage = make()
    (name,) = handed(stage, "b1")
    stage.result(name, "dead", code="SERVICE_DOWN")
    (alert,) = alerts(stage, "dead_command")
    assert alert["body"]["subject"] == name
    assert stage.order({"command": "command.retry", "command_id": name}) == ("applied", None)
    assert ends(stage, "dead_command") == [name]


def test_what_says_that_it_is_about_a_video_names_its_market(make: Make) -> None:
    stage = make()
    (name,) = handed(stage, "b1")
    stage.result(name, "unknown")
    (alert,) = alerts(stage, "dead_command")
    assert (alert["country"], alert["platform"]) == ("US", "tiktok")
    assert alert["body"]["about"]["campaign_id"] == alert["campaign_id"]


def test_policies_that_are_refused_are_trouble_until_some_are_applied(make: Make) -> None:
    stage = make()
    status, _ = stage.policies("version: 2")
    assert status == "refused"
    assert causes(stage, "policies_refused") == ["policies_refused"]
    assert stage.policies("version: 1\ndefaults: {reroute: {max: 1}}") == ("applied", None)
    assert "" in ends(stage, "policies_refused")


def test_a_contradiction_of_one_bundle_is_its_own(make: Make) -> None:
    stage = make()
    for name in ("b1", "b2"):
        stage.warm(name)
        stage.article("bundle.ready", name, country="FR")
    assert causes(stage, "contradiction") == ["contradiction:b1", "contradiction:b2"]


def test_messages_that_cannot_be_understood_are_one_cause(make: Make) -> None:
    stage = make()
    for number in range(3):
        stage.article("bundle.no_such_thing", f"b{number}")
        stage.now += timedelta(hours=1)
    assert causes(stage, "unrecognised") == ["unrecognised"] * 3


def test_without_policies_nobody_is_told_of_an_end_either(make: Make) -> None:
    stage = make(policies=None)
    stage.warm("b1")
    stage.article("bundle.banned", "b1")
    stage.order({"command": "bundle.reinstate", "bundle_id": "b1"})
    assert stage.commands(kind="alert") == []
