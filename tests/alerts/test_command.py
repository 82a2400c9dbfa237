"""`orchestrator alerts test`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestrator.cli.app import app
from tests.alerts.receiver import Receiver, receiving

POLICIES = """
version: 1
channels:
  ops: {url: "env:OPS_ALERT_URL"}
  mail: {url: "env:MAIL_URL"}
"""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "policies.yaml").write_text(POLICIES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORCHESTRATOR_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("ORCHESTRATOR_MODE", "sandbox")
    for name in ("OPS_ALERT_URL", "MAIL_URL"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["alerts", "test", *arguments])
    return result.exit_code, result.output


def test_each_channel_gets_a_message_and_urls_are_not_shown(
    folder: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPS_ALERT_URL", receiver.url("canary7d1e5c"))
    code, output = run("--json")

    assert code == 1
    assert json.loads(output)["channels"] == [
        {"channel": "ops", "url": "json://***", "result": "sent", "reason": None},
        {"channel": "mail", "url": None, "result": "unset", "reason": "MAIL_URL is not set"},
    ]
    assert receiver.titles == ["Test of the alerts"]


def test_one_channel_alone(folder: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPS_ALERT_URL", receiver.url("canary7d1e5c"))
    code, output = run("--channel", "ops")
    assert code == 0
    assert "json://***" in output and "canary" not in output

    receiver.status = 403
    code, output = run("--channel", "ops")
    assert code == 1
    assert "403" in output and "canary" not in output


def test_outside_a_sandbox_world_this_machine_is_not_sent_to(
    folder: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORCHESTRATOR_MODE", "observe")
    monkeypatch.setenv("OPS_ALERT_URL", receiver.url().replace("json://", "jsons://"))
    code, output = run("--channel", "ops")
    assert code == 1
    assert "127.0.0.1 is no address of the public internet" in output
    assert receiver.requests == []


def test_a_channel_that_is_not_there(folder: Path) -> None:
    result = CliRunner().invoke(app, ["alerts", "test", "--channel", "opps"])
    assert "there is no channel 'opps'" in str(result.exception)
