"""What the engine reads and writes, in memory, for a history that is run again.

Of the past they keep only what the present depends on; the rest is where history has it, or, where today's program
does otherwise, in a temporary file.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_left, insort
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from orchestrator.desk import Desk
from orchestrator.journal.inbox import APPLIED, PENDING, Mark, Taken
from orchestrator.log import Stored
from orchestrator.outbox import Command, Move
from orchestrator.outbox.outbox import ALERT, HELD
from orchestrator.replay.source import Entry, Source

HOT = 20_000
"""Commands that are kept in memory; the others are in the temporary file."""

Name = tuple[str, str]
"""An event id and its dialect."""


def temporary() -> sqlite3.Connection:
    """A database in a temporary file of its own, which is gone when it is closed."""
    connection = sqlite3.connect("", isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA journal_mode = OFF")
    return connection


class RunInbox:
    """The messages of a history one after the other, and whose the event ids are."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._coming: deque[Entry] = deque()
        self._claiming: set[Name] = set()
        """The event ids that messages which are still to come were the first to have."""
        self.taken = 0
        self._statuses: dict[int, str] = {}
        self._won: dict[Name, int] = {}
        self._lost: set[Name] = set()

    def take(self, connection: sa.Connection, limit: int) -> list[Taken]:
        if len(self._coming) < limit:
            self._read_on()
        return [self._coming[index].message for index in range(min(limit, len(self._coming)))]

    @property
    def next(self) -> Entry | None:
        """The message that is to be taken next, as history has it."""
        if not self._coming:
            self._read_on()
        return self._coming[0] if self._coming else None

    def _read_on(self) -> None:
        entries = self._source.entries()
        self._coming.extend(entries)
        self._claiming.update(_name(entry.message) for entry in entries if entry.claims)

    def done(self, marks: Sequence[Mark], again: Sequence[Mark]) -> list[Entry]:
        """What became of the next messages; what history says of them."""
        entries = [self._coming.popleft() for _ in marks]
        self._claiming.difference_update(_name(entry.message) for entry in entries if entry.claims)
        self.taken = entries[-1].applied_seq if entries else self.taken
        for mark, entry in zip(marks, entries, strict=True):
            if mark.status != APPLIED:
                self._statuses[mark.seq] = mark.status
            if mark.claims != entry.claims:
                self._claim(mark)
        for mark in again:
            self._statuses[mark.seq] = mark.status
            self._claim(mark)
        return entries

    def _claim(self, mark: Mark) -> None:
        name = (mark.event_id, mark.dialect)
        if mark.claims:
            self._won[name] = mark.seq
            self._lost.discard(name)
        else:
            self._lost.add(name)

    def claims(self, connection: sa.Connection, names: Iterable[Name]) -> dict[Name, int]:
        """Which event ids belong to a message already. Those that belong to a message which is still to come belong to
        nobody yet."""
        wanted = set(names)
        found = {name: self._won[name] for name in wanted if name in self._won}
        unsure = wanted - found.keys() - self._claiming
        for event_id, dialect, seq, place in self._source.owners(connection, (name for name, _ in unsure)):
            if place <= self.taken and (event_id, dialect) not in self._lost:
                found[event_id, dialect] = seq
        return found

    def find(self, connection: sa.Connection, message_ids: Sequence[str]) -> dict[str, tuple[Taken, str]]:
        if not message_ids:
            return {}
        found = {}
        for taken, place in self._source.find(connection, message_ids):
            was_taken = place is not None and place <= self.taken
            found[taken.message_id] = taken, self._statuses.get(taken.seq, APPLIED) if was_taken else PENDING
        return found

    def last_applied(self, connection: sa.Connection) -> int:
        return self.taken


def _name(message: Taken) -> Name:
    return str(message.event_id), str(message.dialect)


class RunLog:
    """The log that the run writes. As long as an aggregate's events are those of history, they are read from there."""

    def __init__(self, source: Source, file: sqlite3.Connection) -> None:
        self._source = source
        self._file = file
        self._file.execute(
            "CREATE TABLE own (key TEXT, version INTEGER, topic TEXT, state BLOB, PRIMARY KEY (key, version)) "
            "WITHOUT ROWID"
        )
        self._born: set[str] = set()
        self._same_until: dict[str, int] = {}
        """Of aggregates that went another way: up to which version they did not."""
        self.length = 0
        self._last: Stored | None = None
        self.position = 0
        """How far history has been compared."""

    def head(self, connection: sa.Connection) -> int:
        return self.length

    def after(self, connection: sa.Connection, position: int, limit: int) -> list[Stored]:
        """The last event; nobody asks for more."""
        return [self._last] if self._last is not None else []

    def of(self, connection: sa.Connection, originator_ids: Iterable[str]) -> dict[str, list[Stored]]:
        wanted = [key for key in originator_ids if key in self._born]
        found: dict[str, list[Stored]] = {}
        for stored in self._source.events_of(connection, wanted, self.position):
            until = self._same_until.get(stored.originator_id)
            if until is None or stored.originator_version <= until:
                found.setdefault(stored.originator_id, []).append(stored)
        for key in wanted:
            if key in self._same_until:
                query = "SELECT version, topic, state FROM own WHERE key = ? ORDER BY version"
                found.setdefault(key, []).extend(Stored(0, key, *row) for row in self._file.execute(query, (key,)))
        return found

    def add(self, events: Sequence[Any]) -> None:
        """The events of a batch, all of which `compare` was told of."""
        for event in events:
            if event.originator_version == 1:
                self._born.add(event.originator_id)
        if self._same_until:
            own = [(e.originator_id, e.originator_version, e.topic, e.state) for e in events]
            own = [row for row in own if row[0] in self._same_until and row[1] > self._same_until[row[0]]]
            self._file.executemany("INSERT OR REPLACE INTO own VALUES (?, ?, ?, ?)", own)
        self.length += len(events)
        if events:
            last = events[-1]
            self._last = Stored(self.length, last.originator_id, last.originator_version, last.topic, last.state)

    def went_another_way(self, key: str, version: int) -> None:
        """From this version on the aggregate's events are not those of history."""
        self._same_until.setdefault(key, version - 1)


class RunOutbox:
    """The commands that the run decided. Alerts are not kept: nothing is decided by them."""

    def __init__(self, source: Source, file: sqlite3.Connection) -> None:
        self._source = source
        self._file = file
        self._file.execute("CREATE TABLE commands (command_id TEXT PRIMARY KEY, seq INTEGER, body BLOB) WITHOUT ROWID")
        self._hot: OrderedDict[str, tuple[int, Command]] = OrderedDict()
        self._has_cold = False
        self._held: list[tuple[int, str]] = []
        self._last = 0

    # For the turn.

    def find(self, connection: sa.Connection, command_ids: Sequence[str]) -> dict[str, Command]:
        found = {name: command for name in command_ids if (command := self._find(name)) is not None}
        missing = [name for name in command_ids if name not in found]
        if missing:
            kinds = self._source.kinds(connection, missing)
            found |= {name: _alert(name) for name, kind in kinds.items() if kind == ALERT}
        return found

    def held(self, connection: sa.Connection, after: int, limit: int) -> list[tuple[int, Command]]:
        begin = bisect_left(self._held, (after + 1, ""))
        return [(seq, self._get(name)) for seq, name in self._held[begin : begin + limit]]

    def get(self, name: str) -> Command | None:
        """The command, if the run decided it."""
        return self._find(name)

    def has(self, name: str) -> bool:
        return self._entry(name) is not None

    # For the commit.

    def add(self, commands: Iterable[Command]) -> None:
        sent = [command for command in commands if command.kind != ALERT and self._find(command.command_id) is None]
        if sent:
            with self._source.database.read() as connection:
                places = self._source.places(connection, (command.command_id for command in sent))
            for command in sent:
                # One that history does not have comes last.
                seq = places.get(command.command_id, self._last + 1)
                self._last = max(self._last, seq)
                self._put(seq, command)

    def reprice(self, prices: Mapping[str, int]) -> None:
        for name, price in prices.items():
            if (known := self._entry(name)) is not None:
                self._put(known[0], msgspec.structs.replace(known[1], price=price))

    def change(self, moves: Iterable[Move]) -> list[Move]:
        """Carries out the moves; those that changed a status."""
        moved = []
        for move in moves:
            known = self._entry(move.command_id)
            if known is None or known[1].status not in move.of:
                continue
            seq, command = known
            if command.status != move.status:
                moved.append(move)
            if command.status == HELD:
                self._held.pop(bisect_left(self._held, (seq, command.command_id)))
            self._put(seq, msgspec.structs.replace(command, status=move.status, reason=move.reason))
        return moved

    def trim(self) -> None:
        if len(self._hot) <= HOT:
            return
        cooled = [self._hot.popitem(last=False) for _ in range(len(self._hot) - HOT // 2)]
        rows = [(name, seq, _encode(command)) for name, (seq, command) in cooled]
        self._file.executemany("INSERT OR REPLACE INTO commands VALUES (?, ?, ?)", rows)
        self._has_cold = True

    def _put(self, seq: int, command: Command) -> None:
        self._hot[command.command_id] = seq, command
        self._hot.move_to_end(command.command_id)
        if command.status == HELD and not self._is_listed(seq, command.command_id):
            insort(self._held, (seq, command.command_id))

    def _is_listed(self, seq: int, name: str) -> bool:
        index = bisect_left(self._held, (seq, name))
        return index < len(self._held) and self._held[index] == (seq, name)

    def _entry(self, name: str) -> tuple[int, Command] | None:
        if name in self._hot:
            return self._hot[name]
        if not self._has_cold:
            return None
        row = self._file.execute("SELECT seq, body FROM commands WHERE command_id = ?", (name,)).fetchone()
        return None if row is None else (row[0], _decode(row[1]))

    def _find(self, name: str) -> Command | None:
        known = self._entry(name)
        return None if known is None else known[1]

    def _get(self, name: str) -> Command:
        found = self._find(name)
        if found is None:
            raise LookupError(f"there is no command {name!r}")
        return found


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Command).decode


def _alert(name: str) -> Command:
    """An alert as far as the engine looks at it."""
    about: dict[str, Any] = dict.fromkeys(("bundle_id", "video_id", "campaign_id", "country", "platform"))
    return Command(
        name, ALERT, **about, body={}, idempotency_key=None, price=None, status=PENDING, reason=None, not_before=0,
        created_at=0, message_id="",
    )  # fmt: skip


class RunDesk(Desk):
    """A desk without a table: what was not committed is remembered as it was before."""

    def clear(self) -> None:
        super().clear()
        self._before: dict[tuple[str, str], Any] = {}

    def load(self, connection: sa.Connection) -> None:
        self.loaded = True

    def put(self, kind: str, name: str, entry: Any) -> None:
        self._before.setdefault((kind, name), self._entries[kind].get(name))
        super().put(kind, name, entry)

    def write(self, connection: sa.Connection) -> None:
        pass

    def written(self) -> None:
        super().written()
        self._before.clear()

    def rollback(self, connection: sa.Connection) -> None:
        self._dirty.clear()
        for kind, name in sorted(self._before, key=lambda key: key[0] == "video"):
            self._replace(kind, name, self._before[kind, name])
        self._before.clear()
