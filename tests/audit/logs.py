"""A chained log, a sealer on a clock of its own, and means to tamper with both."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from orchestrator.audit.checkpoints import Outside
from orchestrator.audit.findings import Report
from orchestrator.audit.keys import SigningKey
from orchestrator.audit.sealer import Sealer
from orchestrator.audit.verify import verify
from orchestrator.database import Database
from orchestrator.engine import Engine
from orchestrator.journal import Journal, Message
from orchestrator.journal.commands import order
from orchestrator.secrets import Secret
from tests.projections.logs import NOON, eventful

KEY = SigningKey(Secret("5a" * 32))
OTHER_KEY = SigningKey(Secret("7c" * 32))


class Time:
    """Passes when it is told to."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return datetime(2026, 11, 26, 12, tzinfo=UTC) + timedelta(seconds=self.seconds)


class Log:
    """A database with a log in it, the folder outside, and the sealer between them."""

    def __init__(self, database: Database, folder: Path, *, max_batch: int = 20) -> None:
        self.database = database
        self.outside = Outside(folder)
        self.time = Time()
        self.engine = Engine(database, max_batch=max_batch)
        self.sealer = self.new_sealer()

    def new_sealer(self, key: SigningKey = KEY) -> Sealer:
        return Sealer(self.database, self.outside, lambda: key, clock=self.time.now, monotonic=self.time.monotonic)

    def take(self, messages: Iterable[Message]) -> None:
        journal = Journal(self.database)
        journal.append(list(messages))
        journal.close()
        while self.engine.step():
            pass

    def order(self, command: dict[str, Any], *, name: str = "ann", kind: str = "person") -> str:
        received_at = int((NOON + timedelta(days=2)).timestamp() * 1e6)
        message = order(command, endpoint="api", name=name, kind=kind, received_at=received_at)
        self.take([message])
        return message.message_id

    def seal(self) -> None:
        """A minute later."""
        self.time.seconds += 61
        self.sealer.step()

    def tell_a_story(self) -> None:
        """Webhooks of both dialects, orders that are taken and refused, and checkpoints in between."""
        messages = eventful(7)
        self.take(messages[:60])
        self.seal()
        self.take(messages[60:120])
        self.order({"command": "bundle.pause", "bundle_id": "b1", "reason": "=1+1"})
        self.order({"command": "bundle.pause", "bundle_id": "nobody", "reason": "just so"}, name="bob")
        self.seal()
        self.take(messages[120:])

    def verify(self, *, keys: Iterable[SigningKey] = (KEY,), beside: bool = True, **options: Any) -> Report:
        outside = self.outside if beside else None
        return verify(self.database, [key.public for key in keys], outside, **options)

    def execute(self, statement: str, **values: Any) -> None:
        with self.database.write() as connection:
            assert connection.execute(sa.text(statement), values).rowcount

    def rows(self, statement: str) -> list[Any]:
        with self.database.read() as connection:
            return list(connection.execute(sa.text(statement)).all())

    def value(self, statement: str, **values: Any) -> Any:
        with self.database.read() as connection:
            return connection.execute(sa.text(statement), values).scalar_one()
