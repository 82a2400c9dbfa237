"""Reads of the database, kept away from the event loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa

from orchestrator.api.problems import unavailable
from orchestrator.database import Database

P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger(__name__)


class Reader:
    """Runs queries on at most `threads` threads, each in a snapshot of its own, for `timeout` seconds at most.

    The threads are its own, not anyio's: a limiter lets go of a thread that nobody waits for any more, so a database
    that hangs would be met with ever more of them.
    """

    def __init__(self, database: Database, *, threads: int, timeout: float) -> None:
        self._database = database
        self._timeout = timeout
        self._threads = ThreadPoolExecutor(min(threads, database.connections), thread_name_prefix="api-read")

    async def __call__(self, query: Callable[Concatenate[sa.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `query` returns. Raises the problem `unavailable` when the database does not answer in time."""
        return await self.within(self._timeout, lambda connection: query(connection, *args, **kwargs))

    async def within(self, seconds: float, query: Callable[[sa.Connection], T]) -> T:
        """The same with a time-out of its own."""
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.get_running_loop().run_in_executor(self._threads, self._run, query)
        except TimeoutError:
            logger.warning("the database did not answer within %g s", seconds)
        except (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError) as error:
            logger.warning("the database cannot be read: %s", error)
        raise unavailable("The database cannot be read at the moment. Nothing is lost; ask again in a moment.")

    async def compute(self, work: Callable[[], T]) -> T:
        """What `work` returns, which reads no database but takes its time: webhooks would wait for it as well."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _run(self, query: Callable[[sa.Connection], T]) -> T:
        with self._database.read() as connection:
            return query(connection)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
