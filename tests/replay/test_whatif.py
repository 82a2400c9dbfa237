"""Other policies over history: the same ones decide the same, and where history has no answer, none is made up."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.briefing import service_of
from orchestrator.database import Database
from orchestrator.replay.whatif import Report, what_if
from tests.brain.stage import POLICIES, Make, Stage, campaign
from tests.simulation.world import POLICIES as CANDIDATES
from tests.simulation.world import World

FAILED = {"error_code": "network_error", "message": "lost", "retry": {"will_retry": False}}
RETRIES = POLICIES + "  failure: {codes: {'network_*': retry}, retries: 1, backoff: [5m]}\n"
SUNDAYS = POLICIES + "  posting: {days: [sun]}\n"


def two_accounts(stage: Stage, *refs: str) -> list[str]:
    """A campaign on one of two warm accounts."""
    stage.warm("b1", "b2")
    targets = "[{country: US, platform: tiktok, accounts: 1}]"
    return stage.video_ids(stage.campaign(campaign(refs=refs or ("one",), targets=targets)))


def kinds(report: Report) -> list[tuple[list[str], list[str]]]:
    return [([one.kind for one in d.taken], [one.kind for one in d.candidate]) for d in report.differences]


@pytest.mark.parametrize("seed", range(8))
def test_the_same_policies_decide_the_same(database: Database, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(World, "_policies", World._nothing)
    world = World(database, seed)
    try:
        world.run(40)
    finally:
        world.close()
    report = what_if(database, str(service_of(database).policies))
    assert (report.differences, report.stopped) == ([], {})
    assert report.taken == report.comparable == report.candidate
    assert sum(report.taken.values()) == len(world.happened)


@pytest.mark.parametrize("candidate", CANDIDATES)
def test_no_candidate_is_given_answers_to_what_it_did_not_ask(database: Database, candidate: str) -> None:
    world = World(database, 7)
    try:
        world.run(40)
    finally:
        world.close()
    report = what_if(database, candidate)
    assert sum(report.comparable.values()) <= sum(report.taken.values())
    assert report.stopped.keys() <= {difference.subject for difference in report.differences}
    stopped: set[str] = set()
    for difference in report.differences:
        assert difference.subject not in stopped, "it was told of after it had stopped"
        if difference.stops is not None:
            stopped.add(difference.subject)


def test_a_video_stops_where_something_else_would_have_been_sent(make: Make) -> None:
    stage = make(policies=RETRIES)
    (video,) = two_accounts(stage)
    stage.send_all()
    stage.wait(days=2)
    carrier = stage.video(video).bundle_id
    failed = stage.article("video.post_failed", str(carrier), video_id=video, **FAILED)
    stage.wait(hours=1)
    stage.send_all()
    stage.article("video.posted", str(carrier), video_id=video, url="https://example.com/1")
    report = what_if(stage.database, POLICIES)
    (difference,) = report.differences
    assert (difference.message_id, difference.subject, difference.country) == (failed, f"video:{video}", "US")
    assert kinds(report) == [(["retry"], ["reroute"])]
    assert "network_error" in str(difference.taken[0].reason)
    assert difference.stops is not None
    other = "b2" if carrier == "b1" else "b1"
    assert f"for {other}" in difference.stops
    assert f"for {carrier}" in difference.stops
    assert list(report.stopped) == [f"video:{video}"]
    assert report.as_dict()["countries"] == [
        {"country": "US", "taken": report.countries["US"]["taken"], "candidate": 4, "differences": 1, "stopped": 1}
    ]


def test_what_is_decided_afterwards_about_it_is_not_compared(make: Make) -> None:
    stage = make(policies=RETRIES)
    (video,) = two_accounts(stage)
    stage.send_all()
    stage.wait(days=2)
    carrier = str(stage.video(video).bundle_id)
    for _ in range(2):
        stage.article("video.post_failed", carrier, video_id=video, **FAILED)
        stage.wait(hours=1)
        stage.send_all()
    report = what_if(stage.database, POLICIES)
    assert (report.taken["retry"], report.taken["reroute"]) == (1, 1)
    assert (report.comparable["retry"], report.comparable["reroute"]) == (1, 0)
    assert report.candidate["reroute"] == 1
    assert report.count == 1


def test_what_was_never_sent_parts_nothing(make: Make) -> None:
    stage = make(policies=POLICIES, mode="observe")
    two_accounts(stage, "one", "two", "three")
    stage.wait(days=1)
    report = what_if(stage.database, SUNDAYS)
    assert report.count >= 2
    assert report.stopped == {}
    days = [(d.taken[0].what["target_day"], d.candidate[0].what["target_day"]) for d in report.differences[:2]]
    assert all(was != would for was, would in days)


def test_the_candidates_own_timers_ring(make: Make) -> None:
    stage = make()
    (video,) = two_accounts(stage)
    stage.send_all()
    stage.wait(days=2)
    stage.article("video.upload_started", str(stage.video(video).bundle_id), video_id=video)
    stage.wait(minutes=50)
    stage.article("video.posted", str(stage.video(video).bundle_id), video_id=video, url="https://example.com/1")
    impatient = POLICIES + "  failure: {stuck_after: {uploading: 10m}}\n"
    report = what_if(stage.database, impatient)
    assert kinds(report) == [([], ["wait"])]
    assert "look_up_slot" in str(report.differences[0].stops)
    assert what_if(stage.database, POLICIES + "  failure: {stuck_after: {uploading: 55m}}\n").count == 0


def test_an_account_stops_where_it_would_not_have_been_warmed(make: Make) -> None:
    stage = make()
    stage.article("bundle.created", "b1")
    stage.article("bundle.ready", "b1")
    stage.send_all()
    for event in ("warming_started", "warming_completed"):
        stage.wait(days=1)
        stage.article(f"bundle.{event}", "b1")
    stage.campaign(campaign(targets="[{country: US, platform: tiktok, bundles: [b1]}]"))
    report = what_if(stage.database, "version: 1\ndefaults: {warming: {start: manual}}\n")
    decided, sent, placed = report.differences
    assert kinds(report) == [(["warm"], []), ([], []), (["place"], ["wait"])]
    assert (decided.subject, decided.stops) == ("bundle:b1", None)
    assert (sent.subject, "start_warming" in str(sent.stops)) == ("bundle:b1", True)
    # What TokPortal reported of the warming answers a command that was never sent: b1 is not warm on that lane.
    assert placed.subject.startswith("video:")
    assert "not postable: ready" in str(placed.candidate[0].reason)


def test_the_candidate_takes_the_place_of_all_that_was_in_force(make: Make) -> None:
    stage = make(policies=SUNDAYS, mode="observe")
    stage.warm("b1")
    stage.policies(RETRIES)
    stage.policies(SUNDAYS)
    targets = "[{country: US, platform: tiktok, bundles: [b1]}]"
    stage.campaign(campaign(refs=("one", "two"), targets=targets))
    assert what_if(stage.database, SUNDAYS).count == 0
    assert what_if(stage.database, POLICIES).count == 2


def test_only_a_stretch_counts(make: Make) -> None:
    stage = make(policies=POLICIES, mode="observe")
    two_accounts(stage, "one", "two")
    with stage.database.read() as connection:
        middle = stage.log.head(connection)
    spec = campaign("later", refs=("x1", "x2", "x3"), targets="[{country: US, platform: tiktok, accounts: 1}]")
    stage.wait(hours=1)
    stage.campaign(spec)
    whole = what_if(stage.database, SUNDAYS)
    late = what_if(stage.database, SUNDAYS, first=middle + 1)
    early = what_if(stage.database, SUNDAYS, last=middle)
    assert sum(whole.taken.values()) == sum(late.taken.values()) + sum(early.taken.values())
    assert all(difference.position > middle for difference in late.differences)
    assert all(difference.position <= middle for difference in early.differences)
    assert early.count
    assert late.count


def test_nothing_is_written(make: Make) -> None:
    stage = make(policies=RETRIES)
    two_accounts(stage)
    stage.send_all()
    stage.wait(days=2)

    def everything() -> tuple[Any, ...]:
        with stage.database.read() as connection:
            return stage.log.head(connection), len(stage.commands()), sorted(stage.timers().items())

    before = everything()
    what_if(stage.database, POLICIES)
    assert everything() == before
