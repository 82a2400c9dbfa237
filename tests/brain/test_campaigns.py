"""A campaign is planned, started, paused, resumed and cancelled, and nobody is surprised."""

from __future__ import annotations

from datetime import timedelta

import pytest

from orchestrator.campaigns import read_csv, read_document
from orchestrator.campaigns.spec import CampaignSpec
from orchestrator.domain.decisions import (
    CampaignCompleted,
    CampaignDrafted,
    CampaignPlaced,
    VideoPlanned,
    VideoRescheduled,
    VideoWaiting,
)
from orchestrator.engine.reactions import campaigns
from orchestrator.planning import Draft, draft
from tests.brain.stage import POLICIES, Make, Stage, campaign

APPLIED = ("applied", None)
ALL = "[{country: US, platform: tiktok}]"


def dry_run(stage: Stage, spec: CampaignSpec) -> Draft:
    with stage.database.read() as connection:
        return draft(connection, stage.database, spec, stage.now)


def drafted(stage: Stage, text: str) -> tuple[CampaignSpec, Draft]:
    spec = read_document(text)
    planned = dry_run(stage, spec)
    assert stage.order(planned.order(spec)) == APPLIED
    return spec, planned


def order(stage: Stage, what: str, spec: CampaignSpec, *, run: bool = True) -> tuple[str, str | None]:
    return stage.order({"command": f"campaign.{what}", "campaign_id": spec.campaign_id}, run=run)


def placements(stage: Stage) -> dict[str, tuple[str, str]]:
    found = stage.events(VideoPlanned)
    return {
        event.originator_id.removeprefix("video:"): (event.data["bundle_id"], event.data["target_day"])
        for event in found
    }


def shown(planned: Draft) -> dict[str, tuple[str, str]]:
    return {item["video_id"]: (item["bundle_id"], item["target_day"]) for item in planned.plan()}


def cold(stage: Stage, bundle: str) -> None:
    """An account that is ordered, and warm one day later."""
    stage.article("bundle.created", bundle, at=stage.now - timedelta(days=2))


# Drafts, and what the start makes of them.


def test_the_start_does_what_the_dry_run_showed(make: Make) -> None:
    stage = make(policies=POLICIES + "  posting: {per_day: 1}\ngroups: {acme: [b9]}\n")
    stage.warm("b1", "b2", "b3", "b9")
    stage.warm("f1", country="FR")
    targets = (
        "[{country: US, platform: tiktok, accounts: 2}, {country: US, platform: tiktok, bundles: [b3, b9]}, "
        "{country: FR, platform: tiktok}, {country: JP, platform: tiktok}]"
    )
    text = campaign(refs=("r1", "r2", "r3"), targets=targets, more="starts: 2026-11-25\nends: 2026-11-26")
    spec, planned = drafted(stage, text)
    assert len(planned.plan()) == 2 * 3 - 2 + 2 + 2
    assert order(stage, "start", spec) == APPLIED
    assert placements(stage) == shown(planned)
    (placed,) = stage.events(CampaignPlaced)
    assert placed.data["moved"] == []
    assert placed.data["unmet"] == planned.unmet()
    assert {item["reason"] for item in planned.unmet()} == {
        "nobody of 4 qualifies: 2 cap reached, 1 other group, 1 the target has its 2 accounts",
        "b3 does not qualify: cap 1/1 on 2026-11-25",
        "b9 does not qualify: other group",
        "f1 does not qualify: cap 1/1 on 2026-11-25",
        "no account of tiktok in JP is known",
    }
    assert all(event.data["candidates"]["own"][0][1] == "chosen: least loaded" for event in stage.events(VideoPlanned))


def test_every_placed_video_gets_its_command_at_once(make: Make) -> None:
    stage = make()
    stage.warm("b1", "b2")
    spec = stage.campaign(campaign(refs=("r1", "r2"), targets=ALL))
    commands = stage.commands(kind="configure_video")
    assert {row["video_id"] for row in commands} == set(placements(stage))
    assert {(row["status"], row["campaign_id"]) for row in commands} == {("pending", spec.campaign_id)}


def test_a_draft_reserves_nothing(make: Make) -> None:
    stage = make()
    stage.warm("b1")
    _, first = drafted(stage, campaign("one"))
    spec, second = drafted(stage, campaign("two"))
    assert list(shown(first).values()) == list(shown(second).values()) == [("b1", "2026-11-24")]
    assert stage.events(VideoPlanned) == []
    assert dry_run(stage, spec).plan() == second.plan()


def test_the_start_checks_again_and_reports_what_moved(make: Make) -> None:
    stage = make(policies=POLICIES + "  posting: {per_day: 1}\n")
    stage.warm("b1", "b2", "b3")
    spec, planned = drafted(stage, campaign(refs=("r1",), targets=ALL, more="ends: 2026-11-24"))
    assert sorted(shown(planned).values()) == [("b1", "2026-11-24"), ("b2", "2026-11-24"), ("b3", "2026-11-24")]
    stage.order({"command": "bundle.pause", "bundle_id": "b2"})
    assert order(stage, "start", spec) == APPLIED
    first, second, third = shown(planned)
    assert placements(stage) == {first: ("b1", "2026-11-24"), second: ("b3", "2026-11-24")}
    (placed,) = stage.events(CampaignPlaced)
    assert placed.data["moved"] == [
        {"video_id": second, "from": ["b2", "2026-11-24"], "to": ["b3", "2026-11-24"]},
        {"video_id": third, "from": ["b3", "2026-11-24"], "to": None},
    ]
    assert [(item["video_id"], item["reason"]) for item in placed.data["unmet"]] == [
        (third, "nobody of 3 qualifies: 2 have it already, 1 paused")
    ]
    assert "unmet" in stage.alerts()


def test_a_draft_wants_no_more_of_an_account_that_is_gone_when_it_is_started(make: Make) -> None:
    stage = make()
    stage.warm("b1", "b2")
    spec, planned = drafted(stage, campaign(targets=ALL))
    first, second = shown(planned)
    stage.article("bundle.banned", "b1")
    assert order(stage, "start", spec) == APPLIED
    (placed,) = stage.events(CampaignPlaced)
    assert (placed.data["placed"], placed.data["unmet"]) == (1, [])
    assert placed.data["moved"] == [
        {"video_id": first, "from": ["b1", "2026-11-24"], "to": ["b2", "2026-11-24"]},
        {"video_id": second, "from": ["b2", "2026-11-24"], "to": None},
    ]


def test_what_was_shown_stays_though_others_took_the_better_places(make: Make) -> None:
    stage = make()
    stage.warm("b1", "b2")
    spec, planned = drafted(stage, campaign("one"))
    assert list(shown(planned).values()) == [("b1", "2026-11-24")]
    stage.campaign(campaign("two"))
    assert order(stage, "start", spec) == APPLIED
    plan = stage.events(VideoPlanned)[-1]
    assert (plan.data["bundle_id"], plan.reason) == ("b1", "b1 takes it on 2026-11-24: as planned")
    assert plan.data["candidates"]["own"] == [
        ["b1", "chosen: as planned", 1],
        ["b2", "eligible, but not as planned", 0],
    ]


def test_a_day_that_passed_before_the_start_moves(make: Make) -> None:
    stage = make()
    stage.warm("b1")
    spec, planned = drafted(stage, campaign())
    stage.wait(days=2)
    assert order(stage, "start", spec) == APPLIED
    ((video, where),) = shown(planned).items()
    (placed,) = stage.events(CampaignPlaced)
    assert placed.data["moved"] == [{"video_id": video, "from": list(where), "to": ["b1", "2026-11-26"]}]


def test_one_name_is_one_campaign(make: Make) -> None:
    stage = make()
    stage.warm("b1")
    spec, planned = drafted(stage, campaign())
    assert stage.order(planned.order(spec)) == APPLIED
    other = read_document(campaign(refs=("other",)))
    assert stage.order(dry_run(stage, other).order(other)) == (
        "refused",
        "there is a campaign 'spring' with other content: give this one another name",
    )
    assert len(stage.events(CampaignDrafted)) == 1


def test_nothing_is_started_without_policies_or_where_a_bundle_is_unknown(make: Make) -> None:
    stage = make(policies=None)
    spec, planned = drafted(stage, campaign())
    assert planned.notes[-1] == "no policies are in force yet: the defaults were used, and nothing can be started"
    assert order(stage, "start", spec) == ("refused", "no policies are in force: nothing can be placed")

    stage.policies(POLICIES)
    rows = b"ref,media,bundle_id\nr1,https://cdn.example.com/1.mp4,b1\n"
    lost = read_csv(rows, name="rows", disclose_as_ads=True, ai_content_disclaimer=False)
    unmet = dry_run(stage, lost).unmet()
    why = "nobody knows yet where b1 is: name its country and platform"
    assert [(item["country"], item["reason"]) for item in unmet] == [(None, why)]
    assert stage.order(dry_run(stage, lost).order(lost)) == APPLIED
    assert order(stage, "start", lost) == ("refused", why)
    stage.warm("b1", country="FR")
    assert order(stage, "start", lost) == APPLIED
    assert list(placements(stage).values()) == [("b1", "2026-11-24")]


def test_fewer_accounts_than_asked_for_are_noted(make: Make) -> None:
    stage = make()
    stage.warm("b1", "b2")
    _, planned = drafted(stage, campaign(targets="[{country: US, platform: tiktok, accounts: 5}]"))
    assert len(planned.plan()) == 2
    assert planned.notes == ["tiktok in US: 5 accounts are asked for, 2 exist"]


def test_rows_of_a_file_go_to_their_days_and_bundles(make: Make) -> None:
    stage = make()
    stage.warm("b1", "b2")
    rows = (
        b"ref,media,country,platform,bundle_id,target_day\n"
        b"r1,https://cdn.example.com/1.mp4,US,tiktok,b2,2026-11-27\n"
        b"r2,https://cdn.example.com/2.mp4,US,tiktok,,2026-11-28\n"
        b"r3,https://cdn.example.com/3.mp4,,,b2,\n"
        b"r4,https://cdn.example.com/4.mp4,US,tiktok,,2026-11-20\n"
    )
    spec = read_csv(rows, name="rows", disclose_as_ads=True, ai_content_disclaimer=False)
    planned = dry_run(stage, spec)
    assert [(item["ref"], item["bundle_id"], item["target_day"]) for item in planned.plan()] == [
        ("r1", "b2", "2026-11-27"),
        ("r2", "b1", "2026-11-28"),
        ("r3", "b2", "2026-11-24"),
    ]
    assert [item["ref"] for item in planned.unmet()] == ["r4"]


# Slices.


@pytest.fixture
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaigns, "SLICE", 2)


@pytest.mark.usefixtures("small_slices")
def test_a_large_campaign_lets_other_messages_through(make: Make) -> None:
    stage = make()
    stage.warm("b1", "b2")
    spec, planned = drafted(stage, campaign(refs=[f"r{n}" for n in range(5)], targets=ALL))
    order(stage, "start", spec, run=False)
    while len(stage.events(VideoPlanned)) < 4:
        stage.engine.step()
    message = stage.article("bundle.created", "b3", run=False)
    while stage.status(message)[0] == "pending":
        stage.engine.step()
    assert len(stage.events(VideoPlanned)) < 10
    stage.run()
    assert placements(stage) == shown(planned)
    (placed,) = stage.events(CampaignPlaced)
    assert (placed.data["placed"], placed.data["moved"]) == (10, [])


@pytest.mark.usefixtures("small_slices")
def test_a_campaign_that_is_paused_while_it_is_placed_goes_on_where_it_was(make: Make) -> None:
    stage = make()
    stage.warm("b1", "b2")
    spec, planned = drafted(stage, campaign(refs=[f"r{n}" for n in range(5)], targets=ALL))
    order(stage, "start", spec, run=False)
    while len(stage.events(VideoPlanned)) < 4:
        stage.engine.step()
    assert order(stage, "pause", spec) == APPLIED
    some = len(stage.events(VideoPlanned))
    assert some < 10
    assert stage.events(CampaignPlaced) == []
    assert order(stage, "resume", spec) == APPLIED
    assert placements(stage) == shown(planned)
    assert len(stage.events(CampaignPlaced)) == 1


@pytest.mark.usefixtures("small_slices")
def test_a_campaign_that_is_cancelled_while_it_is_placed_wants_no_more(make: Make) -> None:
    stage = make()
    stage.warm("b1", "b2")
    spec, _ = drafted(stage, campaign(refs=[f"r{n}" for n in range(5)], targets=ALL))
    order(stage, "start", spec, run=False)
    while len(stage.events(VideoPlanned)) < 4:
        stage.engine.step()
    assert order(stage, "cancel", spec) == APPLIED
    wanted = list(placements(stage))
    assert len(wanted) < 10
    assert {stage.video(video).state for video in wanted} == {"cancelled"}
    assert {row["status"] for row in stage.commands(kind="configure_video")} == {"discarded"}
    assert stage.events(CampaignPlaced) == []


# What waits.


def test_what_could_not_be_placed_waits_and_is_placed_when_an_account_becomes_postable(make: Make) -> None:
    stage = make()
    cold(stage, "b1")
    spec = stage.campaign(campaign())
    (video,) = stage.video_ids(spec)
    assert stage.video(video).state == "waiting"
    assert stage.video(video).reason == "b1 does not qualify: not postable: created"
    assert stage.events(VideoWaiting)[0].data["candidates"]["own"] == [["b1", "not postable: created", 0]]
    assert stage.alerts() == ["unmet"]
    stage.warm("b1", days_ago=1)
    assert stage.video(video).state == "planned"
    assert stage.decisions()[-1] == ("place", "an account qualifies now; b1 takes it on 2026-11-24: least loaded")


def test_a_video_that_was_never_on_an_account_is_no_reroute(make: Make) -> None:
    stage = make(policies=POLICIES + "  reroute: {enabled: false, max: 0}\n")
    cold(stage, "b1")
    (video,) = stage.video_ids(stage.campaign(campaign()))
    stage.warm("b1", days_ago=1)
    assert stage.video(video).state == "planned"


def test_what_waits_beyond_its_deadline_is_abandoned_and_the_campaign_is_over(make: Make) -> None:
    stage = make()
    (video,) = stage.video_ids(stage.campaign(campaign(more="ends: 2026-11-25")))
    stage.wait(days=9)
    assert stage.video(video).state == "waiting"
    stage.wait(days=1)
    assert stage.video(video).state == "abandoned"
    assert len(stage.events(CampaignCompleted)) == 1


# Paused, resumed, cancelled, completed.


def test_a_paused_campaign_hands_nothing_over_and_what_tokportal_holds_stays(make: Make) -> None:
    stage = make()
    stage.warm("b1", "b2")
    spec = stage.campaign(campaign(targets=ALL))
    first, second = stage.commands(kind="configure_video")
    stage.send_all()
    assert order(stage, "pause", spec) == APPLIED
    assert [stage.video(row["video_id"]).state for row in (first, second)] == ["scheduled", "scheduled"]

    stage.article("bundle.banned", "b2")
    held = stage.commands(kind="configure_video")[-1]
    assert held["status"] != "pending"
    assert stage.dispatch() == []
    assert stage.video(first["video_id"]).state == "scheduled"
    assert stage.commands(kind="unschedule_video") == []


def test_a_resumed_campaign_moves_the_days_that_passed_on(make: Make) -> None:
    stage = make()
    stage.warm("b1")
    spec = stage.campaign(campaign())
    assert order(stage, "pause", spec) == APPLIED
    (command,) = stage.commands(kind="configure_video")
    assert (command["status"], command["reason"]) == ("held", "the campaign spring is paused")
    stage.wait(days=5)
    assert order(stage, "resume", spec) == APPLIED
    (moved,) = stage.events(VideoRescheduled)
    assert moved.data["target_day"] == "2026-11-29"
    old, new = stage.commands(kind="configure_video")
    assert (old["status"], new["status"]) == ("discarded", "pending")


def test_a_paused_campaign_places_nothing_and_makes_up_for_it(make: Make) -> None:
    stage = make()
    cold(stage, "b1")
    spec = stage.campaign(campaign())
    (video,) = stage.video_ids(spec)
    assert order(stage, "pause", spec) == APPLIED
    stage.warm("b1", days_ago=1)
    assert stage.video(video).state == "waiting"
    assert order(stage, "resume", spec) == APPLIED
    assert stage.video(video).state == "planned"


def test_a_day_that_a_new_account_cannot_keep_moves_on(make: Make) -> None:
    rules = POLICIES + "  posting: {postable: [created, completed], lead_days: {new: 4, existing: 1}}\n"
    stage = make(policies=rules)
    stage.article("bundle.created", "b1")
    spec = stage.campaign(campaign())
    assert list(placements(stage).values()) == [("b1", "2026-11-27")]
    assert order(stage, "pause", spec) == APPLIED
    stage.wait(days=1)
    assert order(stage, "resume", spec) == APPLIED
    assert [event.data["target_day"] for event in stage.events(VideoRescheduled)] == ["2026-11-28"]


def test_a_cancelled_campaign_takes_back_what_it_can(make: Make) -> None:
    stage = make()
    stage.warm("b1", "b2")
    spec = stage.campaign(campaign(refs=("r1", "r2"), targets=ALL))
    sent = stage.commands(kind="configure_video")[0]
    stage.send_all()
    later = stage.campaign(campaign("later"))
    assert order(stage, "cancel", spec) == APPLIED
    assert {stage.video(video).state for video in stage.video_ids(later)} == {"planned"}
    video = stage.video(sent["video_id"])
    assert (video.state, video.reason) == ("cancelled", "its campaign is cancelled")
    taken_back = stage.commands(kind="unschedule_video")
    assert {row["bundle_id"] for row in taken_back} == {"b1", "b2"}
    assert {row["campaign_id"] for row in taken_back} == {spec.campaign_id}


def test_a_campaign_is_completed_when_nothing_of_it_is_under_way(make: Make) -> None:
    stage = make()
    stage.warm("b1", "b2")
    spec = stage.campaign(campaign(targets=ALL))
    stage.send_all()
    for video, (bundle, _) in placements(stage).items():
        assert stage.events(CampaignCompleted) == []
        stage.article("video.posted", bundle, video_id=video, url="https://example.com/1")
    assert len(stage.events(CampaignCompleted)) == 1
    assert order(stage, "pause", spec) == ("refused", "a campaign that is completed cannot be paused")


@pytest.mark.parametrize(
    ("first", "then", "why"),
    [
        (["start"], "start", "a campaign that is running cannot be started"),
        ([], "pause", "a campaign that is draft cannot be paused"),
        (["start"], "resume", "a campaign that is running cannot be resumed"),
        (["cancel"], "start", "a campaign that is cancelled cannot be started"),
    ],
)
def test_what_the_status_does_not_allow_is_refused(make: Make, first: list[str], then: str, why: str) -> None:
    stage = make()
    stage.warm("b1")
    spec, _ = drafted(stage, campaign())
    for what in first:
        assert order(stage, what, spec) == APPLIED
    assert order(stage, then, spec) == ("refused", why)
