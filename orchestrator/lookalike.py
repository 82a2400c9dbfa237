"""The sandbox that `serve` runs beside itself in the mode of that name, unless it is pointed at another one."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path

from orchestrator.database.connection import parse_url
from orchestrator.secrets import Secret
from orchestrator.settings import Mode, Settings
from orchestrator.supervisor import Child
from orchestrator.webhooks.endpoints import PATH

SANDBOX = "sandbox"
SECRET = "SANDBOX_WEBHOOK_SECRET"  # noqa: S105
"""The variable in which the sandbox is told the secret that it signs with."""


def is_embedded(settings: Settings) -> bool:
    """Whether this service has a sandbox of its own: not where another one is named by its address."""
    return settings.mode is Mode.SANDBOX and settings.names_tokportal


def embedded(settings: Settings, secret: Secret, port: int, began: datetime | None, *, demo: bool) -> Child:
    """`secret` signs its webhooks; `port` is where it listens; `began` is the real time at which the world's clock did,
    where that is not the real one."""
    state = state_of(settings)
    clock = ["--clock", str(settings.clock), "--began", began.isoformat()] if settings.clock and began else []
    command = [
        *(sys.executable, "-m", "orchestrator", "sandbox", "--with-parent", "--port", str(port)),
        *("--state", str(state)),
        *clock,
        *("--webhook", _door(settings), "--webhook-secret-env", SECRET),
        "--demo" if demo else "--adopt",
    ]
    return Child(command, {SECRET: secret.reveal()})


def base_url(port: int) -> str:
    return f"http://127.0.0.1:{port}/api/ext"


def state_of(settings: Settings) -> Path:
    """The file in which the sandbox keeps its world: each database has its own."""
    name = Path(parse_url(settings.database_url.reveal()).database or "").name
    return settings.data_dir / f"{name.removesuffix('.db')}.sandbox.db"


def _door(settings: Settings) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}{PATH}"
