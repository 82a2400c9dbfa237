"""The sandbox that a service in sandbox mode starts beside itself."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from orchestrator.lookalike import SECRET, base_url, embedded, is_embedded, state_of
from orchestrator.secrets import Secret
from orchestrator.settings import Settings


def settings(folder: Path, **environ: str) -> Settings:
    return Settings.load({"ORCHESTRATOR_MODE": "sandbox", **environ}, folder)


def option(command: list[str], name: str) -> str:
    return command[command.index(name) + 1]


def test_a_sandbox_world_has_one_of_its_own_unless_another_is_named(tmp_path: Path) -> None:
    assert is_embedded(settings(tmp_path))
    assert not is_embedded(settings(tmp_path, TOKPORTAL_BASE_URL="http://127.0.0.1:8090/api/ext"))
    assert not is_embedded(settings(tmp_path, ORCHESTRATOR_MODE="observe"))


def test_where_the_real_tokportal_is_named_the_sandbox_plays_all_the_same_within_its_own_world(tmp_path: Path) -> None:
    """As where one .env file serves all modes."""
    assert is_embedded(settings(tmp_path, TOKPORTAL_BASE_URL="https://app.tokportal.com/api/ext"))


def test_it_delivers_to_our_door_and_signs_with_our_secret_which_no_argument_shows(tmp_path: Path) -> None:
    command, environment = embedded(settings(tmp_path), Secret("s3cret"), 4711, None, demo=False)
    command = list(command)

    assert option(command, "--webhook") == "http://127.0.0.1:8080/webhooks/tokportal"
    assert environment == {SECRET: "s3cret"} and option(command, "--webhook-secret-env") == SECRET
    assert "s3cret" not in command
    assert option(command, "--port") == "4711" and base_url(4711) == "http://127.0.0.1:4711/api/ext"
    assert "--adopt" in command and "--demo" not in command and "--clock" not in command


@pytest.mark.parametrize(("host", "address"), [("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("::1", "[::1]")])
def test_a_door_that_is_open_to_all_is_reached_on_this_machine(tmp_path: Path, host: str, address: str) -> None:
    given = settings(tmp_path, ORCHESTRATOR_HOST=host, ORCHESTRATOR_API_TOKENS="ann:admin:0123456789abcdef")
    command, _ = embedded(given, Secret("s"), 1, None, demo=False)

    assert option(list(command), "--webhook") == f"http://{address}:8080/webhooks/tokportal"


def test_its_time_is_ours(tmp_path: Path) -> None:
    began = datetime(2026, 11, 26, 5, tzinfo=UTC)
    given = settings(tmp_path, ORCHESTRATOR_CLOCK="2026-12-01T00:00:00Z@600")
    command = list(embedded(given, Secret("s"), 1, began, demo=True).command)

    assert option(command, "--clock") == "2026-12-01T00:00:00Z@600"
    assert option(command, "--began") == began.isoformat()
    assert "--demo" in command and "--adopt" not in command


def test_each_database_has_a_world_of_its_own(tmp_path: Path) -> None:
    ours = settings(tmp_path, ORCHESTRATOR_DATABASE_URL="sqlite:///here/ours.db")
    theirs = settings(tmp_path, ORCHESTRATOR_DATABASE_URL="postgresql://ann@localhost/theirs")

    assert state_of(ours) == tmp_path / "here" / "ours.sandbox.db"
    assert state_of(theirs) == tmp_path / "data" / "theirs.sandbox.db"
