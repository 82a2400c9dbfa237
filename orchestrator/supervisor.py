"""Keeps processes running, and knows when one is not."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

logger = logging.getLogger(__name__)

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 10.0
STEADY = 30.0
"""Seconds after which a worker that ran counts as healthy again."""
STOP_WITHIN = 10.0
LOOK_AGAIN = 0.1


class Child(NamedTuple):
    """A command line, and what its process finds in its environment besides ours. It is started once `may_begin`."""

    command: Sequence[str]
    environment: Mapping[str, str]
    may_begin: Callable[[], bool] = lambda: True


class Supervisor:
    """Starts each worker as a child process, and again when it ends, with growing pauses.

    A child reads its end of our pipe: it leaves when we are gone, however we went.
    """

    def __init__(self, workers: Mapping[str, Child]) -> None:
        self._workers = workers
        self._problems: dict[str, str | None] = dict.fromkeys(workers, "not started yet")
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._keep(name), name=f"worker {name}") for name in self._problems]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def problems(self) -> dict[str, str | None]:
        """By worker, what is wrong with it; None for those that run."""
        return dict(self._problems)

    async def _keep(self, name: str) -> None:
        pause = FIRST_PAUSE
        while True:
            started = asyncio.get_running_loop().time()
            command, environment, may_begin = self._workers[name]
            while not may_begin():
                await asyncio.sleep(LOOK_AGAIN)
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,  # What a child has to say goes to the log.
                env={**os.environ, **environment},
            )
            self._problems[name] = None
            try:
                code = await process.wait()
            except asyncio.CancelledError:
                await _end(process)
                raise
            self._problems[name] = f"ended with code {code}; it is started again"
            logger.error("a worker ended", extra={"worker": name, "code": code})
            if asyncio.get_running_loop().time() - started > STEADY:
                pause = FIRST_PAUSE
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), STOP_WITHIN)
    except TimeoutError:
        process.kill()
        await process.wait()
