"""The one writer of the log."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
import psycopg
import sqlalchemy as sa
from eventsourcing.persistence import IntegrityError, StoredEvent

from orchestrator.database import DATA_ERRORS, Database, Lease
from orchestrator.desk import Desk
from orchestrator.engine import programs
from orchestrator.engine.aggregates import LoadedAggregates
from orchestrator.engine.decide import Judged, apply, judge, touched
from orchestrator.engine.reactions import found, house, orders, outcomes, silence
from orchestrator.engine.turn import EPOCH, Follow, Turn, instant
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
from orchestrator.journal.journal import COMMAND, DISPATCH, FOUND, RESULT, TIMER, WEBHOOK, WORK
from orchestrator.log import Chain, EventLog, EventMapper
from orchestrator.outbox import Outbox
from orchestrator.policies.schema import Policies, parse
from orchestrator.timers import Timers

logger = logging.getLogger(__name__)

TROUBLE = (sa.exc.OperationalError, sa.exc.InterfaceError, psycopg.OperationalError, sqlite3.OperationalError)
"""What the drivers raise where the database cannot be reached, is locked, or takes too long."""
MAX_BATCH = 1000
CONFLICT_TRIES = 5
CLAIMING = frozenset({APPLIED, UNRECOGNISED})


class PoisonError(Exception):
    """The message at `index` of a batch could not be applied."""

    def __init__(self, index: int, cause: Exception) -> None:
        super().__init__(f"{type(cause).__name__}: {cause}")
        self.index = index


@dataclass(slots=True)
class Batch:
    """What follows from some messages: events, what became of each message, and all else."""

    now: datetime
    events: list[StoredEvent] = field(default_factory=list)
    messages: list[Taken] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    again: list[Mark] = field(default_factory=list)
    follow: Follow = field(default_factory=Follow)


@dataclass(slots=True)
class Known:
    """What was looked up for a batch before it is decided."""

    judged: dict[str, Judged]
    targets: dict[str, str]
    """Of each command that wants a webhook applied again: which one."""
    again: dict[str, Judged]
    statuses: dict[str, str]
    claims: dict[tuple[str, str], int]


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
        self._outbox = Outbox(database)
        self._timers = Timers(database)
        self._log = EventLog(database)
        self._chain = Chain(database)
        self._mapper = EventMapper()
        self._aggregates = LoadedAggregates(self._log, self._mapper)
        self._desk = Desk(database)
        self._policies: Policies | None = None
        self._told: set[tuple[str, str, int]] = set()
        self._now: datetime | None = None
        self._applied = 0
        self._first_position = 0
        self._has_left_work = False
        self._has_signed = False

    @property
    def full(self) -> int:
        """As many messages as one step takes."""
        return self._max_batch

    def forget(self) -> None:
        """To be called when the lease was lost or a commit failed: the next step starts from what is stored."""
        self._has_signed = False
        self._aggregates.forget()
        self._chain.forget()
        self._desk.clear()
        self._told.clear()
        self._now = None

    def _undo(self) -> None:
        """Takes back everything that was decided and not committed."""
        self._aggregates.forget()
        self._chain.forget()
        self._told.clear()
        self._now = None
        if self._desk.loaded:
            with self._database.read() as connection:
                self._desk.rollback(connection)

    def step(self) -> int:
        """Takes and commits one batch; the number of messages taken, or `full` where there is more to do at once.

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
        if self._now is None and self._chain_backlog():
            return self._max_batch
        with self._database.read() as connection:
            taken = self._inbox.take(connection, self._max_batch)
        if not taken:
            return 0
        try:
            done = self._take(taken)
            return self._max_batch if done < len(taken) or self._has_left_work else done
        except PoisonError as poison:
            index = poison.index
        except DATA_ERRORS:
            # The database refused a value and does not say whose: they go one by one.
            for message in taken:
                self._undo()
                self._take_alone(message)
            return self._max_batch
        self._undo()
        if index and self._take(taken[:index]) < index:
            return self._max_batch
        self._undo()
        self._take_alone(taken[index])
        return self._max_batch

    def _chain_backlog(self) -> bool:
        """Chains a part of what an earlier version wrote without; whether there was any."""
        with self._database.read() as connection:
            end = self._log.head(connection), self._inbox.last_applied(connection)
            if not self._chain.is_behind(connection, *end):
                return False
        with self._database.write() as connection:
            if self._lease is not None:
                self._lease.fence(connection)
            link = self._chain.catch_up(connection)
        logger.info("the log is being chained", extra={"position": link.last_position, "head": end[0]})
        return True

    def _take_alone(self, message: Taken) -> None:
        try:
            self._take([message])
        except (PoisonError, *DATA_ERRORS) as error:
            self._undo()
            reason = _printable(f"the program could not apply it: {error}"[:500])
            logger.error("message %s is quarantined: %s", message.message_id, reason)
            batch = Batch(self._load_state(), messages=[message])
            batch.marks.append(_mark(message, QUARANTINED, reason, self._first_position, 0))
            self._commit(batch)

    def _take(self, messages: Sequence[Taken]) -> int:
        """Decides and commits the messages, or those before the first that is big work; how many. Big work is a batch
        of its own: what it reads of the outbox is then what was committed, in whatever batches the rest came."""
        big = next((index for index, message in enumerate(messages) if message.kind == WORK), len(messages))
        messages = messages[: max(big, 1)]
        batch = self._decide(messages)
        self._commit(batch)
        self._has_left_work = bool(batch.follow.works)
        return len(batch.marks)

    def _load_state(self) -> datetime:
        """Where the log and the order of messages end, and the time of the last event."""
        if self._now is not None:
            return self._now
        with self._database.read() as connection:
            self._applied = self._inbox.last_applied(connection)
            head = self._log.head(connection)
            last = self._log.after(connection, head - 1, 1)
            if not self._desk.loaded:
                self._desk.load(connection)
        self._first_position = head + 1
        self._now = self._mapper.event(*last[0][1:]).timestamp if last else EPOCH
        text = self._desk.service().policies
        if text != (self._policies.text if self._policies is not None else None):
            self._policies = parse(text) if text is not None else None
        return self._now

    def _decide(self, messages: Sequence[Taken]) -> Batch:
        batch = Batch(self._load_state())
        with self._database.read() as connection:
            known = self._look_up(messages, connection)
            for index, message in enumerate(messages):
                try:
                    mark = self._apply(message, known, batch, connection)
                except TROUBLE:
                    raise  # It is the database's, not the message's.
                except Exception as error:
                    raise PoisonError(index, error) from error
                batch.messages.append(message)
                batch.marks.append(mark)
                known.statuses[message.message_id] = mark.status
        return batch

    def _look_up(self, messages: Sequence[Taken], connection: sa.Connection) -> Known:
        judged: dict[str, Judged] = {}
        targets: dict[str, str] = {}
        for index, message in enumerate(messages):
            try:
                if message.kind == WEBHOOK:
                    judged[message.message_id] = self._judge(message)
                elif message.kind == COMMAND and (target := _retry_target(message)) is not None:
                    targets[message.message_id] = target
            except Exception as error:
                raise PoisonError(index, error) from error
        found = self._inbox.find(connection, list(targets.values()))
        again = self._judge_targets(messages, targets, found)
        everything = [*judged.values(), *again.values()]
        claims = self._inbox.claims(connection, [_name(j.message) for j in everything])
        keys = {key for j in everything if j.reading is not None for key in touched(j.reading)}
        self._aggregates.load(connection, keys)
        return Known(judged, targets, again, {name: status for name, (_, status) in found.items()}, claims)

    def _judge(self, message: Taken) -> Judged:
        return judge(message)

    def _apply(self, message: Taken, known: Known, batch: Batch, connection: sa.Connection) -> Mark:
        """Decides one message."""
        first = self._next(batch)
        if message.kind == WEBHOOK:
            return self._settle(known.judged[message.message_id], known.claims, batch, connection)
        if message.message_id in known.targets:
            target = known.targets[message.message_id]
            refusal = _refusal(target, known.statuses.get(target), known.again)
            if refusal is None:
                retried = self._judge_again(known.again[target], message)
                mark = self._settle(retried, known.claims, batch, connection)
                batch.again.append(mark)
                known.statuses[target] = mark.status
                return _mark(message, APPLIED, None, self._next(batch), 0)
        else:
            body = msgspec.json.decode(message.body)
            turn = self._turn(message, batch, connection, body["cause"] if message.kind == WORK else None)
            refusal = _react(turn, message.kind, body)
            self._collect(turn.now, batch)
        if refusal is not None:
            logger.warning("message %s is refused: %s", message.message_id, refusal)
        return _mark(message, APPLIED if refusal is None else REFUSED, refusal, first, self._next(batch) - first)

    def _turn(self, message: Taken, batch: Batch, connection: sa.Connection, cause: str | None = None) -> Turn:
        return Turn(
            message=message,
            cause=cause,
            now=max(batch.now, instant(message.received_at)),
            connection=connection,
            aggregates=self._aggregates,
            desk=self._desk,
            outbox=self._outbox,
            policies=self._policies,
            follow=batch.follow,
            set_policies=self._set_policies,
            told=self._told,
        )

    def _set_policies(self, policies: Policies) -> None:
        self._policies = policies

    def _collect(self, now: datetime, batch: Batch) -> None:
        events = [self._mapper.to_stored_event(event) for event in self._aggregates.collect()]
        if events:
            batch.now = now
            batch.events += events

    def _judge_targets(
        self, messages: Sequence[Taken], targets: dict[str, str], found: dict[str, tuple[Taken, str]]
    ) -> dict[str, Judged]:
        """The webhooks that commands want applied again, so that their aggregates can be loaded with the rest."""
        judged: dict[str, Judged] = {}
        for index, message in enumerate(messages):
            target, _ = found.get(targets.get(message.message_id, ""), (None, None))
            if target is None or target.kind != WEBHOOK:
                continue
            try:
                judged[target.message_id] = judge(target)
            except Exception as error:
                raise PoisonError(index, error) from error
        return judged

    def _judge_again(self, judged: Judged, command: Taken) -> Judged:
        """Its times are held against the receipt of the retry."""
        return judge(judged.message._replace(received_at=command.received_at))

    def _settle(
        self, judged: Judged, claims: dict[tuple[str, str], int], batch: Batch, connection: sa.Connection
    ) -> Mark:
        """Applies one webhook, unless its event id belongs to another message."""
        message, status, reason = judged.message, judged.status, judged.reason
        first = self._next(batch)
        turn = self._turn(message, batch, connection)
        if status in CLAIMING:
            if claims.setdefault(_name(message), message.seq) != message.seq:
                status, reason = CONFLICT, "another message with this event id and other content came first"
            elif judged.reading is not None:
                apply(judged.reading, turn)
                silence.heard(turn, judged.reading.bundle_id)
                self._collect(turn.now, batch)
        if status not in (APPLIED, TESTED):
            logger.warning("message %s is %s: %s", message.message_id, status, reason)
            turn.alert_hourly(status, "journal", f"a message is {status}: {reason}")
        return _mark(message, status, reason, first, self._next(batch) - first)

    def _next(self, batch: Batch) -> int:
        return self._first_position + len(batch.events)

    def _commit(self, batch: Batch) -> None:
        follow = batch.follow
        with self._database.write() as connection:
            if self._lease is not None:
                self._lease.fence(connection)
            first = self._log.append(connection, batch.events)
            if first != self._first_position:
                raise IntegrityError("the log has grown since this batch was decided")
            if batch.events and not self._has_signed:
                programs.sign(connection, first)
            self._inbox.mark(connection, batch.marks, self._applied + 1)
            self._chain.append(
                connection, batch.messages, batch.marks, batch.again, batch.events, first, self._applied + 1
            )
            for mark in batch.again:
                self._inbox.remark(connection, mark)
            self._outbox.add(connection, list(follow.commands.values()))
            self._outbox.reprice(connection, follow.prices)
            self._outbox.change(connection, follow.moves)
            self._timers.apply(
                connection,
                {name: timer for name, timer in follow.timers.items() if timer is not None},
                [name for name, timer in follow.timers.items() if timer is None],
            )
            self._inbox.enqueue(connection, follow.works)
            self._desk.write(connection)
        self._desk.written()
        self._has_signed = self._has_signed or bool(batch.events)
        self._applied += len(batch.marks)
        self._first_position += len(batch.events)
        self._now = batch.now
        self._aggregates.trim()


def _react(turn: Turn, kind: str, body: dict[str, Any]) -> str | None:
    """Does what a message that is no webhook says. Why not, where the rules forbid it."""
    if kind == COMMAND:
        return orders.carry_out(turn, body)
    if kind == TIMER:
        house.timer(turn, body)
    elif kind == WORK:
        house.work(turn, body)
    elif kind == DISPATCH:
        outcomes.dispatch(turn, body["command_ids"])
        silence.watch(turn)
    elif kind == RESULT:
        return outcomes.result(turn, body)
    elif kind == FOUND:
        found.take(turn, body)
    else:
        raise ValueError(f"nobody knows messages of the kind {kind!r}")
    return None


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
        claims=status in CLAIMING and message.kind == WEBHOOK,
    )


def _retry_target(command: Taken) -> str | None:
    """The webhook that the command wants applied again, if that is what it wants."""
    order = msgspec.json.decode(command.body)
    return str(order["message_id"]) if order["command"] == "retry" else None


def _refusal(target: str, status: str | None, webhooks: Container[str]) -> str | None:
    """Why a message cannot be applied again; None if it can."""
    if status is None:
        return f"there is no message {target!r}"
    if target not in webhooks:
        return "only a webhook can be applied again; give a command anew"
    if status in (QUARANTINED, UNRECOGNISED):
        return None
    return f"a message that is {status} cannot be applied again; only quarantined and unrecognised ones can"
