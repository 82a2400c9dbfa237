"""Group commit: messages that arrive together are committed together.

Nothing is waited for to fill a batch. Whatever has arrived when a commit ends makes the next one, so a lone message
costs one commit, and a flood as few as the disk allows.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from orchestrator.journal.committer import Answer, Arrival, Frames, Made, Request, encode, frame
from orchestrator.journal.journal import Appended, Message

logger = logging.getLogger(__name__)

PAUSE = 0.2
"""Seconds before a committer that ended is started again."""
STOP_WITHIN = 8.0
SWEEP = 0.1
"""Seconds between two looks at who has waited for too long. A timer for each message would cost more."""
FORGIVEN_AFTER = 5.0
"""Seconds after which a failed commit no longer counts as trouble."""
STUCK_AFTER = 2.0
"""Seconds without an answer after which the journal counts as in trouble."""
READ = 1 << 20
HANDFUL = 32
"""Messages that are handed over at once. The rest of a flood is still being read while they are committed; all of it
in one go would have the door and the disk take turns."""

_decode = msgspec.msgpack.Decoder(list[Answer]).decode


class JournalFullError(Exception):
    """More messages wait for the journal than it is allowed to hold."""


class JournalUnavailableError(Exception):
    """The journal could not tell in time whether the message is stored."""


class _Waiting(NamedTuple):
    size: int
    since: float
    deadline: float
    future: asyncio.Future[Appended]


class GroupCommit:
    """Hands messages to a committing process, started by `command` with `environment` added to ours, and waits for its
    word.

    At most `capacity` messages of `room` bytes together may wait. The process is started again when it ends; what it
    had not answered by then counts as unavailable, although it may be stored.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        *,
        capacity: int = 4096,
        room: int = 64 * 1024 * 1024,
    ) -> None:
        self._command = command
        self._environment = environment
        self._capacity = capacity
        self._room = room
        self._waiting: dict[int, _Waiting] = {}
        self._size = 0
        self._number = 0
        self._outgoing: list[bytes] = []
        self._process: asyncio.subprocess.Process | None = None
        self._has_begun = False
        self._keeper: asyncio.Task[None] | None = None
        self._failed_at: float | None = None
        self._stopping = False

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._keeper = loop.create_task(self._keep(), name="journal")
        self._sweeper = loop.call_later(SWEEP, self._sweep)

    async def stop(self) -> None:
        """Has everything stored that was handed over, then ends the process."""
        if self._keeper is None:
            return
        self._stopping = True
        self._flush()
        process = self._process
        if process is not None and process.stdin is not None:
            process.stdin.close()
            try:
                await asyncio.wait_for(process.wait(), STOP_WITHIN)
            except TimeoutError:
                process.kill()
        self._sweeper.cancel()
        self._keeper.cancel()
        await asyncio.gather(self._keeper, return_exceptions=True)
        self._give_up()

    async def append(self, what: Arrival | Message, timeout: float) -> Appended:
        """Returns once the webhook or message is on disk.

        Raises `JournalFullError` at once, or `JournalUnavailableError` when the commit failed or is not known to have
        happened within `timeout` seconds. It may still land: the redelivery is then a duplicate.
        """
        if len(self._waiting) >= self._capacity or self._size > self._room:
            raise JournalFullError
        loop = self._loop
        self._number = number = self._number + 1
        payload = frame(encode(Request(number, Made(what) if isinstance(what, Message) else what)))
        size = len(what.body)
        now = loop.time()
        future: asyncio.Future[Appended] = loop.create_future()
        self._waiting[number] = _Waiting(size, now, now + timeout, future)
        self._size += size
        self._outgoing.append(payload)
        if len(self._outgoing) == 1:
            loop.call_soon(self._flush)
        elif len(self._outgoing) >= HANDFUL:
            self._flush()
        try:
            return await future
        finally:
            if self._waiting.pop(number, None) is not None:
                self._size -= size

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def trouble(self) -> str | None:
        """Why a message given now would probably not be stored; None when all is well."""
        if self._process is None:
            return "the committing process is not running"
        if len(self._waiting) >= self._capacity or self._size > self._room:
            return "the journal's queue is full"
        if not self._has_begun:
            return "the committing process is starting"
        oldest = next(iter(self._waiting.values()), None)
        if oldest is not None and self._loop.time() - oldest.since > STUCK_AFTER:
            return f"a message has been waiting for {self._loop.time() - oldest.since:.0f} s"
        # Not for ever: whoever asks before sending anything would never see it succeed again.
        failed = self._failed_at is not None and self._loop.time() - self._failed_at < FORGIVEN_AFTER
        return "the last commit failed" if failed else None

    def _flush(self) -> None:
        process = self._process
        if self._outgoing and process is not None and process.stdin is not None and not process.stdin.is_closing():
            process.stdin.write(b"".join(self._outgoing))
            self._outgoing.clear()

    async def _keep(self) -> None:
        while not self._stopping:
            try:
                process = await self._start()
            except OSError as error:
                logger.error("the committing process cannot be started: %s", error)
            else:
                code = await self._attend(process)
                self._log_end(code)
            self._give_up()
            await asyncio.sleep(PAUSE)

    def _log_end(self, code: int) -> None:
        if not self._stopping:
            logger.error("the committing process ended", extra={"code": code})

    async def _start(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=None if self._environment is None else {**os.environ, **self._environment},
        )

    async def _attend(self, process: asyncio.subprocess.Process) -> int:
        """Deals with the process as long as it runs; its exit code."""
        self._process = process
        try:
            self._flush()
            await self._listen(process)
        finally:
            self._process = None
            self._has_begun = False
            if process.returncode is None:
                process.kill()
        return await process.wait()

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        frames = Frames()
        assert process.stdout is not None  # noqa: S101
        while data := await process.stdout.read(READ):
            for payload in frames.feed(data):
                self._has_begun = True
                for answer in _decode(payload):
                    self._settle(answer)
                    self._failed_at = self._loop.time() if answer.duplicate is None else None

    def _settle(self, answer: Answer) -> None:
        waiting = self._waiting.get(answer.number)
        if waiting is None or waiting.future.done():
            return
        if answer.duplicate is None:
            waiting.future.set_exception(JournalUnavailableError())
        else:
            waiting.future.set_result(Appended(answer.message_id, answer.duplicate))

    def _sweep(self) -> None:
        now = self._loop.time()
        for waiting in self._waiting.values():
            if waiting.deadline <= now and not waiting.future.done():
                waiting.future.set_exception(JournalUnavailableError())
                self._failed_at = now
        self._sweeper = self._loop.call_later(SWEEP, self._sweep)

    def _give_up(self) -> None:
        """The process is gone: nobody will answer."""
        self._outgoing.clear()
        for waiting in self._waiting.values():
            if not waiting.future.done():
                waiting.future.set_exception(JournalUnavailableError())
