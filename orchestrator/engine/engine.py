"""The one writer of the log."""

from __future__ import annotations

import logging
from collections.abc import Container, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec
from eventsourcing.persistence import IntegrityError, StoredEvent

from orchestrator.database import DATA_ERRORS, Database, Lease
from orchestrator.engine.aggregates import LoadedAggregates
from orchestrator.engine.decide import EPOCH, Judged, apply, instant, judge, touched
from orchestrator.journal.inbox import (
    APPLIED,
    CONFLICT,
    QUARANTINED,
    REFUSED,
    TESTED,
    UNRECOGNISED,
    Inbox,
    Mark,
    Taken,
)
from orchestrator.journal.journal import COMMAND
from orchestrator.log import EventLog, EventMapper

logger = logging.getLogger(__name__)

MAX_BATCH = 500
CONFLICT_TRIES = 5
CLAIMING = frozenset({APPLIED, UNRECOGNISED})


class PoisonError(Exception):
    """The message at `index` of a batch could not be applied."""

    def __init__(self, index: int, cause: Exception) -> None:
        super().__init__(f"{type(cause).__name__}: {cause}")
        self.index = index


@dataclass(slots=True)
class Batch:
    """What follows from some messages: events, and what became of each message."""

    events: list[StoredEvent]
    marks: list[Mark]
    again: list[Mark]
    now: datetime


class Engine:
    """Takes messages from the inbox in batches. Each batch is one transaction: the events, the marks of the messages
    and the proof of the lease are committed together, or nothing is.

    `lease` None is for tools and tests that are alone with their database.
    """

    def __init__(self, database: Database, lease: Lease | None = None, *, max_batch: int = MAX_BATCH) -> None:
        self._database = database
        self._lease = lease
        self._max_batch = max_batch
        self._inbox = Inbox(database)
        self._log = EventLog(database)
        self._mapper = EventMapper()
        self._aggregates = LoadedAggregates(self._log, self._mapper)
        self._now: datetime | None = None
        self._applied = 0
        self._first_position = 0

    @property
    def full(self) -> int:
        """As many messages as one step takes."""
        return self._max_batch

    def forget(self) -> None:
        """To be called when the lease was lost or a commit failed: the next step starts from what is stored."""
        self._aggregates.forget()
        self._now = None

    def step(self) -> int:
        """Takes and commits one batch; the number of messages taken.

        A message that cannot be applied does not hold up the others: it is tried again alone, then quarantined.
        Raises `LeaseLostError`, or the database's error after nothing was written.
        """
        tries = CONFLICT_TRIES
        while True:
            try:
                return self._step()
            except IntegrityError:
                self.forget()
                tries -= 1
                if not tries:
                    raise
                logger.warning("events of this batch were already written; taking it again")
            except Exception:
                self.forget()
                raise

    def _step(self) -> int:
        with self._database.read() as connection:
            taken = self._inbox.take(connection, self._max_batch)
        if not taken:
            return 0
        try:
            self._take(taken)
            return len(taken)
        except PoisonError as poison:
            index = poison.index
        except DATA_ERRORS:
            # The database refused a value and does not say whose: they go one by one.
            for message in taken:
                self.forget()
                self._take_alone(message)
            return len(taken)
        self.forget()
        if index:
            self._take(taken[:index])
        self.forget()
        self._take_alone(taken[index])
        return index + 1

    def _take_alone(self, message: Taken) -> None:
        try:
            self._take([message])
        except (PoisonError, *DATA_ERRORS) as error:
            self.forget()
            reason = _printable(f"the program could not apply it: {error}"[:500])
            logger.error("message %s is quarantined: %s", message.message_id, reason)
            now = self._load_state()
            self._commit(Batch([], [_mark(message, QUARANTINED, reason, self._first_position, 0)], [], now))

    def _take(self, messages: Sequence[Taken]) -> None:
        batch = self._decide(messages)
        self._commit(batch)

    def _load_state(self) -> datetime:
        """Where the log and the order of messages end, and the time of the last event."""
        if self._now is not None:
            return self._now
        with self._database.read() as connection:
            self._applied = self._inbox.last_applied(connection)
            head = self._log.head(connection)
            last = self._log.after(connection, head - 1, 1)
        self._first_position = head + 1
        self._now = self._mapper.event(*last[0][1:]).timestamp if last else EPOCH
        return self._now

    def _decide(self, messages: Sequence[Taken]) -> Batch:
        now = self._load_state()
        judged: dict[str, Judged] = {}
        targets: dict[str, str] = {}
        for index, message in enumerate(messages):
            try:
                if message.kind == COMMAND:
                    targets[message.message_id] = _retry_target(message)
                else:
                    judged[message.message_id] = judge(message)
            except Exception as error:
                raise PoisonError(index, error) from error
        with self._database.read() as connection:
            found = self._inbox.find(connection, list(targets.values()))
            again = self._judge_targets(messages, targets, found)
            everything = [*judged.values(), *again.values()]
            claims = self._inbox.claims(connection, [_name(j.message) for j in everything])
            keys = [key for j in everything if j.reading is not None for key in touched(j.reading)]
            self._aggregates.load(connection, keys)
        statuses = {name: status for name, (_, status) in found.items()}

        batch = Batch([], [], [], now)
        for index, message in enumerate(messages):
            try:
                if message.kind == COMMAND:
                    target = targets[message.message_id]
                    refusal = _refusal(target, statuses.get(target), again)
                    if refusal is None:
                        retried = self._judge_again(again[target], message)
                        mark = self._settle(retried, claims, batch)
                        batch.again.append(mark)
                        statuses[target] = mark.status
                    status = APPLIED if refusal is None else REFUSED
                    mark = _mark(message, status, refusal, self._next(batch), 0)
                else:
                    mark = self._settle(judged[message.message_id], claims, batch)
                batch.marks.append(mark)
                statuses[message.message_id] = mark.status
            except Exception as error:
                raise PoisonError(index, error) from error
        return batch

    def _judge_targets(
        self, messages: Sequence[Taken], targets: dict[str, str], found: dict[str, tuple[Taken, str]]
    ) -> dict[str, Judged]:
        """The webhooks that commands want applied again, so that their aggregates can be loaded with the rest."""
        judged: dict[str, Judged] = {}
        for index, message in enumerate(messages):
            target, _ = found.get(targets.get(message.message_id, ""), (None, None))
            if target is None or target.kind == COMMAND:
                continue
            try:
                judged[target.message_id] = judge(target)
            except Exception as error:
                raise PoisonError(index, error) from error
        return judged

    def _judge_again(self, judged: Judged, command: Taken) -> Judged:
        """Its times are held against the receipt of the retry."""
        return judge(judged.message._replace(received_at=command.received_at))

    def _settle(self, judged: Judged, claims: dict[tuple[str, str], int], batch: Batch) -> Mark:
        """Applies one webhook, unless its event id belongs to another message."""
        message, status, reason = judged.message, judged.status, judged.reason
        first = self._next(batch)
        events: list[StoredEvent] = []
        if status in CLAIMING:
            if claims.setdefault(_name(message), message.seq) != message.seq:
                status, reason = CONFLICT, "another message with this event id and other content came first"
            elif judged.reading is not None:
                now = max(batch.now, instant(message.received_at))
                apply(judged.reading, message, self._aggregates, now)
                events = [self._mapper.to_stored_event(event) for event in self._aggregates.collect()]
                if events:
                    batch.now = now
        if status not in (APPLIED, TESTED):
            logger.warning("message %s is %s: %s", message.message_id, status, reason)
        batch.events += events
        return _mark(message, status, reason, first, len(events))

    def _next(self, batch: Batch) -> int:
        return self._first_position + len(batch.events)

    def _commit(self, batch: Batch) -> None:
        with self._database.write() as connection:
            if self._lease is not None:
                self._lease.fence(connection)
            first = self._log.append(connection, batch.events)
            if first != self._first_position:
                raise IntegrityError("the log has grown since this batch was decided")
            self._inbox.mark(connection, batch.marks, self._applied + 1)
            for mark in batch.again:
                self._inbox.remark(connection, mark)
        self._applied += len(batch.marks)
        self._first_position += len(batch.events)
        self._now = batch.now
        self._aggregates.trim()


def _printable(text: str) -> str:
    """`text` as every database takes it: PostgreSQL stores no NUL, and neither encodes half a surrogate pair."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")


def _name(message: Taken) -> tuple[str, str]:
    return str(message.event_id), str(message.dialect)


def _mark(message: Taken, status: str, reason: str | None, first_position: int, events: int) -> Mark:
    return Mark(
        seq=message.seq,
        status=status,
        reason=reason,
        first_position=first_position,
        events=events,
        dialect=message.dialect or "",
        event_id=message.event_id or "",
        claims=status in CLAIMING and message.kind != COMMAND,
    )


def _retry_target(command: Taken) -> str:
    return str(msgspec.json.decode(command.body)["message_id"])


def _refusal(target: str, status: str | None, webhooks: Container[str]) -> str | None:
    """Why a message cannot be applied again; None if it can."""
    if status is None:
        return f"there is no message {target!r}"
    if target not in webhooks:
        return "a command cannot be applied again; give it anew"
    if status in (QUARANTINED, UNRECOGNISED):
        return None
    return f"a message that is {status} cannot be applied again; only quarantined and unrecognised ones can"
