"""The sandbox that `serve` runs beside itself in the mode of that name, unless it is pointed at another one."""

from __future__ import annotations

import socket
import sys
from datetime import datetime
from pathlib import Path

from orchestrator.database import Database
from orchestrator.database.connection import parse_url
from orchestrator.sandbox.hold import is_held
from orchestrator.secrets import Secret
from orchestrator.settings import Mode, Settings
from orchestrator.supervisor import Child
from orchestrator.webhooks.endpoints import PATH
from orchestrator.world import remembered, replace

SANDBOX = "sandbox"
SECRET = "SANDBOX_WEBHOOK_SECRET"  # noqa: S105
"""The variable in which the sandbox is told the secret that it signs with."""


def is_embedded(settings: Settings) -> bool:
    """Whether this service has a sandbox of its own: not where another one is named by its address."""
    return settings.mode is Mode.SANDBOX and settings.names_tokportal


def place_of(settings: Settings, database: Database) -> tuple[Path, int]:
    """The file of the sandbox's world, and its port: the same for every service on this database, so that they have one
    world. The port changes only where somebody else has taken it."""
    name = Path(parse_url(settings.database_url.reveal()).database or "").name
    own = settings.data_dir / f"{name.removesuffix('.db')}.sandbox.db"
    state = Path(remembered(database, "sandbox state", str(own)))
    port = int(remembered(database, "sandbox port", str(_free_port())))
    if not is_held(state) and not _is_free(port):
        port = _free_port()
        replace(database, "sandbox port", str(port))
    return state, port


def embedded(
    settings: Settings, secret: Secret, state: Path, port: int, began: datetime | None, *, demo: bool
) -> Child:
    """`secret` signs its webhooks; `state` and `port` are its place; `began` is the real time at which the world's
    clock did, where that is not the real one."""
    clock = ["--clock", str(settings.clock), "--began", began.isoformat()] if settings.clock and began else []
    command = [
        *(sys.executable, "-m", "orchestrator", "sandbox", "--with-parent", "--port", str(port)),
        *("--state", str(state)),
        *clock,
        *("--webhook", f"{settings.url}{PATH}", "--webhook-secret-env", SECRET),
        "--demo" if demo else "--adopt",
    ]
    return Child(command, {SECRET: secret.reveal()})


def base_url(port: int) -> str:
    return f"http://127.0.0.1:{port}/api/ext"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _is_free(port: int) -> bool:
    try:
        with socket.create_server(("127.0.0.1", port)):
            return True
    except OSError:
        return False
