"""What the read models show of stories that the engine lived through."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator.database import Database
from orchestrator.database.tables import bundles, campaigns, countries, decisions, videos
from projections import Follower
from tests.brain.stage import POLICIES, Stage, campaign


class Watched(Stage):
    """A stage whose read models one follower keeps, so that what it remembers is tried as well."""

    def __init__(self, database: Database, **options: Any) -> None:
        super().__init__(database, **options)
        self.follower = Follower(database)

    def rows(self, table: sa.Table) -> list[Any]:
        while self.follower.step():
            pass
        with self.database.read() as connection:
            return list(connection.execute(sa.select(table).order_by(table.c[next(iter(table.primary_key)).name])))

    def counts(self, subject: str) -> dict[tuple[str, str, str], int]:
        return {(r.country, r.platform, r.state): r.count for r in self.rows(countries) if r.subject == subject}


@pytest.fixture
def stage(database: Database) -> Iterator[Watched]:
    stage = Watched(database)
    yield stage
    stage.close()


def of_bundles(stage: Watched) -> dict[str, tuple[bool, str]]:
    return {row.bundle_id: (row.postable, row.group) for row in stage.rows(bundles)}


def test_new_policies_say_anew_of_every_bundle_whether_it_is_postable(stage: Watched) -> None:
    stage.warm("b1", "b2")
    stage.article("bundle.created", "b3")
    assert of_bundles(stage) == {"b1": (True, "default"), "b2": (True, "default"), "b3": (False, "default")}
    stage.policies("defaults: {posting: {postable: [created]}}\ngroups: {acme: [b2]}\n")
    assert of_bundles(stage) == {"b1": (False, "default"), "b2": (False, "acme"), "b3": (True, "default")}
    assert stage.counts("postable") == {("US", "tiktok", ""): 1}
    stage.article("bundle.banned", "b3")
    stage.article("bundle.created", "b4", country="FR")
    assert stage.counts("postable") == {("FR", "tiktok", ""): 1}
    stage.policies(POLICIES)
    assert of_bundles(stage)["b2"] == (True, "default")
    assert stage.counts("postable") == {("US", "tiktok", ""): 2}


def test_policies_that_are_refused_change_no_row(stage: Watched) -> None:
    stage.warm("b1")
    before = of_bundles(stage)
    assert stage.policies("defaults: {posting: {per_day: 9}}\n")[0] == "refused"
    assert of_bundles(stage) == before


def test_a_pause_shows_as_a_hold_until_it_ends(stage: Watched) -> None:
    stage.warm("b1")
    for command, expected in (("pause", (["paused"], False)), ("resume", ([], True))):
        stage.order({"command": f"bundle.{command}", "bundle_id": "b1", "reason": None})
        (row,) = stage.rows(bundles)
        assert (json.loads(row.holds), row.postable) == expected


def test_a_paused_market_leaves_its_bundles_postable(stage: Watched) -> None:
    stage.warm("b1")
    stage.order({"command": "market.pause", "country": "US", "platform": "tiktok", "reason": None})
    assert of_bundles(stage) == {"b1": (True, "default")}


def test_a_video_of_a_campaign_moves_and_every_read_model_tells_why(stage: Watched) -> None:
    stage.warm("b1", "b2")
    spec = stage.campaign(campaign(more="labels: {product: p1}"))
    (name,) = stage.video_ids(spec)
    stage.send_all()
    stage.article("video.post_failed", "b1", video_id=name, error_code="network_error", retry={"will_retry": False})

    (video,) = stage.rows(videos)
    assert (video.video_id, video.campaign_id, video.ref) == (name, spec.campaign_id, "teaser-1")
    assert (video.country, video.platform, video.group) == ("US", "tiktok", "default")
    assert (video.state, video.bundle_id, video.target_day) == ("planned", "b2", "2026-11-24")
    assert [(a["bundle_id"], a["state"]) for a in json.loads(video.attempts)] == [("b1", "failed"), ("b2", "planned")]
    assert video.error_code == "network_error"

    placed, moved = (row for row in stage.rows(decisions) if row.kind in ("place", "reroute"))
    assert (placed.kind, placed.video_id, placed.from_bundle, placed.to_bundle) == ("place", name, None, "b1")
    assert (moved.kind, moved.video_id, moved.from_bundle, moved.to_bundle) == ("reroute", name, "b1", "b2")
    assert moved.reason is not None
    assert moved.policy == placed.policy is not None
    assert json.loads(moved.cause)["event_id"].startswith("evt_")

    (row,) = stage.rows(campaigns)
    assert (row.status, row.name, row.wanted, json.loads(row.unmet)) == ("running", "spring", 1, [])
    assert json.loads(row.labels) == {"product": "p1"}
    assert stage.counts("videos") == {("US", "tiktok", "planned"): 1}


def test_a_campaign_that_is_placed_wants_as_many_videos_as_there_are_accounts_by_then(stage: Watched) -> None:
    """They were counted when it was drafted, and may be others since."""
    stage.warm("b1", "b2")
    spec = stage.campaign(campaign(targets="[{country: US, platform: tiktok, accounts: 3}]"), start=False)
    assert [row.wanted for row in stage.rows(campaigns)] == [3]
    stage.order({"command": "campaign.start", "campaign_id": spec.campaign_id})

    assert len(stage.rows(videos)) == 2
    assert [row.wanted for row in stage.rows(campaigns)] == [2]


def test_a_video_counts_where_it_was_wanted_while_nobody_has_it(stage: Watched) -> None:
    stage.campaign(campaign(targets="[{country: JP, platform: instagram, accounts: 1}]"))
    (video,) = stage.rows(videos)
    assert (video.state, video.bundle_id, video.country) == ("waiting", None, "JP")
    assert video.reason is not None
    assert stage.counts("videos") == {("JP", "instagram", "waiting"): 1}


def test_a_stranger_that_turns_out_to_be_ours_leaves_the_counts(stage: Watched) -> None:
    stage.warm("b1")
    (name,) = stage.video_ids(stage.campaign(campaign()))
    (sent,) = stage.dispatch()
    stage.article("video.posted", "b1", video_id="tp_1", url="https://example.com/1")
    assert stage.counts("videos") == {("US", "tiktok", "planned"): 1, ("US", "tiktok", "posted"): 1}
    stage.result(sent["command_id"], video_id="tp_1", position=1)
    found = {row.video_id: (row.state, row.merged_into) for row in stage.rows(videos)}
    assert found == {"tp_1": ("posted", name), name: ("posted", None)}
    assert stage.counts("videos") == {("US", "tiktok", "posted"): 1}


def test_the_breaker_shows_while_it_is_open(stage: Watched) -> None:
    stage.warm("b1", "b2", "b3", "b4")
    for bundle in ("b1", "b2", "b3"):
        stage.article("bundle.banned", bundle)
    assert stage.counts("breaker") == {("US", "tiktok", "open"): 1}
    assert "breaker" in {row.kind for row in stage.rows(decisions)}
    stage.order({"command": "market.resume", "country": "US", "platform": "tiktok", "reason": None})
    assert stage.counts("breaker") == {}


def test_a_pause_shows_at_its_market_until_it_is_resumed(stage: Watched) -> None:
    stage.warm("b1")
    for place in ("tiktok", "instagram"):
        stage.order({"command": "market.pause", "country": "US", "platform": place, "reason": None})
    assert stage.counts("paused") == {("US", "tiktok", ""): 1, ("US", "instagram", ""): 1}
    stage.order({"command": "market.resume", "country": "US", "platform": "tiktok", "reason": None})
    assert stage.counts("paused") == {("US", "instagram", ""): 1}


def test_resuming_ends_a_pause_and_a_breaker_that_were_both_there(stage: Watched) -> None:
    stage.warm("b1", "b2", "b3")
    stage.order({"command": "market.pause", "country": "US", "platform": "tiktok", "reason": None})
    for bundle in ("b1", "b2", "b3"):
        stage.article("bundle.banned", bundle)
    stage.order({"command": "market.resume", "country": "US", "platform": None, "reason": None})
    assert (stage.counts("paused"), stage.counts("breaker")) == ({}, {})
    stage.order({"command": "market.pause", "country": "US", "platform": "tiktok", "reason": None})
    assert (stage.counts("paused"), stage.counts("breaker")) == ({("US", "tiktok", ""): 1}, {})


def test_a_video_that_no_account_has_any_more_is_found_by_what_failed(stage: Watched) -> None:
    stage.warm("b1")
    (name,) = stage.video_ids(stage.campaign(campaign()))
    stage.send_all()
    stage.article("video.post_failed", "b1", video_id=name, error_code="network_error", retry={"will_retry": False})
    (video,) = stage.rows(videos)
    assert (video.state, video.error_code) == ("waiting", "network_error")


def test_a_video_that_failed_twice_is_found_by_what_failed_last(stage: Watched) -> None:
    stage.warm("b1", "b2")
    (name,) = stage.video_ids(stage.campaign(campaign()))
    for bundle, code in (("b1", "network_error"), ("b2", "upload_error")):
        stage.send_all()
        stage.article("video.post_failed", bundle, video_id=name, error_code=code, retry={"will_retry": False})
        assert [row.error_code for row in stage.rows(videos)] == [code]
