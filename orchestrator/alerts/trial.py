"""Tries channels out: a test message through each, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.alerts import allows_private
from orchestrator.alerts.channels import Channels, NotSentError
from orchestrator.alerts.messages import Text
from orchestrator.settings import Settings

TEXT = Text(
    "Test of the alerts",
    "This is a test of the orchestrator's alerts: whoever reads it will read the real ones too.",
    is_good=True,
)


def send(settings: Settings, references: Mapping[str, str]) -> list[dict[str, Any]]:
    """One row for each channel: `sent`, `failed` with the reason, or `unset`. URLs are masked."""
    channels = Channels(settings.environment.get, allow_private=allows_private(settings))
    rows = []
    for name, reference in references.items():
        row: dict[str, Any] = {"channel": name, "url": None, "result": "sent", "reason": None}
        channel = channels.open(name, reference) if channels.url(reference) is not None else None
        if channel is None:
            row |= {"result": "unset", "reason": f"{reference.removeprefix('env:')} is not set"}
        else:
            row["url"] = channel.shown
            try:
                channel.send(TEXT)
            except NotSentError as error:
                row |= {"result": "failed", "reason": str(error)}
        rows.append(row)
    return rows
