"""The demo as a person runs it: real processes, a real world, a few seconds."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import typer

from orchestrator.cli.demo import _duration
from orchestrator.clock import Scale, ScaledClock
from orchestrator.database import Database, migrate
from orchestrator.demo import world
from orchestrator.demo.beside import AFTERWARDS, prepare
from orchestrator.journal import Journal, commands
from orchestrator.sandbox.hold import Hold
from orchestrator.settings import Settings, SettingsError
from orchestrator.world import clock_of, remembered, settle
from tests.blackbox.server import run_cli


def test_a_demo_runs_and_leaves_nothing_behind(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    done = run_cli(tmp_path, "demo", "--for", "6s", "--seed", "7", "--json", seconds=180, TMPDIR=str(scratch))
    assert done.returncode == 0, done.stderr[-3_000:]
    report = json.loads(done.stdout)
    assert report["holds"] is True
    assert report["checks"].keys() == {name for name, problems in report["checks"].items() if problems == []}
    assert len(report["countries"]) == 5
    assert sum(counts["accounts"] for counts in report["countries"].values()) > 20
    assert sum(report["videos"].values()) == world.CLIPS * sum(number for _, _, number in world.TARGETS)
    # What is seen meanwhile goes to standard error, and says which world it is.
    assert "a simulated TokPortal" in done.stderr
    assert list(scratch.iterdir()) == []
    assert list(tmp_path.iterdir()) == [scratch]


@pytest.mark.parametrize(("text", "seconds"), [("60s", 60), ("2m", 120), ("1.5m", 90), ("45", 45), ("1h", 3600)])
def test_how_long(text: str, seconds: float) -> None:
    assert _duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0s", "2h", "s", "-5s", "1d", "9999999s", "1 m 2"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="write 60s or 2m"):
        _duration(text)


def settings(folder: Path, **environ: str) -> Settings:
    return Settings.load({"ORCHESTRATOR_MODE": "sandbox", **environ}, folder)


def test_a_service_with_the_demo_has_its_clock_and_policies(tmp_path: Path) -> None:
    found = prepare(settings(tmp_path))
    assert str(found.clock) == world.clock()
    policies = found.config_dir / "policies.yaml"
    assert policies.read_text() == world.POLICIES
    assert policies.is_relative_to(tmp_path / "data")
    # They may be changed there.
    policies.write_text("version: 1\n")
    assert (prepare(settings(tmp_path)).config_dir / "policies.yaml").read_text() == "version: 1\n"


def test_a_world_that_was_stopped_goes_on_from_where_it_was(tmp_path: Path) -> None:
    """However long that is ago: at this speed it would have aged by sixteen years in a day."""
    given = settings(tmp_path)
    url = given.database_url.reveal()
    (tmp_path / "data").mkdir()
    migrate(url)
    last = datetime(2027, 2, 3, 4, 5, tzinfo=UTC)
    with closing(Database(url, connections=1)) as database, closing(Journal(database)) as journal:
        received_at = (last - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
        order = {"endpoint": "test", "name": "ann", "kind": "person", "received_at": received_at}
        journal.append([commands.order({"command": "service.pause"}, **order)])

    found = prepare(given).clock
    assert found is not None and found.epoch == last + AFTERWARDS


def test_a_second_service_on_a_world_that_is_shown_keeps_its_time(tmp_path: Path) -> None:
    given = settings(tmp_path)
    (tmp_path / "data").mkdir()
    url = given.database_url.reveal()
    migrate(url)
    hold = Hold(tmp_path / "data" / "world.db")
    with closing(Database(url, connections=1)) as database:
        settle(database, "sandbox", Scale.parse("2027-05-05T00:00:00Z@6000"))
        remembered(database, "sandbox state", str(tmp_path / "data" / "world.db"))
    assert hold.take()
    assert str(prepare(given).clock) == "2027-05-05T00:00:00Z@6000"
    hold.release()
    assert str(prepare(given).clock) == world.clock()


def test_what_was_set_by_hand_stays(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    given = settings(tmp_path, ORCHESTRATOR_CONFIG_DIR="mine", ORCHESTRATOR_CLOCK="2026-12-01T00:00:00Z@60")
    assert prepare(given) == given


def test_no_demo_runs_on_a_real_account(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no demo runs on a real account"):
        prepare(settings(tmp_path, ORCHESTRATOR_MODE="observe"))


def test_without_the_demo_its_world_is_refused_and_its_clock_stays(tmp_path: Path) -> None:
    """Workers that run on it, or are started again, must not take the real time for the world's."""
    url = f"sqlite:///{tmp_path / 'orchestrator.db'}"
    migrate(url)
    with closing(Database(url, connections=1)) as database:
        settle(database, "sandbox", Scale.parse(world.clock()))
        remembered(database, "demo", "yes")
        done = run_cli(
            tmp_path, "serve", ORCHESTRATOR_MODE="sandbox", ORCHESTRATOR_DATABASE_URL=url, ORCHESTRATOR_PORT="0"
        )
        assert (done.returncode, "start it with --demo" in done.stderr) == (2, True)
        assert isinstance(clock_of(database), ScaledClock)
