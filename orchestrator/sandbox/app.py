"""The whole sandbox as one web application: TokPortal's API, the routes of the admin, and time that passes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from starlette.applications import Starlette
from starlette.routing import Mount

from orchestrator.sandbox.admin import Admin, Advance
from orchestrator.sandbox.life import Life
from orchestrator.sandbox.rest import create_app as create_rest

logger = logging.getLogger(__name__)

_CHUNK: Final = 100
"""Actions carried out in one go: requests are answered in between."""
_PAUSE: Final = 0.02
"""Real seconds between two looks at the clock."""
_BACKLOG: Final = 2_000
"""Deliveries that may wait for their turn before the world waits for them: no queue grows without end."""


class Pulse:
    """Carries out what is due, and has it reported, as the world's clock reaches it."""

    def __init__(self, life: Life, failed: Callable[[], None] = lambda: None) -> None:
        """
        Args:
            failed: called when something went wrong that cannot go wrong; the world stands still then.
        """
        self._life = life
        self._failed = failed
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="pulse")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def beat(self) -> int:
        """One look at the clock; returns how much was done."""
        life = self._life
        done = 0
        if life.sender.due <= _BACKLOG:
            done = life.world.run_due(_CHUNK)
        # Without anything to do this writes nothing.
        life.world.save()
        return done + life.sender.pump()

    async def _run(self) -> None:
        try:
            while True:
                await asyncio.sleep(0 if self.beat() else _PAUSE)
        except Exception:
            logger.exception("the sandbox's world stands still: an action failed")
            self._failed()


def create_app(life: Life, *, advance: Advance | None = None, failed: Callable[[], None] = lambda: None) -> Starlette:
    """
    Args:
        advance: moves a clock that moves by hand, by so many seconds.
        failed: called when the world stands still for an error of its own.
    """
    pulse = Pulse(life, failed)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with life.sender:
            pulse.start()
            try:
                yield
            finally:
                await pulse.stop()
                life.world.save()

    return Starlette(
        routes=[*Admin(life, advance).routes(), Mount("/", app=create_rest(life.world))],
        lifespan=lifespan,
    )
