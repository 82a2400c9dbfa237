"""What a person is told of a message that was to be applied again."""

from __future__ import annotations

import json

import pytest
import typer

from orchestrator.api.queries import exists
from orchestrator.api.queries import messages as queries
from orchestrator.cli import messages
from orchestrator.cli.giving import Outcome
from tests.cli.terminal import Terminal


def retried(monkeypatch: pytest.MonkeyPatch, outcome: Outcome, status: str, reason: str | None = None) -> None:
    """The order ends so, and the message that it is about is `status` then."""
    monkeypatch.setattr(messages, "give", lambda _: outcome)
    monkeypatch.setattr(messages, "read", lambda query: query(None))
    monkeypatch.setattr(exists, "known_message", lambda _, name: name)
    monkeypatch.setattr(queries, "message_item", lambda *_: {"status": status, "reason": reason})


DONE = Outcome("msg_order", "applied")


@pytest.mark.parametrize("status", ["applied", "test"])
def test_a_message_that_is_applied_now(monkeypatch: pytest.MonkeyPatch, status: str) -> None:
    terminal = Terminal(monkeypatch)
    retried(monkeypatch, DONE, status)
    messages.retry("msg_1")
    assert terminal.lines == ["The message was applied again.", "The order's message is msg_order."]


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("quarantined", "The message is still quarantined: why"),
        ("unrecognised", "The message is still unrecognised: why"),
        ("conflict", "The message is in conflict: why"),
    ],
)
def test_a_message_that_is_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], status: str, said: str
) -> None:
    terminal = Terminal(monkeypatch)
    retried(monkeypatch, DONE, status, "why")
    with pytest.raises(typer.Exit) as stop:
        messages.retry("msg_1")
    assert (stop.value.exit_code, terminal.lines) == (1, [said])
    with pytest.raises(typer.Exit):
        messages.retry("msg_1", json=True)
    assert json.loads(capsys.readouterr().out) == {"message_id": "msg_order", "status": status, "reason": "why"}


def test_an_order_that_waits_says_nothing_of_the_message(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal(monkeypatch)
    retried(monkeypatch, Outcome("msg_order", "pending", "no service is running"), "quarantined", "why")
    messages.retry("msg_1")
    assert terminal.lines[0] == "Journalled; no service is running."
