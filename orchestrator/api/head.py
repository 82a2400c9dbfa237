"""The heads of the log, of what was applied and of the read models, and those who wait for them to move."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar

import sqlalchemy as sa
from sse_starlette.sse import AppStatus

from orchestrator.api.problems import Problem
from orchestrator.api.reader import Reader
from orchestrator.database.tables import events, marks, projections

T = TypeVar("T")

logger = logging.getLogger(__name__)

INTERVAL = 0.1
"""Seconds between two looks at the database while somebody waits."""
AFTER_TROUBLE = 1.0
MOST_HELD = 200
"""Answers that are held at a time: each looks again whenever something moves."""


class Moment(NamedTuple):
    """How far everything had come: the log's last position, the number of messages applied, each read model's
    position."""

    position: int
    applied: int
    projections: tuple[tuple[str, int], ...]


def moment(connection: sa.Connection) -> Moment:
    last = sa.select(
        sa.select(sa.func.coalesce(sa.func.max(events.c.notification_id), 0)).scalar_subquery(),
        sa.select(sa.func.coalesce(sa.func.max(marks.c.applied_seq), 0)).scalar_subquery(),
    )
    position, applied = connection.execute(last).one()
    rows = connection.execute(sa.select(projections.c.name, projections.c.position).order_by(projections.c.name))
    return Moment(position, applied, tuple((row.name, row.position) for row in rows))


class Head:
    """One poller for everybody: however many wait, the database is asked ten times a second, and not at all while
    nobody waits."""

    def __init__(self, read: Reader, *, interval: float = INTERVAL) -> None:
        self._read = read
        self._interval = interval
        self._moment: Moment | None = None
        self._changed = asyncio.Event()
        self._waiting = 0
        self._poller: asyncio.Task[None] | None = None
        self._held = 0
        self.stopped = False

    async def beyond(self, position: int) -> None:
        """Returns once the log is longer than `position`, or the service stops."""
        while not self.stopped and (self._moment is None or self._moment.position <= position):
            await self._move(self._moment)

    async def hold(self, look: Callable[[], Awaitable[T]], enough: Callable[[T], bool], seconds: float) -> T:
        """Looks again whenever something moved, until it is `enough`, `seconds` are over or the service stops.
        Returns what the last look saw; that of the first, when too many are held already."""
        deadline = asyncio.get_running_loop().time() + (seconds if self._held < MOST_HELD else 0)
        self._held += 1
        try:
            while True:
                before = self._moment
                found = await look()
                if enough(found) or self.stopped:
                    return found
                try:
                    async with asyncio.timeout_at(deadline):
                        await self._move(before)
                except TimeoutError:
                    return found
        finally:
            self._held -= 1

    async def _move(self, seen: Moment | None) -> None:
        """Returns once the moment is another than `seen`. The first look after a pause counts as a move."""
        self._waiting += 1
        try:
            if self._poller is None:
                self._poller = asyncio.create_task(self._poll())
            while self._moment == seen and not self.stopped:
                await self._changed.wait()
        finally:
            self._waiting -= 1

    async def _poll(self) -> None:
        while self._waiting and not self.stopped:
            pause = self._interval
            if AppStatus.should_exit:
                # The server waits for every answer before it tells us to stop: an answer held would hold it up.
                self.stop()
                return
            try:
                seen = await self._read(moment)
                if seen != self._moment:
                    self._moment = seen
                    self._wake()
            except Problem:
                pause = AFTER_TROUBLE
            except Exception:
                # Whoever waits depends on this task alone.
                logger.exception("the head of the log cannot be read")
                pause = AFTER_TROUBLE
            await asyncio.sleep(pause)
        self._poller = None

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def stop(self) -> None:
        """Lets go of everybody who waits. To be called on the event loop."""
        self.stopped = True
        self._wake()
        if self._poller is not None and self._poller is not asyncio.current_task():
            self._poller.cancel()
        self._poller = None
