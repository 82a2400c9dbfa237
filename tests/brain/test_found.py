"""What reconciliation read at TokPortal becomes facts only where it differs from what is known, and never undoes what
webhooks told."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from orchestrator.domain.decisions import VideoRerouted, VideoRescheduled, WarmingRequested
from orchestrator.domain.facts import API, Fact
from orchestrator.domain.times import iso
from orchestrator.journal.journal import FOUND, LIVE, Message
from tests.brain.stage import POLICIES, Make, Stage, campaign, microseconds


def found(stage: Stage, source: str = "GET /bundles", *facts: dict[str, Any], run: bool = True, **more: Any) -> str:
    """What was read just now goes into the journal; the id of the message."""
    asked_at = more.pop("asked_at", stage.now)
    body = {"source": source, "asked_at": iso(asked_at), "facts": list(facts), **more}
    text = json.dumps(body).encode()
    stage._number += 1
    message = Message(
        message_id=f"msg_{stage._number:032x}",
        kind=FOUND,
        endpoint="reconciliation",
        mode=LIVE,
        dialect=None,
        event_id=None,
        id_source=None,
        digest=f"{stage._number}",
        body=text,
        headers="{}",
        actor='{"kind":"policy","name":"reconciliation"}',
        received_at=microseconds(stage.now),
    )
    stage.append(message)
    if run:
        stage.run()
    return message.message_id


def fact(name: str, bundle: str | None = "b1", at: datetime | None = None, **more: Any) -> dict[str, Any]:
    place = {"account": None, "country": None, "platform": None} | {
        key: more.pop(key) for key in ("account", "country", "platform") if key in more
    }
    return {
        "fact": name,
        "bundle_id": bundle,
        **place,
        "occurred_at": iso(at) if at is not None else None,
        "data": more.pop("data", {}),
        **more,
    }


def slot(
    name: str, video: str | None, at: datetime | None = None, *, bundle: str = "b1", **more: Any
) -> dict[str, Any]:
    names = {"external_ref": video, "vendor_id": more.pop("vendor_id", "tp_1"), "position": more.pop("position", 1)}
    return fact(name, bundle, at, video=names, data=more.pop("data", {}), **more)


def seen(bundle: str = "b1", account: str | None = None, country: str = "US") -> dict[str, Any]:
    return fact("BundleMentioned", bundle, account=account, country=country, platform="tiktok")


def read(stage: Stage) -> list[Any]:
    """The facts that were recorded because they were found."""
    return [event for event in stage.events(Fact) if str(event.event_id).startswith("found_")]


def names(stage: Stage) -> list[str]:
    return [type(event).__name__ for event in read(stage)]


def told(stage: Stage, kind: str) -> list[dict[str, Any]]:
    """What people were told of this kind."""
    return [row["body"] for row in stage.commands(kind="alert") if row["body"]["alert"] == kind]


def handed(stage: Stage, *bundles: str, answer: bool = True, **options: Any) -> list[str]:
    """Videos of a campaign that are with TokPortal."""
    stage.warm(*bundles)
    targets = f"[{{country: US, platform: tiktok, bundles: [{', '.join(bundles)}]}}]"
    videos = stage.video_ids(stage.campaign(campaign(targets=targets, **options)))
    for row in stage.dispatch():
        if answer:
            stage.result(row["command_id"], video_id="tp_1", position=1)
    return videos


# Discovery


def test_a_bundle_that_nobody_told_of_is_known_with_its_place_account_and_state(make: Make) -> None:
    stage = make()
    created = stage.now - timedelta(days=40)
    warmed = stage.now - timedelta(days=30)
    message = found(
        stage,
        "GET /bundles/{id}",
        seen(account="acc_1"),
        fact("BundleCreated", at=created, country="US", platform="tiktok"),
        fact("WarmingStarted", at=warmed, account="acc_1"),
        fact("WarmingCompleted", at=warmed + timedelta(days=3), account="acc_1"),
        fact("BundleReady", account="acc_1", data={"username": "ann"}),
    )
    view = stage.bundle("b1")
    assert (view.state, view.warmed, view.country, view.platform) == ("completed", True, "US", "tiktok")
    assert (view.saved_account_id, view.username) == ("acc_1", "ann")
    assert stage.status(message) == ("applied", None)
    assert {event.dialect for event in read(stage)} == {API}
    assert {event.message_id for event in read(stage)} == {message}
    assert read(stage)[0].occurred_at == created


def test_a_bundle_that_was_warmed_before_anybody_looked_is_not_warmed_again(make: Make) -> None:
    stage = make()
    warmed = stage.now - timedelta(days=30)
    found(
        stage,
        "GET /bundles/{id}",
        seen(account="acc_1"),
        fact("BundleCreated", at=warmed - timedelta(days=9)),
        fact("WarmingStarted", at=warmed),
        fact("WarmingCompleted", at=warmed + timedelta(days=3)),
        fact("BundleReady", account="acc_1"),
    )
    assert stage.events(WarmingRequested) == []


def test_what_was_found_once_is_no_news_when_it_is_found_again(make: Make) -> None:
    stage = make()
    facts = (seen(account="acc_1"), fact("BundleCreated"), fact("BundleReady", account="acc_1"))
    found(stage, "GET /bundles", *facts)
    known = len(stage.events())
    stage.now += timedelta(hours=6)
    found(stage, "GET /bundles", *facts)
    assert len(stage.events()) == known


def test_what_carries_no_time_of_its_own_is_as_of_the_request_and_never_ahead_of_now(make: Make) -> None:
    stage = make()
    found(stage, "GET /bundles", fact("BundleCreated"), asked_at=stage.now - timedelta(seconds=3))
    found(stage, "GET /bundles", fact("BundleCreated", "b2", stage.now + timedelta(hours=1)))
    first, second = read(stage)
    assert first.occurred_at == stage.now - timedelta(seconds=3)
    assert second.occurred_at == stage.now


def test_strangers_found_at_the_first_look_are_shown_and_not_alerted(make: Make) -> None:
    stage = make()
    found(stage, "GET /bundles", seen(), fact("BundleCreated"))
    found(stage, "GET /bundles/{id}/videos", slot("VideoScheduled", None), discovery=True)
    assert stage.video("tp_1").state == "scheduled"
    assert "stranger" not in stage.alerts()
    found(stage, "GET /bundles/{id}/videos", slot("VideoScheduled", None, vendor_id="tp_2", position=2))
    assert "stranger" in stage.alerts()


def test_accounts_tell_where_their_bundles_are_and_how_they_are_called(make: Make) -> None:
    stage = make(policies=None)
    found(stage, "GET /bundles", fact("BundleMentioned", account="acc_1", platform="tiktok"), fact("BundleCreated"))
    found(stage, "GET /bundles", fact("BundleReady", account="acc_1"))
    row = fact("BundleMentioned", None, account="acc_1", country="FR", platform="tiktok", data={"username": "ann"})
    found(stage, "GET /accounts", row)
    view = stage.bundle("b1")
    assert (view.country, view.username, view.state) == ("FR", "ann", "ready")
    known = len(stage.events())
    found(stage, "GET /accounts", row)
    assert len(stage.events()) == known


# What webhooks told


def test_a_found_state_does_not_undo_what_came_after_it(make: Make) -> None:
    stage = make()
    stage.warm("b1")
    known = len(stage.events())
    found(stage, "GET /bundles", seen(), fact("BundleCreated"), fact("BundleReady"), fact("WarmingStarted"))
    assert len(stage.events()) == known
    assert stage.bundle("b1").state == "completed"


def test_a_late_webhook_ends_the_warming_that_was_found_under_way(make: Make) -> None:
    stage = make(policies=None)
    stage.article("bundle.created", "b1", at=stage.now - timedelta(days=9))
    completed = stage.now - timedelta(hours=1)
    found(stage, "GET /warming-sessions", fact("WarmingStarted"))
    assert stage.bundle("b1").state == "warming"
    stage.article("bundle.warming_completed", "b1", at=completed)
    view = stage.bundle("b1")
    assert (view.state, view.state_since, view.warmed) == ("completed", completed, True)


def test_warming_again_is_found_by_its_own_time(make: Make) -> None:
    stage = make(policies=None)
    stage.warm("b1")
    again = stage.now - timedelta(days=2)
    found(stage, "GET /warming-sessions", fact("WarmingStarted", at=again))
    view = stage.bundle("b1")
    assert (view.state, view.state_since, view.warmed) == ("warming", again, True)


def test_a_ban_is_found_at_its_own_time_and_moves_the_videos(make: Make) -> None:
    stage = make()
    (video,) = handed(stage, "b1")
    stage.warm("b2")
    decided = stage.now - timedelta(hours=2)
    within = [iso(decided - timedelta(hours=9)), iso(decided + timedelta(hours=1))]
    row = fact("BundleBanned", at=decided, data={"id": "ban_1", "within": within})
    found(stage, "GET /account-bans", row)
    assert stage.bundle("b1").state == "banned"
    assert read(stage)[-1].occurred_at == decided
    assert [event.data["bundle_id"] for event in stage.events(VideoRerouted)] == ["b2"]
    alerts, events = stage.alerts(), len(stage.events())
    stage.public("account.banned", bundle_id="b1", banned_at=(decided - timedelta(hours=1)).isoformat())
    found(stage, "GET /account-bans", row)
    assert stage.alerts() == alerts
    assert len(stage.events()) == events + 1
    assert stage.video(video).bundle_id == "b2"


def test_a_ban_that_a_webhook_told_and_a_person_lifted_is_not_found_again(make: Make) -> None:
    stage = make()
    stage.warm("b1")
    banned = stage.now - timedelta(hours=1)
    stage.public("account.banned", bundle_id="b1", banned_at=banned.isoformat())
    assert stage.order({"command": "bundle.reinstate", "bundle_id": "b1", "reason": None}) == ("applied", None)
    decided = banned + timedelta(minutes=5)
    data = {"id": "ban_1", "within": [iso(banned - timedelta(hours=1)), iso(decided + timedelta(hours=1))]}
    found(stage, "GET /account-bans", fact("BundleBanned", at=decided, data=data))
    assert stage.bundle("b1").state == "completed"
    assert read(stage) == []


def test_a_ban_that_was_found_and_lifted_does_not_come_back_with_its_late_webhook(make: Make) -> None:
    stage = make()
    stage.warm("b1")
    decided = stage.now - timedelta(hours=1)
    data = {"id": "ban_1", "within": [iso(decided - timedelta(hours=1)), iso(decided + timedelta(hours=1))]}
    found(stage, "GET /account-bans", fact("BundleBanned", at=decided, data=data))
    assert stage.order({"command": "bundle.reinstate", "bundle_id": "b1", "reason": None}) == ("applied", None)
    stage.public("account.banned", bundle_id="b1", banned_at=(decided + timedelta(minutes=5)).isoformat())
    assert stage.bundle("b1").state == "completed"


def test_an_appeal_is_found_and_lifted(make: Make) -> None:
    stage = make()
    stage.warm("b1")
    began = stage.now - timedelta(hours=5)
    found(stage, "GET /account-bans", fact("AppealSubmitted", at=began, data={"id": "ban_1"}))
    assert stage.bundle("b1").holds == ("suspended",)
    found(stage, "GET /account-bans", fact("AppealSubmitted", at=began, data={"id": "ban_1"}))
    assert names(stage) == ["AppealSubmitted"]
    ended = fact("AppealResolved", at=began + timedelta(hours=3), data={"id": "ban_1", "outcome": "accepted"})
    found(stage, "GET /account-bans", ended)
    assert stage.bundle("b1").holds == ()


def test_a_closed_bundle_is_found_and_opens_again_by_what_is_found_later(make: Make) -> None:
    stage = make()
    stage.warm("b1")
    found(stage, "GET /bundles", fact("BundleCancelled"))
    assert stage.bundle("b1").holds == ("closed",)
    stage.now += timedelta(minutes=1)
    found(stage, "GET /bundles", fact("BundlePublished"))
    assert stage.bundle("b1").holds == ("closed",), "nobody can say which of them was last"
    stage.now += timedelta(minutes=30)
    found(stage, "GET /bundles", fact("BundlePublished"))
    assert stage.bundle("b1").holds == ()


# Remakes


def remade(stage: Stage) -> datetime:
    """An account that was banned; when."""
    stage.warm("b1", saved_account_id="acc_1")
    banned = stage.now - timedelta(days=2)
    stage.public("account.banned", at=banned, bundle_id="b1", saved_account_id="acc_1", banned_at=banned.isoformat())
    return banned


def test_another_account_on_the_bundle_is_a_remake(make: Make) -> None:
    stage = make(policies=None)
    remade(stage)
    found(stage, "GET /bundles/{id}", seen(account="acc_2"), fact("BundleReady", account="acc_2"))
    view = stage.bundle("b1")
    assert (view.state, view.saved_account_id, view.era) == ("ready", "acc_2", 1)
    assert names(stage) == ["AccountRemade", "BundleReady"]
    found(stage, "GET /bundles/{id}", seen(account="acc_1"), fact("BundleReady", account="acc_1"))
    assert stage.bundle("b1").saved_account_id == "acc_2", "a list that is behind undoes nothing"


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("minutes", [-30, 30])
def test_the_webhook_of_a_remake_that_was_found_tells_of_the_same_one(make: Make, named: bool, minutes: int) -> None:
    stage = make(policies=None)
    remade(stage)
    found(stage, "GET /bundles/{id}", seen(account="acc_2"))
    at = stage.now + timedelta(minutes=minutes)
    account = {"saved_account_id": "acc_2"} if named else {}
    stage.public("account.remade", at=at, bundle_id="b1", **account)
    view = stage.bundle("b1")
    assert (view.state, view.saved_account_id, view.era, view.state_since) == ("created", "acc_2", 1, at)


def test_what_the_new_account_did_before_the_remake_was_found_counts(make: Make) -> None:
    stage = make(policies=None)
    banned = remade(stage)
    found(stage, "GET /bundles/{id}", seen(account="acc_2"))
    ready = banned + timedelta(days=1)
    stage.public("account.finalized", at=ready, bundle_id="b1", saved_account_id="acc_2")
    view = stage.bundle("b1")
    assert (view.state, view.flags, view.era) == ("ready", (), 1)


def test_the_ban_of_a_former_account_says_nothing_of_the_new_one(make: Make) -> None:
    stage = make(policies=None)
    decided = stage.now - timedelta(days=90)
    found(
        stage,
        "GET /account-bans",
        seen(account="acc_2"),
        fact("BundleCreated", at=decided - timedelta(days=9)),
        fact("BundleReady", account="acc_2"),
        fact("BundleBanned", at=decided, account="acc_1", data={"id": "ban_1"}),
    )
    assert stage.bundle("b1").state == "ready"


# Slots


def test_a_post_that_no_webhook_told_is_found_and_told_once(make: Make) -> None:
    stage = make()
    (video,) = handed(stage, "b1")
    stage.now += timedelta(days=2)
    posted = stage.now - timedelta(hours=3)
    data = {"url": "https://t.example/1", "review": "open"}
    found(stage, "GET /bundles/{id}/videos", slot("VideoPosted", video, posted, data=data))
    view = stage.video(video)
    assert (view.state, view.post_url, view.posted_at) == ("posted", "https://t.example/1", posted)
    alerts = stage.alerts()
    stage.public(
        "video.in_review", at=posted, video_id="tp_1", bundle_id="b1", position=1, platform_url="https://t.example/1"
    )
    assert stage.alerts() == alerts
    assert stage.video(video).flags == ()
    found(stage, "GET /bundles/{id}/videos", slot("VideoPosted", video, posted, data=data))
    assert names(stage) == ["VideoPosted"]


def test_a_post_that_a_webhook_told_is_no_news_but_that_its_review_is_over_is(make: Make) -> None:
    stage = make()
    (video,) = handed(stage, "b1")
    told = stage.now
    stage.public("video.in_review", video_id="tp_1", bundle_id="b1", position=1, platform_url="https://t.example/1")
    stage.now += timedelta(minutes=5)
    found(stage, "…", slot("VideoPosted", video, data={"url": "https://t.example/1", "review": "open"}))
    assert read(stage) == []
    found(stage, "…", slot("VideoPosted", video, data={"url": "https://t.example/1", "review": "final"}))
    assert names(stage) == ["VideoPosted"]
    assert stage.video(video).posted_at == told


def test_a_post_of_the_dialect_that_knows_no_review_is_no_news_when_its_slot_is_final(make: Make) -> None:
    stage = make()
    (video,) = handed(stage, "b1")
    stage.article("video.posted", "b1", video_id=video, url="https://t.example/1")
    stage.now += timedelta(minutes=5)
    found(stage, "…", slot("VideoPosted", video, data={"url": "https://t.example/1", "review": "final"}))
    assert read(stage) == []


def test_a_found_post_yields_to_the_webhook_that_was_late(make: Make) -> None:
    stage = make()
    (video,) = handed(stage, "b1")
    told = stage.now
    stage.now += timedelta(minutes=5)
    found(stage, "…", slot("VideoPosted", video, data={"url": "https://t.example/1", "review": "open"}))
    url = "https://t.example/1"
    stage.public("video.in_review", at=told, video_id="tp_1", bundle_id="b1", position=1, platform_url=url)
    assert stage.video(video).posted_at == told
    assert [leg.state for leg in stage.video(video).attempts] == ["posted"]


def test_how_far_a_slot_has_come_is_no_sign_of_life_of_an_attempt_that_was_left(make: Make) -> None:
    stage = make()
    (video,) = handed(stage, "b1")
    stage.warm("b2")
    stage.article("bundle.banned", "b1", reason="spam")
    assert stage.video(video).bundle_id == "b2"
    stage.now += timedelta(minutes=30)
    found(stage, "…", slot("VideoHandedOver", video), slot("UploadCompleted", video))
    assert "late_news" not in stage.alerts()
    assert stage.video(video).flags == ()


def test_a_post_on_an_account_that_the_video_was_taken_from_counts(make: Make) -> None:
    stage = make()
    (video,) = handed(stage, "b1")
    stage.warm("b2")
    stage.article("bundle.banned", "b1", reason="spam")
    found(stage, "…", slot("VideoPosted", video, data={"url": "https://t.example/1", "review": "final"}))
    assert (stage.video(video).state, stage.video(video).bundle_id) == ("posted", "b1")
    assert stage.alerts().count("late_news") == 1


def test_a_slot_shows_the_last_try_until_tokportal_has_taken_the_new_one(make: Make) -> None:
    stage = make(policies=f"{POLICIES}  failure: {{codes: {{'*': retry}}, backoff: [1m]}}\n")
    (video,) = handed(stage, "b1")
    stage.article("video.post_failed", "b1", video_id="tp_1", error_code="network_error", retry={"will_retry": False})
    stage.now += timedelta(minutes=10)
    before = stage.video(video)
    assert [(leg.tries, leg.state) for leg in before.attempts] == [(2, "planned")]
    found(stage, "…", slot("UploadCompleted", video))
    assert stage.video(video) == before
    stage.send_all()
    stage.now += timedelta(minutes=10)
    found(stage, "…", slot("UploadCompleted", video))
    assert [(leg.tries, leg.state) for leg in stage.video(video).attempts] == [(2, "uploaded")]


def test_a_handover_that_nobody_answered_is_seen_in_the_slot(make: Make) -> None:
    stage = make()
    (video,) = handed(stage, "b1", answer=False)
    assert stage.video(video).state == "planned"
    stage.now += timedelta(minutes=10)
    found(stage, "…", slot("VideoHandedOver", video))
    assert stage.video(video).state == "scheduled"
    stage.article("video.upload_started", "b1", at=stage.now - timedelta(minutes=1), video_id="tp_1")
    assert stage.video(video).state == "uploading", "what was found is older than that, in truth"


def test_a_video_that_tokportal_moved_is_expected_on_its_new_day(make: Make) -> None:
    stage = make()
    (video,) = handed(stage, "b1")
    (leg,) = stage.video(video).attempts
    day = (datetime.fromisoformat(str(leg.target_day)) + timedelta(days=9)).date().isoformat()
    stage.now += timedelta(minutes=1)
    found(stage, "…", slot("VideoHandedOver", video, data={"target_day": day}))
    assert [leg.target_day for leg in stage.video(video).attempts] == [day]
    assert [event.data["target_day"] for event in stage.events(VideoRescheduled)] == [day]
    found(stage, "…", slot("VideoHandedOver", video, data={"target_day": day}))
    found(stage, "…", slot("VideoHandedOver", video, data={"target_day": "soon"}))
    assert len(stage.events(VideoRescheduled)) == 1


def test_corrections_that_were_requested_are_found_once(make: Make) -> None:
    stage = make()
    (video,) = handed(stage, "b1")
    stage.now += timedelta(minutes=1)
    for _ in range(2):
        found(stage, "…", slot("CorrectionsRequested", video))
        stage.now += timedelta(hours=1)
    assert stage.video(video).flags == ("pending_corrections",)
    assert stage.alerts().count("corrections") == 1


# What is no fact


def test_a_change_of_the_contract_is_alerted_once(make: Make) -> None:
    stage = make()
    for _ in range(2):
        found(stage, "GET /webhooks/events", contract={"unknown": ["video.deleted"], "missing": []})
        stage.now += timedelta(days=1)
    (alert,) = told(stage, "contract")
    assert "video.deleted" in alert["text"]
    found(stage, "GET /webhooks/events", contract={"unknown": [], "missing": []})
    assert [alert.get("resolves", False) for alert in told(stage, "contract")] == [False, True]


def test_an_outage_is_alerted_once_and_ends(make: Make) -> None:
    stage = make()
    outage = {"since": "2026-11-23T11:00:00.000000Z", "why": "TokPortal does not accept the key (AUTH_REVOKED_KEY)"}
    for _ in range(2):
        found(stage, "TokPortal", outage=outage)
        stage.now += timedelta(minutes=1)
    (alert,) = told(stage, "outage")
    assert outage["since"] in alert["text"] and "AUTH_REVOKED_KEY" in alert["text"]
    found(stage, "TokPortal", outage=None)
    assert [alert.get("resolves", False) for alert in told(stage, "outage")] == [False, True]


def test_what_the_audit_noticed_is_alerted(make: Make) -> None:
    stage = make()
    stage.order({"command": "audit.broken", "reason": "the log does not continue"})
    stage.order({"command": "audit.mended", "reason": None})
    first, second = told(stage, "audit")
    assert first["text"] == "the log does not continue"
    assert second["resolves"]
    assert stage.order({"command": "audit.smiles", "reason": None})[1] == "nobody knows the command 'audit.smiles'"


def test_credits_that_expire_soon_are_alerted_once_a_day(make: Make) -> None:
    stage = make()
    for _ in range(2):
        found(stage, "GET /credits/balance", credits={"total": 90, "expiring": 40})
    (alert,) = told(stage, "budget")
    assert "40 of 90" in alert["text"]


def test_slots_are_counted(make: Make) -> None:
    stage = make()
    stage.warm("b1")
    found(stage, "GET /bundles/{id}/videos", slots=[{"bundle_id": "b1", "total": 9, "free": 4}])
    slots = stage.bundle("b1").slots
    assert slots is not None
    assert (slots.total, slots.free, slots.at) == (9, 4, stage.now)
