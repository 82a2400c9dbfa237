"""What the read models show of TokPortal's own names for videos of ours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from orchestrator.database import Database
from orchestrator.database.tables import videos
from tests.brain.stage import campaign
from tests.projections.test_stories import Watched


@pytest.fixture
def stage(database: Database) -> Iterator[Watched]:
    stage = Watched(database)
    yield stage
    stage.close()


def shown(stage: Watched) -> dict[str, tuple[str, str | None]]:
    return {row.video_id: (row.state, row.merged_into) for row in stage.rows(videos)}


def wanted(stage: Watched, *refs: str) -> tuple[Any, ...]:
    stage.warm("b1")
    targets = "[{country: US, platform: tiktok, bundles: [b1]}]"
    found = stage.video_ids(stage.campaign(campaign(refs=refs, targets=targets)))
    stage.dispatch()
    return tuple((video, stage.commands(kind="configure_video", video_id=video)[-1]["command_id"]) for video in found)


def test_a_name_under_which_nothing_was_told_is_known_and_counts_nowhere(stage: Watched) -> None:
    ((video, command),) = wanted(stage, "one")
    stage.result(command, video_id="tp_1", position=1)
    assert shown(stage) == {video: ("scheduled", None), "tp_1": ("unknown", video)}
    assert stage.counts("videos") == {("US", "tiktok", "scheduled"): 1}


@pytest.mark.parametrize("seen_between", [True, False])
def test_what_turns_out_to_be_about_the_next_video_in_the_slot_moves_to_it(stage: Watched, seen_between: bool) -> None:
    (first, one), (second, two) = wanted(stage, "one", "two")
    stage.result(one, video_id="tp_1", position=1)
    stage.wait(minutes=5)
    answered = stage.now
    stage.wait(minutes=5)
    stage.article("video.upload_started", "b1", video_id="tp_1")
    if seen_between:
        assert shown(stage) == {
            first: ("uploading", None),
            second: ("planned", None),
            "tp_1": ("unknown", first),
        }
    stage.now, now = answered, stage.now
    stage.result(two, video_id="tp_1", position=1)
    stage.now = now
    assert shown(stage) == {first: ("scheduled", None), second: ("uploading", None), "tp_1": ("unknown", second)}
    assert stage.counts("videos") == {("US", "tiktok", "scheduled"): 1, ("US", "tiktok", "uploading"): 1}
