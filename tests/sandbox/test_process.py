"""A world out of its file, and what a restart makes of it."""

from __future__ import annotations

import re
import textwrap
from datetime import UTC, datetime
from pathlib import Path

import pytest

from orchestrator.cli.sandbox import HELP, read_file
from orchestrator.clock import Scale, ScaledClock
from orchestrator.sandbox.life import Life
from orchestrator.sandbox.model import Endpoint
from orchestrator.sandbox.process import Options, Webhook, build
from orchestrator.sandbox.worldfile import read
from orchestrator.simulate.dialect import Dialect

SCALE = Scale(datetime(2026, 12, 1, tzinfo=UTC), 600.0)
FILE = read(
    {
        "seed": 3,
        "parameters": {"credits": 77},
        "managers": {"misses": 0.5},
        "faults": {"webhooks": {"lost": 0.1}},
        "accounts": [{"country": "FR", "count": 2, "state": "warm"}],
    }
)


def opened(path: Path, **options: object) -> Life:
    return build(Options(state=path / "folder" / "world.db", **options))  # type: ignore[arg-type]


def closed(life: Life) -> Life:
    life.world.run_due()
    life.world.close()
    return life


def test_a_known_world_keeps_what_its_file_and_its_admin_said(tmp_path: Path) -> None:
    life = opened(tmp_path, file=FILE, dialect=Dialect.ARTICLE)
    assert life.world.seed == 3 and life.world.credits == 77
    life.fault_settings = read({"faults": {"webhooks": {"lost": 0.2}}}).faults
    closed(life)
    again = opened(tmp_path)
    assert again.world.seed == 3
    assert again.parameters.webhook_dialect == "article" and again.parameters.credits == 77
    assert again.habits.managers.misses == 0.5
    assert again.fault_settings.webhooks.lost == 0.2
    assert len(list(again.world.bundles())) == 2
    closed(again)


def test_the_accounts_of_a_file_are_made_once_and_its_habits_are_taken_anew(tmp_path: Path) -> None:
    closed(opened(tmp_path, file=FILE))
    again = opened(tmp_path, file=read({"seed": 3, "managers": {"misses": 0.25}, "accounts": [{"country": "DE"}]}))
    again.world.run_due()
    assert again.habits.managers.misses == 0.25
    assert [bundle.country for bundle in again.world.bundles()] == ["FR", "FR"]
    closed(again)


def test_the_clock_goes_on_from_where_it_was(tmp_path: Path) -> None:
    began = datetime(2026, 1, 1, tzinfo=UTC)
    first = closed(opened(tmp_path, clock=SCALE, began=began))
    assert isinstance(first.world.clock, ScaledClock)
    for options in ({}, {"clock": SCALE}):
        again = closed(opened(tmp_path, **options))
        assert again.world.clock.now() > datetime(2030, 1, 1, tzinfo=UTC)
    # Another clock is another beginning.
    other = closed(opened(tmp_path, clock=Scale(SCALE.epoch, 10.0)))
    assert other.world.clock.now() < datetime(2026, 12, 2, tzinfo=UTC)


def test_the_endpoint_of_the_command_line_is_one_and_has_the_secret_of_today(tmp_path: Path) -> None:
    url = "http://127.0.0.1:8080/webhooks/tokportal"
    closed(opened(tmp_path, webhook=Webhook(url=url, secret="old")))
    again = closed(opened(tmp_path, webhook=Webhook(url=url, secret="new"), dialect=Dialect.ARTICLE))
    (endpoint,) = again.world.all(Endpoint)
    assert (endpoint.url, endpoint.signing_secret, endpoint.dialect) == (url, "new", "article")


def test_a_secret_does_not_show_itself() -> None:
    assert "old" not in repr(Options(webhook=Webhook(url="http://127.0.0.1/", secret="old")))


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "world.db").write_text("this is no database, " * 100)
    with pytest.raises(Exception, match="not a database"):
        opened(tmp_path)


def _examples() -> list[str]:
    documented = (Path(__file__).parents[2] / "docs" / "sandbox.md").read_text()
    (example,) = re.findall(r"```yaml\n(.*?)```", documented, re.DOTALL)
    shown = HELP.partition("\b\n")[2].partition("\n\nGET")[0]
    return [example, textwrap.dedent(shown)]


@pytest.mark.parametrize("number", [0, 1])
def test_the_world_files_that_are_shown_can_be_used(number: int, tmp_path: Path) -> None:
    file = tmp_path / "world.yaml"
    file.write_text(_examples()[number])
    world = read_file(file)
    assert world.seed == 7 and len(world.accounts) >= 2 and world.faults.webhooks.lost == 0.02
    life = build(Options(file=world))
    life.world.run_due()
    assert len(list(life.world.bundles())) >= 6
