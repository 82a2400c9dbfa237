"""Reading ahead, in a process of its own: it reads journal and log, and what webhooks say, while the engine decides."""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import closing
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import sqlalchemy as sa

from orchestrator.database import Database, read_ahead
from orchestrator.database.tables import marks
from orchestrator.dialects import Reading
from orchestrator.engine.decide import Judged, judge
from orchestrator.journal.inbox import Taken
from orchestrator.journal.journal import WEBHOOK
from orchestrator.log import Stored
from orchestrator.replay.source import PAGE, Entry, Source

LONG = 20_000
"""Messages from which on a second process is worth starting."""

Said = tuple[str, str | None, tuple[Any, ...] | None]
"""What a webhook says: status, reason, and the members of its reading, if there is one."""


def is_long(database: Database) -> bool:
    with database.read() as connection:
        return int(connection.scalar(sa.select(sa.func.max(marks.c.applied_seq))) or 0) >= LONG


class Ahead(Source):
    """A source that has the next pages at hand already."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._said: dict[int, Said] = {}
        self._waiting: deque[list[Entry]] = deque()
        self._is_over = False
        context = get_context("spawn")
        self._pages, pages = context.Pipe(duplex=False)
        url = database.url.render_as_string(hide_password=False)
        self._reader = context.Process(target=_read, args=(pages, url), daemon=True)
        self._reader.start()
        pages.close()  # Its end is the reader's alone, so that we hear when it is gone.

    def close(self) -> None:
        self._pages.close()
        self._reader.terminate()
        self._reader.join()
        self._reader.close()

    def entries(self, limit: int = PAGE) -> list[Entry]:
        while not self._waiting and self._read_on():
            pass
        found = self._waiting.popleft() if self._waiting else []
        return [entry for entry in found if entry.applied_seq <= self.messages]

    def _read_on(self) -> bool:
        if self._is_over:
            return False
        try:
            rows, said, log = pickle.loads(self._pages.recv_bytes())  # noqa: S301 - it is our own process
        except EOFError:
            raise RuntimeError("the process that reads the journal ahead has ended; its error is above") from None
        self._is_over = not rows and not log
        self._coming.extend(map(Stored._make, log))
        self._read = log[-1][0] if log else self._read
        self._said |= said
        if rows:
            self._waiting.append([Entry(Taken._make(taken), *became) for taken, *became in rows])
        return not self._is_over

    def judged(self, message: Taken) -> Judged:
        known = self._said.pop(message.seq, None)
        if known is None:
            return super().judged(message)
        status, reason, reading = known
        return Judged(message, Reading(*reading) if reading is not None else None, status, reason)


def _read(pages: Connection, url: str) -> None:
    """Sends page after page: the messages, what the webhooks among them say, and the events that they gave."""
    with closing(Database(url, connections=1, name="orchestrator-replay")) as database:
        source = Source(database)
        try:
            for entries, log in read_ahead(_pages(source)):
                said = {entry.message.seq: _said(judge(entry.message)) for entry in entries if _is_webhook(entry)}
                rows = [(_without_body(entry), *entry[1:]) for entry in entries]
                pages.send_bytes(pickle.dumps((rows, said, _plain(log)), protocol=5))
        except (BrokenPipeError, ConnectionResetError):
            return  # Nobody wants to know the rest.


def _pages(source: Source) -> Iterator[tuple[list[Entry], list[Stored]]]:
    """Messages, with about as many events as they gave: whoever needs more goes on reading. The last page is empty."""
    while True:
        entries = source.entries()
        log = source.next_events(sum(entry.events for entry in entries) if entries else PAGE)
        yield entries, log
        if not entries and not log:
            return


def _is_webhook(entry: Entry) -> bool:
    return entry.message.kind == WEBHOOK


def _without_body(entry: Entry) -> tuple[Any, ...]:
    """The message; what a webhook says is sent beside it."""
    return tuple(entry.message._replace(body=b"") if _is_webhook(entry) else entry.message)


def _said(judged: Judged) -> Said:
    reading = judged.reading
    return judged.status, judged.reason, tuple(getattr(reading, name) for name in MEMBERS) if reading else None


MEMBERS = tuple(Reading.__struct_fields__)


def _plain(log: Sequence[Stored]) -> list[tuple[Any, ...]]:
    return [tuple(stored) for stored in log]
