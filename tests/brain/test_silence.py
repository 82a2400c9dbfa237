"""Webhooks that stop coming, from one country or altogether, are noticed while something is due."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from orchestrator.engine.reactions.silence import TIMER
from tests.brain.stage import Make, Stage, campaign

TARGETS = "[{country: US, platform: tiktok, bundles: [us1]}, {country: FR, platform: tiktok, bundles: [fr1]}]"


def told(stage: Stage) -> list[dict[str, Any]]:
    return [row["body"] for row in stage.commands(kind="alert") if row["body"]["alert"] == "silence"]


def due(stage: Stage) -> datetime:
    """Videos are with TokPortal for one account in each of two countries; when the first window is open."""
    stage.warm("us1")
    stage.warm("fr1", country="FR")
    spec = stage.campaign(campaign(targets=TARGETS))
    stage.send_all()
    days = [leg.target_day for video in stage.video_ids(spec) for leg in stage.video(video).attempts]
    assert len(days) == 2
    return datetime.fromisoformat(f"{min(map(str, days))}T12:00:00+00:00")


def chat(stage: Stage, until: datetime, *bundles: str) -> None:
    """Webhooks come every six hours from these bundles."""
    while stage.now < until:
        stage.wait(hours=6)
        for bundle in bundles:
            country = "FR" if bundle.startswith("fr") else "US"
            stage.article("video.analytics_updated", bundle, country=country, video_id=f"other_{bundle}", views=1)


def test_a_country_that_falls_silent_while_others_speak_is_told_once_and_when_it_speaks_again(make: Make) -> None:
    stage = make()
    opened = due(stage)
    chat(stage, opened + timedelta(days=2), "us1")
    (alert,) = told(stage)
    assert "no webhook came from FR since" in alert["text"]
    assert alert["subject"] == "FR"
    chat(stage, opened + timedelta(days=2, hours=12), "us1", "fr1")
    assert [(body.get("resolves", False), body["subject"]) for body in told(stage)] == [(False, "FR"), (True, "FR")]


def test_silence_everywhere_is_told_as_one(make: Make) -> None:
    stage = make()
    opened = due(stage)
    stage.at(opened + timedelta(days=1, hours=18))
    (alert,) = told(stage)
    assert "no webhook came from TokPortal since" in alert["text"]
    stage.article("bundle.ready", "us1")
    assert [body.get("resolves", False) for body in told(stage)] == [False, True]


def test_nobody_listens_before_the_day_of_a_post_or_after_the_last_one(make: Make) -> None:
    stage = make()
    opened = due(stage)
    stage.at(opened)
    assert told(stage) == []
    for bundle, country in (("us1", "US"), ("fr1", "FR")):
        for row in stage.commands(kind="configure_video", bundle_id=bundle):
            stage.article("video.posted", bundle, country=country, video_id=row["video_id"], url="https://t.example/1")
    stage.wait(days=9)
    assert told(stage) == []
    assert TIMER not in stage.timers()


def test_a_service_that_was_down_hears_first_what_was_kept_back(make: Make) -> None:
    stage = make()
    opened = due(stage)
    stage.at(opened)
    stage.now = opened + timedelta(days=3)
    stage.ringer.forget()
    stage.ringer.step()
    stage.run()
    assert told(stage) == []
    stage.wait(hours=2)
    assert len(told(stage)) == 1
