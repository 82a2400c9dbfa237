from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from itertools import islice, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.simulate.dialect import Dialect
from orchestrator.simulate.events import types
from orchestrator.simulate.world import COUNTRIES, World

START = datetime(2026, 11, 20, tzinfo=UTC)
DIALECTS = pytest.mark.parametrize("dialect", list(Dialect))

# What may come next on one bundle, respectively for one video.
BUNDLE_AFTER = {
    None: {"bundle.created"},
    "bundle.created": {"bundle.ready"},
    "bundle.ready": {"bundle.warming_started"},
    "bundle.warming_started": {"bundle.warming_completed", "bundle.warming_failed"},
    "bundle.warming_failed": {"bundle.warming_started"},
    "bundle.warming_completed": {"bundle.banned"},
    "bundle.banned": set(),
}
VIDEO_AFTER = {
    None: {"video.upload_started"},
    "video.upload_started": {"video.upload_completed"},
    "video.upload_completed": {"video.posted", "video.post_failed"},
    "video.post_failed": {"video.upload_started"},
    "video.posted": {"video.analytics_updated"},
    "video.analytics_updated": {"video.analytics_updated"},
}


def contents(dialect: Dialect, amount: int, **settings: Any) -> list[dict[str, Any]]:
    return [json.loads(message.body) for message in islice(World(dialect, start=START, **settings), amount)]


@given(seed=st.integers(0, 2**32), dialect=st.sampled_from(Dialect))
def test_same_seed_same_bytes(seed: int, dialect: Dialect) -> None:
    first, again = (
        [message.body for message in islice(World(dialect, start=START, bundles=3, seed=seed), 60)] for _ in range(2)
    )
    assert first == again


@DIALECTS
def test_another_start_is_another_cast(dialect: Dialect) -> None:
    later = World(dialect, start=START.replace(hour=1), bundles=5)
    names = {message.event_id for message in islice(World(dialect, start=START, bundles=5), 100)}
    assert names.isdisjoint(message.event_id for message in islice(later, 100))


@DIALECTS
def test_ids_are_unique_and_time_only_moves_on(dialect: Dialect) -> None:
    messages = contents(dialect, 3000)
    times = [message.get("timestamp") or message["created_at"] for message in messages]
    assert len({message["id"] for message in messages}) == 3000
    assert all(earlier < later for earlier, later in pairwise(times))


def test_an_article_life_is_causally_ordered() -> None:
    bundles: dict[str, str | None] = {}
    videos: dict[str, str | None] = {}
    warmed: set[str] = set()
    for message in contents(Dialect.ARTICLE, 20_000, bundles=40, failures=0.3, bans=0.05):
        event, bundle = message["event"], message["bundle_id"]
        if event.startswith("bundle."):
            assert event in BUNDLE_AFTER[bundles.get(bundle)]
            bundles[bundle] = event
            if event == "bundle.warming_completed":
                warmed.add(bundle)
            continue
        assert bundle in warmed
        assert bundles[bundle] != "bundle.banned"
        video, before = message["data"]["video_id"], videos.get(message["data"]["video_id"])
        assert event in VIDEO_AFTER[before]
        videos[video] = event
        if event == "video.post_failed" and not message["data"]["retry"]["will_retry"]:
            del videos[video]


def test_a_saved_account_id_changes_with_a_remake_and_is_null_before_the_review() -> None:
    current: dict[str, str | None] = {}
    remakes = 0
    for message in contents(Dialect.PUBLIC, 20_000, bundles=20, bans=0.1):
        data = message["data"]
        if "bundle_id" not in data or "saved_account_id" not in data:
            continue
        bundle, saved = data["bundle_id"], data["saved_account_id"]
        if message["type"] == "account.remade":
            remakes += 1
            assert saved != current[bundle]
        elif message["type"] in ("account.configured", "account.published"):
            assert saved is None
            continue
        elif message["type"] != "account.in_review":
            assert saved == current[bundle]
        current[bundle] = saved
    assert remakes > 10


@DIALECTS
def test_the_stream_spans_bundles_countries_and_most_types(dialect: Dialect) -> None:
    messages = contents(dialect, 20_000, bundles=50, failures=0.1, bans=0.02)
    created = [message for message in messages if (message.get("type") or message["event"]) == "bundle.created"]
    countries = {message.get("country") or message["data"]["country"] for message in created}
    seen = {message.get("type") or message["event"] for message in messages}
    assert len(created) >= 50
    assert len(countries) == len(COUNTRIES)
    missing = set(types(dialect)) - seen
    if dialect is Dialect.ARTICLE:
        assert not missing
    else:
        assert missing <= {
            "webhook.test",
            "account.distribution_warning",
            "account.revealed",
            "bundle.archived",
            "credits.restored",
            "subscription.cancelled",
            "subscription.ended",
        }


@pytest.mark.parametrize("failures", [0.0, 0.1, 0.5, 1.0])
def test_the_share_of_failures_is_that_of_videos_never_posted(failures: float) -> None:
    ends: Counter[str] = Counter()
    for message in contents(Dialect.ARTICLE, 30_000, failures=failures):
        final = message["event"] == "video.post_failed" and not message["data"]["retry"]["will_retry"]
        if final or message["event"] == "video.posted":
            ends[message["event"]] += 1
    assert ends["video.post_failed"] / ends.total() == pytest.approx(failures, abs=0.03)


def test_without_failures_and_bans_nothing_goes_wrong() -> None:
    events = {message["event"] for message in contents(Dialect.ARTICLE, 5000, failures=0.0, bans=0.0)}
    assert events.isdisjoint({"video.post_failed", "bundle.warming_failed", "bundle.banned"})
