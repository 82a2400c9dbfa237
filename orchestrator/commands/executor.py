"""The far end of the outbox.

It asks the engine, by message, whether commands that are due may be sent, executes those that the engine let go, and
reports what came of each. What came to nothing goes back to the engine, which judges it again before the next attempt.
Attempts are counted before the call. Where it is not known what came of the last one, because the answer was lost or
this process died meanwhile, TokPortal is asked what it has of the command before anything is repeated.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import msgspec
import sqlalchemy as sa

from orchestrator.database import Database, Lease
from orchestrator.database.tables import desk
from orchestrator.desk import SERVICE, read_service
from orchestrator.domain.times import iso
from orchestrator.journal.journal import DISPATCH, RESULT, Journal, Message, ours
from orchestrator.outbox import Command, Outbox
from orchestrator.outbox.outbox import DEAD, DONE, RUNNING, TOGETHER, UNKNOWN
from orchestrator.restored import restored

logger = logging.getLogger(__name__)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ACTOR = '{"kind":"policy","name":"executor"}'
AT_ONCE = 50
"""Commands that are let go and not yet done. What is not let go can still be held, or taken back."""
MOST_ATTEMPTS = 8
"""Then it is dead. A person may grant as many again."""
FIRST_WAIT = timedelta(seconds=2)
LONGEST_WAIT = timedelta(minutes=15)
TURN = 1.0
"""Seconds after which a step ends, whatever is still under way."""
ASK_AGAIN = 10.0
"""Seconds after which a question that nobody answered is put again."""
LINGER = 0.05
"""Seconds that a step waits for calls that are under way, so that the next ones begin as soon as one ends."""

SENDING = frozenset({"live", "sandbox"})
"""Modes in which anything is changed at TokPortal."""
REFUSED = "refused"
AGAIN = "again"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a command: `done`, `refused` (with the vendor's code), `unknown`; or, as it is reported of what came
    to nothing, `again`, and `dead` where that happened too often."""

    outcome: str
    code: str | None = None
    message: str | None = None
    data: dict[str, Any] = field(default_factory=dict)


class TryAgain(Exception):
    """Nothing happened, and the same may be tried again later. `after`: in so many seconds of the service's clock, as
    TokPortal or its quota says; that was no attempt then."""

    def __init__(self, message: str, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after


class Executor(Protocol):
    def room(self, urgency: int) -> int:
        """How many commands of this urgency (0: recovery) TokPortal's quota has room for now."""
        ...

    def execute(self, command: Command) -> Outcome:
        """Raises `TryAgain`."""
        ...

    def execute_together(self, commands: Sequence[Command]) -> Mapping[str, Outcome]:
        """Hands several videos to one bundle. The outcome of each, by its command. Raises `TryAgain` if nothing
        happened at all."""
        ...

    def look_up(self, command: Command) -> Outcome | None:
        """What became of a command that may have been sent before; None if TokPortal has nothing of it, so that it may
        be sent. Raises `TryAgain` where TokPortal does not answer."""
        ...


@dataclass(frozen=True, slots=True)
class _Stop:
    """Why nothing is done at all, and why nothing is changed at TokPortal."""

    everything: str | None
    changes: str | None

    def of(self, command: Command) -> str | None:
        return self.everything if command.changes_nothing else self.changes


class Dispatcher:
    """One step: ask for what is due, carry out what was let go, look up what became of the rest.

    On one bundle one thing is done at a time; on different ones as many as there are `threads` (1: in the caller's).
    `executor` None: nothing is sent to TokPortal; `sends` False: nothing that changes anything there, even where it was
    let go by another mode, or by a service that knew what a restored database does not. `lease` None is for tests that
    are alone with their database.
    """

    def __init__(
        self,
        database: Database,
        clock: Callable[[], int],
        executor: Executor | None,
        lease: Lease | None = None,
        *,
        threads: int = 1,
        sends: bool = True,
    ) -> None:
        self._database = database
        self._sends = sends
        self._clock = clock
        self._executor = executor
        self._lease = lease
        self._outbox = Outbox(database)
        self._journal = Journal(database)
        self._appending = threading.Lock()
        self._asked: dict[str, float] = {}
        self._reported: set[tuple[str, str]] = set()
        """Commands, and the status that they had when they were reported: they keep it until the engine has taken the
        report."""
        self._line: dict[str, None] = {}
        """The lanes that have something to be carried out, the longest known first: old ones do not pass over new
        ones."""
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="commands") if threads > 1 else None
        self._busy: dict[str, Future[set[tuple[str, str]]]] = {}

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown()
        self._journal.close()

    def forget(self) -> None:
        """To be called when the lease was lost or a step failed: what is stored says how to go on."""
        self._asked.clear()
        self._reported.clear()
        self._line.clear()

    def step(self) -> int:
        """How much there was to do."""
        ended = self._gather()
        with self._database.read() as connection:
            now = self._clock()
            found = {command.command_id: command for command in self._outbox.under_way(connection, now)}
            ready = self._ready(connection, now, AT_ONCE - len(found))
            stop = self._stop(connection) if found else _Stop(None, None)
        done = ended + self._ask(ready) + self._carry_out(found, stop)
        if self._busy and not done:
            wait(self._busy.values(), timeout=LINGER, return_when=FIRST_COMPLETED)
            done = self._gather()
        return done

    def _stop(self, connection: sa.Connection) -> _Stop:
        """What was let go before may have been stopped since, and the engine may not have come to know it yet."""
        query = sa.select(desk.c.body).where(desk.c.kind == SERVICE, desk.c.name == SERVICE)
        service = read_service(connection.execute(query).scalar_one_or_none())
        restoration = restored(connection)
        watches = restoration is not None and not restoration.trusted
        observes = None
        if watches or not self._sends or service.mode not in SENDING:
            observes = "observe mode: nothing is sent to TokPortal"
        return _Stop(service.paused, service.paused or observes)

    def _ready(self, connection: sa.Connection, now: int, room: int) -> list[str]:
        """What is due next, as far as TokPortal's quota goes: recovery first, which may use more of it."""
        if self._executor is None or room <= 0:
            return []
        found = self._outbox.ready(connection, now, room)
        if not found:
            return []
        most = {urgent: self._executor.room(0 if urgent else 1) for urgent in (True, False)}
        chosen: list[str] = []
        lanes: set[str] = set()
        for name, urgency, lane in found:
            # What goes together takes hardly more of the quota than one alone.
            if lane in lanes or len(lanes) < most[urgency == 0]:
                lanes.add(lane)
                chosen.append(name)
        return chosen

    def _ask(self, ready: Sequence[str]) -> int:
        now = time.monotonic()
        self._asked = {name: at for name, at in self._asked.items() if name in ready and now - at < ASK_AGAIN}
        new = [name for name in ready if name not in self._asked]
        if new:
            self._append(_message(DISPATCH, {"command_ids": new}, self._clock()))
            self._asked |= dict.fromkeys(new, now)
            # Whatever is let go from here on is another attempt than the one that was reported.
            self._reported -= {(name, RUNNING) for name in new}
        return len(new)

    def _carry_out(self, found: Mapping[str, Command], stop: _Stop) -> int:
        self._reported &= {(name, command.status) for name, command in found.items()}
        lanes: defaultdict[str, list[Command]] = defaultdict(list)
        for name, command in found.items():
            if (name, command.status) not in self._reported:
                lanes[_lane(command)].append(command)
        self._line = dict.fromkeys([*(lane for lane in self._line if lane in lanes), *lanes])
        until = time.monotonic() + TURN
        done = 0
        for lane in [lane for lane in self._line if lane not in self._busy]:
            if self._pool is not None and len(self._busy) >= self._threads:
                break
            del self._line[lane]
            done += 1
            if self._pool is not None:
                self._busy[lane] = self._pool.submit(self._attempt, lanes[lane], stop)
                continue
            self._reported |= self._attempt(lanes[lane], stop)
            if time.monotonic() >= until:
                break
        return done

    def _gather(self) -> int:
        """Takes note of the calls that have ended. Raises what ended one of them in a way that was not foreseen."""
        ended = [lane for lane, future in self._busy.items() if future.done()]
        for future in [self._busy.pop(lane) for lane in ended]:
            self._reported |= future.result()
        return len(ended)

    def _attempt(self, lane: Sequence[Command], stop: _Stop) -> set[tuple[str, str]]:
        """Does what is first in a lane; what was reported. What is in doubt is looked up before anything is sent."""
        doubtful = [command for command in lane if command.is_in_doubt]
        together = [command for command in lane if command.kind == TOGETHER]
        if doubtful:
            return self._attempt_one(doubtful[0], stop.of(doubtful[0]))
        shut = stop.of(lane[0])
        if self._executor is not None and shut is None and len(together) > 1 and lane[0].kind == TOGETHER:
            return self._attempt_together(self._executor, together)
        return self._attempt_one(lane[0], shut)

    def _attempt_one(self, command: Command, shut: str | None) -> set[tuple[str, str]]:
        if self._executor is not None and (command.is_in_doubt or shut is None):
            self._count([command])
            try:
                outcome = self._outcome(self._executor, command, may_send=shut is None and command.status == RUNNING)
            except TryAgain as error:
                self._excuse([command], error)
                return set()
        elif command.is_in_doubt:
            if command.status == UNKNOWN:
                return set()
            outcome = Outcome(UNKNOWN, message="it was interrupted, and this mode does not ask TokPortal")
        else:
            # It was let go, and before it was begun everything was stopped.
            outcome = Outcome(AGAIN, message=shut or "this mode sends nothing to TokPortal")
        return self._settle(command, outcome)

    def _attempt_together(self, executor: Executor, commands: Sequence[Command]) -> set[tuple[str, str]]:
        self._count(commands)
        try:
            outcomes = executor.execute_together(commands)
        except TryAgain as error:
            if error.after is not None:
                self._excuse(commands, error)
                return set()
            outcomes = {command.command_id: _given_up(command, error) for command in commands}
        except Exception as error:
            logger.exception("%d commands for %s failed in a way nobody expected", len(commands), commands[0].bundle_id)
            lost = Outcome(UNKNOWN, message=f"{type(error).__name__}: {error}")
            outcomes = {command.command_id: lost for command in commands}
        unheard = Outcome(UNKNOWN, message="TokPortal's answer says nothing of it")
        reported: set[tuple[str, str]] = set()
        for command in commands:
            reported |= self._settle(command, outcomes.get(command.command_id, unheard))
        return reported

    def _outcome(self, executor: Executor, command: Command, *, may_send: bool) -> Outcome:
        """Raises `TryAgain` for what was no attempt."""
        doubt = command.is_in_doubt
        try:
            if doubt:
                found = executor.look_up(command)
                if found is not None:
                    return found
                doubt = False
            if not may_send:
                return Outcome(AGAIN, message="TokPortal has nothing of it")
            return executor.execute(command)
        except TryAgain as error:
            if error.after is not None:
                if doubt == command.is_in_doubt:
                    raise
                # It is no longer in doubt, and is not to be forgotten: the engine lets it go again.
                return Outcome(AGAIN, message=str(error))
            return Outcome(UNKNOWN, message=str(error)) if doubt else _given_up(command, error)
        except Exception as error:
            logger.exception("command %s failed in a way nobody expected", command.command_id)
            return Outcome(UNKNOWN, message=f"{type(error).__name__}: {error}")

    def _settle(self, command: Command, outcome: Outcome) -> set[tuple[str, str]]:
        if outcome.outcome != DONE:
            self._put_off(command, outcome)
            if outcome.outcome == UNKNOWN and command.status == UNKNOWN:
                return set()
        self._append(_message(RESULT, self._report(command, outcome), self._clock()))
        return {(command.command_id, command.status)}

    def _count(self, commands: Iterable[Command]) -> None:
        with self._database.write() as connection:
            if self._lease is not None:
                self._lease.fence(connection)
            for command in commands:
                self._outbox.count_attempt(connection, command.command_id)

    def _excuse(self, commands: Iterable[Command], error: TryAgain) -> None:
        """TokPortal takes no more for now: what is in doubt stays so, and nothing was tried."""
        not_before = self._clock() + int(1_000_000 * (error.after or 0))
        with self._database.write() as connection:
            for command in commands:
                said = None if command.is_in_doubt else str(error)
                self._outbox.put_off(connection, command.command_id, not_before, said, attempts=command.attempts)

    def _put_off(self, command: Command, outcome: Outcome) -> None:
        said = None if outcome.outcome == UNKNOWN else outcome.message or outcome.code
        with self._database.write() as connection:
            self._outbox.put_off(connection, command.command_id, self._clock() + _wait(command), said)

    def _report(self, command: Command, outcome: Outcome) -> dict[str, Any]:
        return {
            "command_id": command.command_id,
            "attempt": command.attempts + 1,
            "outcome": outcome.outcome,
            "code": outcome.code,
            "message": outcome.message,
            "data": outcome.data,
            "answered_at": iso(EPOCH + timedelta(microseconds=self._clock())),
        }

    def _append(self, message: Message) -> None:
        with self._appending:
            self._journal.append([message])


def _lane(command: Command) -> str:
    return command.bundle_id or command.command_id


def _given_up(command: Command, error: TryAgain) -> Outcome:
    """What became of an attempt that came to nothing: another one, or the end."""
    attempt = command.attempts + 1
    if attempt % MOST_ATTEMPTS:
        return Outcome(AGAIN, message=str(error))
    return Outcome(DEAD, message=f"{attempt} attempts failed, the last one: {error}")


def _wait(command: Command) -> int:
    """Back-off with full jitter, in microseconds, seeded by the command so that it can be told beforehand."""
    attempt = command.attempts + 1
    longest = min(FIRST_WAIT * (1 << min(attempt, 16)), LONGEST_WAIT)
    wait = random.Random(f"{command.command_id}:{attempt}").random() * longest
    return wait // timedelta(microseconds=1)


def _message(kind: str, body: dict[str, Any], now: int) -> Message:
    return ours(kind, msgspec.json.encode(body), endpoint="commands", actor=ACTOR, received_at=now)
