"""Group commit: messages that arrive together are committed together.

Nothing is waited for to fill a batch. Whatever is queued when a commit ends makes the next one, so a lone message
costs one commit, and a flood as few as the disk allows.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Sequence

from orchestrator.journal.journal import Appended, Journal, Message

MAX_BATCH = 500


class JournalFullError(Exception):
    """More messages wait for the journal than it is allowed to hold."""


class JournalUnavailableError(Exception):
    """The journal could not tell in time whether the message is stored."""


class GroupCommit:
    """Takes messages from an event loop and commits them on a thread of its own.

    `capacity` bounds how many may wait; each of them is given `timeout` seconds at most.
    """

    def __init__(self, journal: Journal, *, capacity: int = 4096) -> None:
        self._journal = journal
        self._capacity = capacity
        self._waiting: deque[tuple[Message, asyncio.Future[Appended]]] = deque()
        self._wake = threading.Event()
        self._stopping = False
        self._busy_since: float | None = None
        self._last_error: str | None = None
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._thread.start()

    def stop(self) -> None:
        """Commits what is queued, then ends the thread."""
        self._stopping = True
        self._wake.set()
        self._thread.join(timeout=10)

    async def append(self, message: Message, timeout: float) -> Appended:
        """Returns once the message is on disk.

        Raises `JournalFullError` at once, or `JournalUnavailableError` when the commit failed or is not known to have
        happened within `timeout` seconds. It may still land: the redelivery is then a duplicate.
        """
        if len(self._waiting) >= self._capacity:
            raise JournalFullError
        future: asyncio.Future[Appended] = self._loop.create_future()
        self._waiting.append((message, future))
        self._wake.set()
        handle = self._loop.call_later(timeout, _give_up, future)
        try:
            return await future
        finally:
            handle.cancel()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def trouble(self) -> str | None:
        """Why a message given now would probably not be stored; None when all is well."""
        if not self._thread.is_alive():
            return "the journal's thread has ended"
        since = self._busy_since
        if since is not None and time.monotonic() - since > 2:
            return f"a commit has been running for {time.monotonic() - since:.0f} s"
        if len(self._waiting) >= self._capacity:
            return "the journal's queue is full"
        return self._last_error

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), MAX_BATCH))]
                # Who gave up has been told that nothing is known; storing it all the same would be lawful, but late.
                batch = [(message, future) for message, future in batch if not future.done()]
                if batch:
                    self._commit(batch)
            if self._stopping:
                self._journal.close()
                return

    def _commit(self, batch: Sequence[tuple[Message, asyncio.Future[Appended]]]) -> None:
        self._busy_since = time.monotonic()
        answers: Sequence[Appended | None]
        try:
            answers = self._journal.append([message for message, _ in batch])
            self._last_error = None
        except Exception as error:
            self._last_error = f"the last commit failed: {type(error).__name__}"
            answers = [None] * len(batch)
        self._busy_since = None
        self._loop.call_soon_threadsafe(_answer, [future for _, future in batch], answers)


def _answer(futures: Sequence[asyncio.Future[Appended]], answers: Sequence[Appended | None]) -> None:
    for future, answer in zip(futures, answers, strict=True):
        if future.done():
            continue
        if answer is None:
            future.set_exception(JournalUnavailableError())
        else:
            future.set_result(answer)


def _give_up(future: asyncio.Future[Appended]) -> None:
    if not future.done():
        future.set_exception(JournalUnavailableError())
