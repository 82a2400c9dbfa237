"""The sandbox that a service in sandbox mode starts beside itself."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from orchestrator.database import Database
from orchestrator.lookalike import SECRET, base_url, embedded, is_embedded, place_of
from orchestrator.sandbox.hold import Hold, is_held
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
    command, environment, _ = embedded(settings(tmp_path), Secret("s3cret"), tmp_path / "w.db", 4711, None, demo=False)
    command = list(command)

    assert option(command, "--webhook") == "http://127.0.0.1:8080/webhooks/tokportal"
    assert environment == {SECRET: "s3cret"} and option(command, "--webhook-secret-env") == SECRET
    assert "s3cret" not in command
    assert option(command, "--port") == "4711" and base_url(4711) == "http://127.0.0.1:4711/api/ext"
    assert "--adopt" in command and "--demo" not in command and "--clock" not in command


@pytest.mark.parametrize(("host", "address"), [("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("::1", "[::1]")])
def test_a_door_that_is_open_to_all_is_reached_on_this_machine(tmp_path: Path, host: str, address: str) -> None:
    given = settings(tmp_path, ORCHESTRATOR_HOST=host, ORCHESTRATOR_API_TOKENS="ann:admin:0123456789abcdef")
    command, _, _ = embedded(given, Secret("s"), tmp_path / "w.db", 1, None, demo=False)

    assert option(list(command), "--webhook") == f"http://{address}:8080/webhooks/tokportal"


def test_its_time_is_ours(tmp_path: Path) -> None:
    began = datetime(2026, 11, 26, 5, tzinfo=UTC)
    given = settings(tmp_path, ORCHESTRATOR_CLOCK="2026-12-01T00:00:00Z@600")
    command = list(embedded(given, Secret("s"), tmp_path / "w.db", 1, began, demo=True).command)

    assert option(command, "--clock") == "2026-12-01T00:00:00Z@600"
    assert option(command, "--began") == began.isoformat()
    assert "--demo" in command and "--adopt" not in command


@pytest.fixture
def database(migrated_url: str) -> Iterator[Database]:
    with closing(Database(migrated_url, connections=1)) as database:
        yield database


def test_all_services_on_one_database_have_one_world(database: Database, tmp_path: Path) -> None:
    url = database.url.render_as_string(hide_password=False)
    here = settings(tmp_path / "here", ORCHESTRATOR_DATABASE_URL=url)
    there = settings(tmp_path / "there", ORCHESTRATOR_DATABASE_URL=url)

    state, port = place_of(here, database)
    assert place_of(here, database) == place_of(there, database) == (state, port)
    assert state.name.endswith(".sandbox.db") and state.is_absolute()


def test_a_port_that_somebody_else_has_taken_is_given_up_and_that_of_a_sandbox_that_runs_is_not(
    database: Database, tmp_path: Path
) -> None:
    given = settings(tmp_path)
    state, port = place_of(given, database)
    with socket.create_server(("127.0.0.1", port)):
        hold = Hold(state)
        assert hold.take()
        assert place_of(given, database) == (state, port)
        hold.release()
        _, other = place_of(given, database)
    assert other != port
    assert place_of(given, database) == (state, other)


def test_a_world_is_open_once(tmp_path: Path) -> None:
    state = tmp_path / "world.db"
    first, second = Hold(state), Hold(state)
    assert not is_held(state)

    assert first.take() and is_held(state)
    assert not second.take()
    first.release()
    assert second.take()
    second.release()
