"""The far end of the outbox.

It asks the engine, by message, whether commands that are due may be sent, executes those that the engine let go, and
reports what came of them. Attempts are counted before the call. What was counted and never reported, because this
process died meanwhile, has an unknown outcome and is not simply repeated.
"""

from __future__ import annotations

import hashlib
import logging
import random
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import msgspec

from orchestrator.database import Database
from orchestrator.journal.journal import DISPATCH, LIVE, RESULT, Journal, Message
from orchestrator.outbox import Command, Outbox
from orchestrator.outbox.outbox import DEAD, DONE

logger = logging.getLogger(__name__)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
AT_ONCE = 100
MOST_ATTEMPTS = 8
FIRST_WAIT = timedelta(seconds=2)
LONGEST_WAIT = timedelta(minutes=15)
ASK_AGAIN = 5_000_000
"""Microseconds after which a question that nobody answered is put again."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a command: `done`, `refused` (with the vendor's code) or `unknown`."""

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

    def look_up(self, command: Command) -> Outcome:
        """What became of a command that was sent, and whose answer was lost."""
        ...


class Recorder:
    """Stands where TokPortal is to be: records what would be sent, and answers that it is done."""

    def execute(self, command: Command) -> Outcome:
        logger.info(
            "recorded, not sent: %s",
            command.kind,
            extra={"command_id": command.command_id, "bundle_id": command.bundle_id, "video_id": command.video_id},
        )
        return Outcome("done", data={"slot": "unknown"} if command.kind == "look_up_slot" else {})

    def look_up(self, command: Command) -> Outcome:
        return self.execute(command)


class Dispatcher:
    """One step: ask for what is due, execute what was let go, deliver alerts.

    `executor` None: nothing is sent to TokPortal; alerts are delivered all the same. `deliver` tells people, and
    raises `TryAgain`.
    """

    def __init__(
        self,
        database: Database,
        clock: Callable[[], int],
        executor: Executor | None,
        deliver: Callable[[Command], None],
    ) -> None:
        self._database = database
        self._clock = clock
        self._executor = executor
        self._deliver = deliver
        self._outbox = Outbox(database)
        self._journal = Journal(database)
        self._asked: dict[str, int] = {}
        self._reported: set[str] = set()
        self._begun = False

    def close(self) -> None:
        self._journal.close()

    def forget(self) -> None:
        """To be called when the lease was lost: another may have executed what was running."""
        self._asked.clear()
        self._reported.clear()
        self._begun = False

    def step(self) -> int:
        """How much there was to do."""
        now = self._clock()
        done = self._alerts(now)
        if self._executor is not None:
            done += self._ask(now) + self._execute(now, self._executor)
        return done

    def _ask(self, now: int) -> int:
        with self._database.read() as connection:
            ready = self._outbox.ready(connection, now, AT_ONCE)
        asked = {name: at for name, at in self._asked.items() if now - at < ASK_AGAIN}
        new = [command.command_id for command in ready if command.command_id not in asked]
        if new:
            self._journal.append([_message(DISPATCH, {"command_ids": new}, secrets.token_hex(16), now)])
        self._asked = asked | dict.fromkeys(new, now)
        return len(new)

    def _execute(self, now: int, executor: Executor) -> int:
        with self._database.read() as connection:
            running = self._outbox.running(connection, now, AT_ONCE)
        # What was reported stays `running` until the engine has taken the report; what was postponed comes again.
        self._reported &= {command.command_id for command in running if command.last_error is None}
        running = [command for command in running if command.command_id not in self._reported]
        if running:
            self._count(running)
            reports = [report for command in running if (report := self._run(command, executor)) is not None]
            self._journal.append(reports)
            self._reported.update(command.command_id for command in running)
        self._begun = True
        return len(running)

    def _count(self, commands: Sequence[Command]) -> None:
        with self._database.write() as connection:
            for command in commands:
                self._outbox.count_attempt(connection, command.command_id)

    def _run(self, command: Command, executor: Executor) -> Message | None:
        """The report of what came of the command; None if it is to be tried again."""
        was_interrupted = command.attempts > 0 and command.last_error is None and not self._begun
        attempt = command.attempts + 1
        try:
            outcome = executor.look_up(command) if was_interrupted else executor.execute(command)
        except TryAgain as error:
            if attempt < MOST_ATTEMPTS:
                self._postpone(command, attempt, str(error))
                return None
            outcome = Outcome("dead", message=f"{attempt} attempts failed, the last one: {error}")
        except Exception as error:
            logger.exception("command %s failed in a way nobody expected", command.command_id)
            outcome = Outcome("unknown", message=f"{type(error).__name__}: {error}")
        now = self._clock()
        report = {
            "command_id": command.command_id,
            "attempt": attempt,
            "outcome": outcome.outcome,
            "code": outcome.code,
            "message": outcome.message,
            "data": outcome.data,
            "answered_at": (EPOCH + timedelta(microseconds=now)).isoformat(),
        }
        name = hashlib.sha256(f"result\0{command.command_id}\0{attempt}".encode()).hexdigest()[:32]
        return _message(RESULT, report, name, now)

    def _postpone(self, command: Command, attempt: int, error: str) -> None:
        """Back-off with full jitter, seeded by the command so that it can be told beforehand."""
        longest = min(FIRST_WAIT * 2**attempt, LONGEST_WAIT)
        wait = random.Random(f"{command.command_id}:{attempt}").random() * longest
        at = self._clock() + wait // timedelta(microseconds=1)
        with self._database.write() as connection:
            self._outbox.postpone(connection, command.command_id, at, error)

    def _alerts(self, now: int) -> int:
        with self._database.read() as connection:
            alerts = self._outbox.alerts(connection, now, AT_ONCE)
        settled: list[tuple[str, str, str | None]] = []
        if alerts:
            self._count(alerts)
        for alert in alerts:
            try:
                self._deliver(alert)
                settled.append((alert.command_id, DONE, None))
            except TryAgain as error:
                attempt = alert.attempts + 1
                if attempt < MOST_ATTEMPTS:
                    self._postpone(alert, attempt, str(error))
                else:
                    settled.append((alert.command_id, DEAD, str(error)))
        if settled:
            with self._database.write() as connection:
                for command_id, status, problem in settled:
                    self._outbox.settle_alert(connection, command_id, status, problem)
        return len(alerts)


def log_alert(alert: Command) -> None:
    """Tells people by the log, where no channel is there to tell them."""
    logger.warning("ALERT %s: %s", alert.body["alert"], alert.body["text"], extra={"command_id": alert.command_id})


def _message(kind: str, body: dict[str, Any], name: str, now: int) -> Message:
    text = msgspec.json.encode(body)
    return Message(
        message_id=f"msg_{name}",
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
