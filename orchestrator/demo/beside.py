"""The demo inside of a service that goes on afterwards: what `serve --demo` does besides."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime, timedelta
from threading import Thread

import sqlalchemy as sa

from orchestrator.clock import Scale, instant_of
from orchestrator.database import Database, migrate
from orchestrator.database.tables import journal
from orchestrator.demo.world import POLICIES, DemoError, begin, clock
from orchestrator.settings import Mode, Role, Settings, SettingsError

logger = logging.getLogger(__name__)

AFTERWARDS = timedelta(days=1)
"""How much of the world's time has passed at least when one that was stopped goes on: what its last moments sent is
past by then, and not from the future."""


def prepare(settings: Settings) -> Settings:
    """The settings with the demo's policies, and its time unless one is set. A world that was stopped goes on from
    where it was: it does not age meanwhile.

    Raises:
        SettingsError: the mode is not `sandbox`.
    """
    if settings.mode is not Mode.SANDBOX:
        raise SettingsError("--demo: it plays in a sandbox world, set ORCHESTRATOR_MODE=sandbox.")
    folder = settings.data_dir / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "policies.yaml").write_text(POLICIES, encoding="utf-8")
    scale = settings.clock
    if scale is None:
        scale = Scale.parse(clock())
        stopped = _stopped(settings)
        if stopped is not None:
            scale = replace(scale, epoch=max(scale.epoch, stopped + AFTERWARDS))
    return replace(settings, config_dir=folder, clock=scale)


def _stopped(settings: Settings) -> datetime | None:
    """When the last message came, by the world's time."""
    url = settings.database_url.reveal()
    migrate(url)
    database = Database(url, connections=1, name="orchestrator-demo")
    try:
        with database.read() as connection:
            last = connection.execute(sa.select(sa.func.max(journal.c.received_at))).scalar_one_or_none()
    finally:
        database.close()
    return None if last is None else instant_of(last)


def begin_beside(settings: Settings, url: str) -> None:
    """Has the campaign begin as soon as the service at `url` can take it, without waiting for that."""
    roles = (Role.OPERATOR, Role.ADMIN)
    token = next((token.token.reveal() for token in settings.api_tokens if token.role in roles), None)

    def run() -> None:
        try:
            begin(url, token=token)
        except DemoError as error:
            logger.error("%s", error)

    Thread(target=run, name="demo", daemon=True).start()
