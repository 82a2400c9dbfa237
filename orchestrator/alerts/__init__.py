"""Tells people what the engine wants them to know: grouped by cause, through the channels that the policies name."""

from __future__ import annotations

from urllib.parse import urlsplit

from orchestrator.alerts.alerts import Alerts
from orchestrator.alerts.channels import Channels
from orchestrator.database import Database, Lease
from orchestrator.settings import Mode, Settings, is_loopback

__all__ = ["Alerts", "Channels", "allows_private", "build"]


def build(settings: Settings, database: Database, lease: Lease | None = None) -> Alerts:
    """Alerts as these settings want them told."""
    channels = Channels(settings.environment.get, allow_private=allows_private(settings))
    return Alerts(database, channels, lease=lease, public_url=settings.public_url or settings.url)


def allows_private(settings: Settings) -> bool:
    """Whether alerts may go to this machine and to private networks: only where nothing is real anyway, in a sandbox
    world, or with a TokPortal that runs on this machine."""
    return settings.mode is Mode.SANDBOX or is_loopback(urlsplit(settings.tokportal_base_url).hostname or "")
