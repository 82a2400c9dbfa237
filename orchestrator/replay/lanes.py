"""The engine on a lane of its own: it is given one message after the other, and tells what follows from each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from orchestrator.engine.aggregates import LoadedAggregates
from orchestrator.engine.engine import Batch, Engine
from orchestrator.journal.inbox import APPLIED, CONFLICT, PENDING, Mark, Taken
from orchestrator.journal.journal import Message
from orchestrator.log import Stored
from orchestrator.outbox import Command, Move
from orchestrator.outbox.outbox import ALERT
from orchestrator.replay.source import Source
from orchestrator.replay.stores import Name, RunDesk, RunOutbox, temporary

Timer = tuple[int, dict[str, Any]]
"""When it is due, in microseconds of the service's clock, and what it says."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What followed from a message. `moves`: the changes of commands' statuses."""

    message: Taken
    status: str
    events: Sequence[Any]
    commands: Sequence[Command]
    moves: Sequence[Move]
    works: Sequence[Message]


class Lane(Engine):
    """Everything that happens on it lies in a temporary file: it may go another way than history did."""

    def __init__(self, source: Source) -> None:
        super().__init__(source.database, max_batch=1)
        self._file = temporary()
        self.timers: dict[str, Timer] = {}
        self._given = _Given(source)
        stores: Any = self  # The engine knows the stores of a database; these only look like them.
        stores._inbox = self._given
        stores._log = self._own = _OwnLog(self._file)
        stores._outbox = self.outbox = RunOutbox(source, self._file)
        self._desk = self.desk = RunDesk(source.database)
        self._aggregates = LoadedAggregates(stores._log, self._mapper)
        self._outcomes: list[Outcome] = []

    def run(self, message: Taken, status: str | None = None) -> Outcome:
        """What follows from the message. `status`: what history says became of it, where its event id matters."""
        self._given.message, self._given.is_in_conflict = message, status == CONFLICT
        while not self._outcomes:
            self.step()
        return self._outcomes.pop()

    @property
    def now(self) -> int:
        """The time on this lane, in microseconds."""
        return self._given.now

    def close(self) -> None:
        self._file.close()

    def _chain_backlog(self) -> bool:
        return False

    def _commit(self, batch: Batch) -> None:
        follow = batch.follow
        mark, message = batch.marks[0], self._given.taken(batch.marks[0], batch.again)
        self._own.add(batch.events)
        new = [c for c in follow.commands.values() if c.kind != ALERT and not self.outbox.has(c.command_id)]
        self.outbox.add(new)
        self.outbox.reprice(follow.prices)
        moves = self.outbox.change(follow.moves)
        self.outbox.trim()
        for name, timer in follow.timers.items():
            if timer is None:
                self.timers.pop(name, None)
            else:
                self.timers[name] = timer
        self._desk.written()
        self._applied += 1
        self._first_position += len(batch.events)
        self._now = batch.now
        self._aggregates.trim()
        self._outcomes.append(Outcome(message, mark.status, batch.events, new, moves, follow.works))


class _Given:
    """An inbox that holds the message in hand, and nothing else."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.message: Taken | None = None
        self.is_in_conflict = False
        self.now = 0
        self._count = 0
        self._statuses: dict[int, str] = {}

    def take(self, connection: sa.Connection, limit: int) -> list[Taken]:
        return [self.message] if self.message is not None else []

    def taken(self, mark: Mark, again: Sequence[Mark]) -> Taken:
        if self.message is None:
            raise RuntimeError("no message was given")
        message, self.message = self.message, None
        self.now = max(self.now, message.received_at)
        self._count += 1
        for one in (mark, *again):
            if one.status != APPLIED or one in again:
                self._statuses[one.seq] = one.status
        return message

    def claims(self, connection: sa.Connection, names: Iterable[Name]) -> dict[Name, int]:
        """Event ids are the vendor's: whose they are, is what history says."""
        return dict.fromkeys(names, -1) if self.is_in_conflict else {}

    def find(self, connection: sa.Connection, message_ids: Sequence[str]) -> dict[str, tuple[Taken, str]]:
        if not message_ids:
            return {}
        found = self._source.find(connection, message_ids)
        return {
            taken.message_id: (taken, self._statuses.get(taken.seq, APPLIED if place is not None else PENDING))
            for taken, place in found
        }

    def last_applied(self, connection: sa.Connection) -> int:
        return self._count


class _OwnLog:
    """The events of a lane."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._file.execute(
            "CREATE TABLE own (key TEXT, version INTEGER, topic TEXT, state BLOB, PRIMARY KEY (key, version)) "
            "WITHOUT ROWID"
        )
        self._length = 0
        self._last: Stored | None = None

    def head(self, connection: sa.Connection) -> int:
        return self._length

    def after(self, connection: sa.Connection, position: int, limit: int) -> list[Stored]:
        """The last event; nobody asks for more."""
        return [self._last] if self._last is not None else []

    def of(self, connection: sa.Connection, originator_ids: Iterable[str]) -> dict[str, list[Stored]]:
        query = "SELECT version, topic, state FROM own WHERE key = ? ORDER BY version"
        found = {key: [Stored(0, key, *row) for row in self._file.execute(query, (key,))] for key in originator_ids}
        return {key: stored for key, stored in found.items() if stored}

    def add(self, events: Sequence[Any]) -> None:
        rows = [(e.originator_id, e.originator_version, e.topic, e.state) for e in events]
        self._file.executemany("INSERT INTO own VALUES (?, ?, ?, ?)", rows)
        self._length += len(rows)
        if rows:
            self._last = Stored(self._length, *rows[-1])
