"""The demo inside of a service that goes on afterwards: what `serve --demo` does besides."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from threading import Thread

import sqlalchemy as sa

from orchestrator.clock import Scale, instant_of
from orchestrator.database import Database, migrate
from orchestrator.database.tables import journal
from orchestrator.demo.world import POLICIES, DemoError, clock, go_on
from orchestrator.sandbox.hold import is_held
from orchestrator.settings import Mode, Role, Settings, SettingsError
from orchestrator.world import known

logger = logging.getLogger(__name__)

AFTERWARDS = timedelta(days=1)
"""How much of the world's time has passed at least when one that was stopped goes on: what its last moments sent is
past by then, and not from the future."""


def prepare(settings: Settings) -> Settings:
    """The settings with the demo's clock, and policies under which something happens. What was set by hand stays. The
    policies are in a file of their own beside the data, and may be changed there. A world that was stopped goes on from
    where it was: it does not age meanwhile.

    Raises:
        SettingsError: the mode is not `sandbox`. Nothing of the demo may reach a real account.
    """
    if settings.mode is not Mode.SANDBOX:
        raise SettingsError("--demo: no demo runs on a real account, set ORCHESTRATOR_MODE=sandbox.")
    if settings.clock is None:
        settings = replace(settings, clock=_scale(settings))
    if settings.environment.source("ORCHESTRATOR_CONFIG_DIR") == "default":
        folder = settings.data_dir / "demo"
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "policies.yaml").exists():
            (folder / "policies.yaml").write_text(POLICIES, encoding="utf-8")
        settings = replace(settings, config_dir=folder)
    return settings


def _scale(settings: Settings) -> Scale:
    """That of a service which shows this world already, or one that goes on where the last message came."""
    url = settings.database_url.reveal()
    migrate(url)
    database = Database(url, connections=1, name="orchestrator-demo")
    try:
        state, shown = known(database, "sandbox state"), known(database, "clock")
        if state is not None and shown is not None and is_held(Path(state)):
            return Scale.parse(shown)
        with database.read() as connection:
            last = connection.execute(sa.select(sa.func.max(journal.c.received_at))).scalar_one_or_none()
    finally:
        database.close()
    scale = Scale.parse(clock())
    return scale if last is None else replace(scale, epoch=max(scale.epoch, instant_of(last) + AFTERWARDS))


def begin_beside(settings: Settings, url: str) -> None:
    """Has the demo's campaign begin as soon as the service at `url` can take it, and others follow it. Returns at
    once."""
    logger.info("the demo's policies are in %s", settings.config_dir / "policies.yaml")
    tokens = [token.token.reveal() for token in settings.api_tokens if token.role is not Role.VIEWER]
    if settings.api_tokens and not tokens:
        logger.warning("the demo's campaign needs an API token of the role operator to begin")
        return
    Thread(target=_go_on, args=(url, tokens[0] if tokens else None), name="demo", daemon=True).start()


def _go_on(url: str, token: str | None) -> None:
    try:
        go_on(url, token=token)
    except DemoError as error:
        logger.warning("the demo does not go on: %s", error)
