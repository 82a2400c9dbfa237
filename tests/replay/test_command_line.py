"""Replay, what-if and the past on the command line: what is printed, and the exit code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from orchestrator.cli.app import app
from orchestrator.database import Database
from tests.brain.stage import POLICIES, Stage, campaign
from tests.replay.test_replay import change, told


@pytest.fixture
def stage(migrated_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Stage]:
    """A stage on the database of the command line."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORCHESTRATOR_DATABASE_URL", migrated_url)
    with closing(Database(migrated_url, connections=3)) as database:
        stage = Stage(database)
        yield stage
        stage.close()


def run(*words: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == code, (result.output, result.exception)
    return result


def test_replay_says_that_history_repeats_itself(stage: Stage) -> None:
    told(stage)
    assert "History repeats itself" in run("replay").stdout
    report: dict[str, Any] = json.loads(run("replay", "--json", "--country", "FR").stdout)
    assert (report["differences"], report["items"]) == (0, [])
    assert report["compared"] > 0


def test_replay_shows_what_differs_and_fails(stage: Stage) -> None:
    told(stage)
    at = change(stage.database, "VideoPlanned", lambda state: state["data"].update(target_day="2026-12-31"))
    shown = run("replay", code=1).stdout
    assert f"position {at}: work msg_" in shown
    assert "data.target_day: 2026-12-31 → 2026-11-2" in shown
    report = json.loads(run("replay", "--json", code=1).stdout)
    assert (report["errors"], report["items"][0]["position"]) == (1, at)
    assert run("replay", "--from", str(at + 1)).exit_code == 0


def test_a_stretch_must_be_one(stage: Stage) -> None:
    told(stage)
    run("replay", "--from", "5", "--to", "4", code=2)
    run("replay", "--to", "1999-01-01", code=2)


def test_what_if_shows_both_side_by_side(stage: Stage, tmp_path: Path) -> None:
    stage.order({"command": "mode", "mode": "observe", "reads": False})
    stage.warm("b1")
    stage.campaign(campaign(targets="[{country: US, platform: tiktok, bundles: [b1]}]"))
    candidate = tmp_path / "candidate.yaml"
    candidate.write_text(POLICIES + "  posting: {days: [sun]}\n")
    shown = run("policy", "what-if", str(candidate)).stdout
    assert "taken      place: b1 takes it on 2026-11-24" in shown
    assert "candidate  place: b1 takes it on 2026-11-29" in shown
    assert "1 differences" in shown
    report = json.loads(run("policy", "what-if", str(candidate), "--json").stdout)
    assert (report["differences"], report["stopped"]) == (1, [])
    candidate.write_text("version: 2\n")
    assert run("policy", "what-if", str(candidate), code=1).exception is not None


def test_the_past_is_shown(stage: Stage) -> None:
    told(stage)
    states = {"BundleRegistered": "unknown", "BundleCreated": "created", "BundleReady": "ready"}
    with stage.database.read() as connection:
        log = stage.log.after(connection, 0, 1_000)
    positions = {row.topic: row.position for row in log if row.originator_id == "bundle:b1"}
    for topic, state in states.items():
        position = positions[topic]
        then: dict[str, Any] = json.loads(run("bundles", "show", "b1", "--as-of", str(position), "--json").stdout)
        assert (then["state"], then["position"]) == (state, position)
        listed = json.loads(run("bundles", "list", "--as-of", str(position), "--json").stdout)
        assert (listed["items"], listed["position"]) == ([then], position)
    assert json.loads(run("videos", "list", "--as-of", str(positions["BundleReady"]), "--json").stdout)["items"] == []
    history = json.loads(run("history", "bundle", "b1", "--as-of", str(positions["BundleReady"]), "--json").stdout)
    assert [item["event"] for item in history["items"]] == ["BundleCreated", "WarmingRequested", "BundleReady"]
    run("bundles", "show", "b1", "--as-of", "9999", code=1)
