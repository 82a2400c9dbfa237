"""The far end of the outbox.

It asks the engine, by message, whether commands that are due may be sent, executes those that the engine let go, and
reports what came of each. What came to nothing goes back to the engine, which judges it again before the next attempt.
Attempts are counted before the call. Where it is not known what came of the last one, because the answer was lost or
this process died meanwhile, TokPortal is asked what it has of the command before anything is repeated.
"""

from __future__ import annotations

import hashlib
import logging
import random
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import msgspec
import sqlalchemy as sa

from orchestrator.database import Database, Lease
from orchestrator.database.tables import desk
from orchestrator.desk import SERVICE, read_service
from orchestrator.domain.times import iso
from orchestrator.journal.journal import DISPATCH, LIVE, RESULT, Journal, Message
from orchestrator.outbox import Command, Outbox
from orchestrator.outbox.outbox import DEAD, DONE, RUNNING, UNKNOWN

logger = logging.getLogger(__name__)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
AT_ONCE = 50
"""Commands that are let go and not yet done. What is not let go can still be held, or taken back."""
MOST_ATTEMPTS = 8
"""Then it is dead. A person may grant as many again."""
FIRST_WAIT = timedelta(seconds=2)
LONGEST_WAIT = timedelta(minutes=15)
TURN = 1.0
"""Seconds after which a step ends, so that timers and alerts are not kept waiting by calls that take long."""
ASK_AGAIN = 10.0
"""Seconds after which a question that nobody answered is put again."""

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
    """Nothing happened, and the same may be tried again later."""


class Executor(Protocol):
    def execute(self, command: Command) -> Outcome:
        """Raises `TryAgain`."""
        ...

    def look_up(self, command: Command) -> Outcome | None:
        """What became of a command that may have been sent before; None if TokPortal has nothing of it, so that it may
        be sent. Raises `TryAgain` where TokPortal does not answer."""
        ...


class Recorder:
    """Stands where TokPortal is to be: records what would be sent, and answers that it is done."""

    def execute(self, command: Command) -> Outcome:
        logger.info(
            "recorded, not sent: %s",
            command.kind,
            extra={"command_id": command.command_id, "bundle_id": command.bundle_id, "video_id": command.video_id},
        )
        return Outcome(DONE, data={"slot": "unknown"} if command.kind == "look_up_slot" else {})

    def look_up(self, command: Command) -> Outcome | None:
        """It remembers nothing, and recording something twice does no harm."""
        return None


class Dispatcher:
    """One step: deliver alerts, ask for what is due, carry out what was let go, look up what became of the rest.

    `executor` None: nothing is sent to TokPortal; alerts are delivered all the same. `deliver` tells people; an alert
    that it fails to deliver is tried again. `lease` None is for tests that are alone with their database.
    """

    def __init__(
        self,
        database: Database,
        clock: Callable[[], int],
        executor: Executor | None,
        deliver: Callable[[Command], None],
        lease: Lease | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._executor = executor
        self._deliver = deliver
        self._lease = lease
        self._outbox = Outbox(database)
        self._journal = Journal(database)
        self._asked: dict[str, float] = {}
        self._reported: set[tuple[str, str]] = set()
        """Commands, and the status that they had when they were reported: they keep it until the engine has taken the
        report."""
        self._line: dict[str, None] = {}
        """What is to be carried out, the longest known first: an old bundle's commands do not pass over a new one's."""

    def close(self) -> None:
        self._journal.close()

    def forget(self) -> None:
        """To be called when the lease was lost or a step failed: what is stored says how to go on."""
        self._asked.clear()
        self._reported.clear()
        self._line.clear()

    def step(self) -> int:
        """How much there was to do."""
        return self._alerts() + self._commands()

    # Commands.

    def _commands(self) -> int:
        with self._database.read() as connection:
            now = self._clock()
            found = {command.command_id: command for command in self._outbox.under_way(connection, now)}
            room = AT_ONCE - len(found) if self._executor is not None else 0
            ready = self._outbox.ready(connection, now, room) if room > 0 else []
            paused = _paused(connection) if found else None
        return self._ask(ready) + self._carry_out(found, paused)

    def _ask(self, ready: Sequence[str]) -> int:
        now = time.monotonic()
        self._asked = {name: at for name, at in self._asked.items() if name in ready and now - at < ASK_AGAIN}
        new = [name for name in ready if name not in self._asked]
        if new:
            self._journal.append([_message(DISPATCH, {"command_ids": new}, self._clock())])
            self._asked |= dict.fromkeys(new, now)
            # Whatever is let go from here on is another attempt than the one that was reported.
            self._reported -= {(name, RUNNING) for name in new}
        return len(new)

    def _carry_out(self, found: Mapping[str, Command], paused: str | None) -> int:
        self._reported &= {(name, command.status) for name, command in found.items()}
        open_ = [name for name, command in found.items() if (name, command.status) not in self._reported]
        self._line = dict.fromkeys([*(name for name in self._line if name in open_), *open_])
        until = time.monotonic() + TURN
        done = 0
        for name in list(self._line):
            self._attempt(found[name], paused)
            del self._line[name]
            done += 1
            if time.monotonic() >= until:
                break
        return done

    def _attempt(self, command: Command, paused: str | None) -> None:
        if self._executor is not None and (command.is_in_doubt or paused is None):
            self._count(command)
            outcome = self._outcome(self._executor, command, may_send=paused is None and command.status == RUNNING)
        elif command.is_in_doubt:
            if command.status == UNKNOWN:
                return
            outcome = Outcome(UNKNOWN, message="it was interrupted, and this mode does not ask TokPortal")
        else:
            # It was let go, and before it was begun everything was stopped.
            outcome = Outcome(AGAIN, message=paused or "this mode sends nothing to TokPortal")
        if outcome.outcome != DONE:
            self._put_off(command, outcome)
            if outcome.outcome == UNKNOWN and command.status == UNKNOWN:
                return
        self._journal.append([_message(RESULT, self._report(command, outcome), self._clock())])
        self._reported.add((command.command_id, command.status))

    def _count(self, command: Command) -> None:
        with self._database.write() as connection:
            if self._lease is not None:
                self._lease.fence(connection)
            self._outbox.count_attempt(connection, command.command_id)

    def _outcome(self, executor: Executor, command: Command, *, may_send: bool) -> Outcome:
        attempt = command.attempts + 1
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
            if doubt:
                return Outcome(UNKNOWN, message=str(error))
            if attempt % MOST_ATTEMPTS:
                return Outcome(AGAIN, message=str(error))
            return Outcome(DEAD, message=f"{attempt} attempts failed, the last one: {error}")
        except Exception as error:
            logger.exception("command %s failed in a way nobody expected", command.command_id)
            return Outcome(UNKNOWN, message=f"{type(error).__name__}: {error}")

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

    # Alerts. Nothing is decided by them, so whoever delivers them settles them.

    def _alerts(self) -> int:
        with self._database.read() as connection:
            alerts = self._outbox.alerts(connection, self._clock(), AT_ONCE)
        until = time.monotonic() + TURN
        done = 0
        for alert in alerts:
            self._count(alert)
            self._tell(alert)
            done += 1
            if time.monotonic() >= until:
                break
        return done

    def _tell(self, alert: Command) -> None:
        problem = None
        try:
            self._deliver(alert)
        except TryAgain as error:
            problem = str(error)
        except Exception as error:
            # One that cannot be told must not keep the others, and the commands, waiting.
            logger.exception("alert %s failed in a way nobody expected", alert.command_id)
            problem = f"{type(error).__name__}: {error}"
        with self._database.write() as connection:
            if problem is None:
                self._outbox.settle_alert(connection, alert.command_id, DONE, None)
            elif (alert.attempts + 1) % MOST_ATTEMPTS:
                self._outbox.put_off(connection, alert.command_id, self._clock() + _wait(alert), problem)
            else:
                self._outbox.settle_alert(connection, alert.command_id, DEAD, problem)


def _wait(command: Command) -> int:
    """Back-off with full jitter, in microseconds, seeded by the command so that it can be told beforehand."""
    attempt = command.attempts + 1
    longest = min(FIRST_WAIT * (1 << min(attempt, 16)), LONGEST_WAIT)
    wait = random.Random(f"{command.command_id}:{attempt}").random() * longest
    return wait // timedelta(microseconds=1)


def _paused(connection: sa.Connection) -> str | None:
    """Why everything is paused, if it is."""
    query = sa.select(desk.c.body).where(desk.c.kind == SERVICE, desk.c.name == SERVICE)
    return read_service(connection.execute(query).scalar_one_or_none()).paused


def log_alert(alert: Command) -> None:
    """Tells people by the log, where no channel is there to tell them."""
    logger.warning("ALERT %s: %s", alert.body["alert"], alert.body["text"], extra={"command_id": alert.command_id})


def _message(kind: str, body: dict[str, Any], now: int) -> Message:
    text = msgspec.json.encode(body)
    return Message(
        message_id=f"msg_{secrets.token_hex(16)}",
        kind=kind,
        endpoint="commands",
        mode=LIVE,
        dialect=None,
        event_id=None,
        id_source=None,
        digest=hashlib.sha256(text).hexdigest(),
        body=text,
        headers="{}",
        actor='{"kind":"policy","name":"executor"}',
        received_at=now,
    )
