"""The outbox: what is to be told to TokPortal and to people.

A command to TokPortal changes its status in the engine's transactions only: the executor asks by message whether it
may send, and reports by message what came of it. So what the engine decides follows from the journal alone. Alerts
are the exception, since nothing is decided by them: whoever delivers them settles them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from orchestrator.database import Database
from orchestrator.database.tables import outbox

PENDING = "pending"
HELD = "held"
RUNNING = "running"
DONE = "done"
UNKNOWN = "unknown"
DEAD = "dead"
DISCARDED = "discarded"
STATUSES = (PENDING, HELD, RUNNING, DONE, UNKNOWN, DEAD, DISCARDED)

ALERT = "alert"
KINDS = ("configure_video", "unschedule_video", "look_up_slot", "start_warming", ALERT)


class Command(msgspec.Struct):
    """One command, or alert. Times are microseconds since 1970 on the service's clock; `price` is in credits, None
    for what is free."""

    command_id: str
    kind: str
    bundle_id: str | None
    video_id: str | None
    campaign_id: str | None
    country: str | None
    platform: str | None
    body: dict[str, Any]
    idempotency_key: str | None
    price: int | None
    status: str
    reason: str | None
    not_before: int
    created_at: int
    message_id: str
    attempts: int = 0
    last_error: str | None = None


COLUMNS = (
    "command_id",
    "seq",
    "kind",
    "bundle_id",
    "video_id",
    "campaign_id",
    "country",
    "platform",
    "body",
    "idempotency_key",
    "price",
    "status",
    "reason",
    "attempts",
    "not_before",
    "created_at",
    "message_id",
)
_ARRAYS = ", ".join(
    f"%b::{'bigint' if name in ('seq', 'price', 'attempts', 'not_before', 'created_at') else 'text'}[]"
    for name in COLUMNS
)
_INSERT = f"INSERT INTO outbox ({', '.join(COLUMNS)})"
_UNLESS_KNOWN = "ON CONFLICT (command_id) DO NOTHING"
SQLITE_ADD = f"{_INSERT} VALUES ({', '.join('?' * len(COLUMNS))}) {_UNLESS_KNOWN}"
POSTGRES_ADD = f"{_INSERT} SELECT * FROM unnest({_ARRAYS}) {_UNLESS_KNOWN}"

SENDABLE = outbox.c.kind != ALERT


class Outbox:
    def __init__(self, database: Database) -> None:
        self._database = database

    # For the engine, inside its transactions.

    def add(self, connection: sa.Connection, commands: Sequence[Command]) -> None:
        """Adds commands in their order. One whose id is known already is left as it is."""
        if not commands:
            return
        last = connection.execute(sa.select(sa.func.coalesce(sa.func.max(outbox.c.seq), 0))).scalar_one()
        rows = [
            (
                c.command_id,
                seq,
                c.kind,
                c.bundle_id,
                c.video_id,
                c.campaign_id,
                c.country,
                c.platform,
                msgspec.json.encode(c.body).decode(),
                c.idempotency_key,
                c.price,
                c.status,
                c.reason,
                c.attempts,
                c.not_before,
                c.created_at,
                c.message_id,
            )
            for seq, c in enumerate(commands, start=last + 1)
        ]
        cursor: Any = connection.connection.cursor()
        try:
            if self._database.is_sqlite:
                cursor.executemany(SQLITE_ADD, rows)
            else:
                cursor.execute(POSTGRES_ADD, [list(column) for column in zip(*rows, strict=True)])
        finally:
            cursor.close()

    def change(
        self,
        connection: sa.Connection,
        command_ids: Sequence[str],
        status: str,
        reason: str | None,
        from_statuses: Iterable[str],
    ) -> None:
        """Moves commands that are in one of `from_statuses` to `status`."""
        for start in range(0, len(command_ids), 1_000):
            connection.execute(
                outbox.update()
                .where(
                    outbox.c.command_id.in_(command_ids[start : start + 1_000]),
                    outbox.c.status.in_(list(from_statuses)),
                )
                .values(status=status, reason=reason)
            )

    def find(self, connection: sa.Connection, command_ids: Sequence[str]) -> dict[str, Command]:
        found: dict[str, Command] = {}
        for start in range(0, len(command_ids), 1_000):
            query = sa.select(outbox).where(outbox.c.command_id.in_(command_ids[start : start + 1_000]))
            found |= {row.command_id: _command(row) for row in connection.execute(query)}
        return found

    def held(self, connection: sa.Connection, after: int, limit: int) -> list[tuple[int, Command]]:
        """Commands that wait, in their order, each with its place in it; from the place `after` on."""
        query = sa.select(outbox).where(outbox.c.status == HELD, outbox.c.seq > after).order_by(outbox.c.seq)
        return [(row.seq, _command(row)) for row in connection.execute(query.limit(limit))]

    # For whoever executes them.

    def ready(self, connection: sa.Connection, now: int, limit: int) -> list[Command]:
        """Commands to TokPortal that are due, in their order, but at most one for each bundle, and none for a bundle
        of which one is being executed or has an unknown outcome. One that is not due yet holds up no other."""
        busy = outbox.alias("busy")
        query = (
            sa.select(outbox)
            .where(
                outbox.c.status == PENDING,
                outbox.c.not_before <= now,
                SENDABLE,
                ~sa.exists().where(busy.c.bundle_id == outbox.c.bundle_id, busy.c.status.in_([RUNNING, UNKNOWN])),
            )
            .order_by(outbox.c.seq)
            .limit(limit)
        )
        taken: set[str | None] = set()
        found = []
        for row in connection.execute(query):
            if row.bundle_id is None or row.bundle_id not in taken:
                taken.add(row.bundle_id)
                found.append(_command(row))
        return found

    def running(self, connection: sa.Connection, now: int, limit: int) -> list[Command]:
        """Commands that the engine has let go, and whose outcome is still to come."""
        query = (
            sa.select(outbox)
            .where(outbox.c.status == RUNNING, outbox.c.not_before <= now, SENDABLE)
            .order_by(outbox.c.seq)
            .limit(limit)
        )
        return [_command(row) for row in connection.execute(query)]

    def alerts(self, connection: sa.Connection, now: int, limit: int) -> list[Command]:
        """Alerts to be delivered."""
        query = (
            sa.select(outbox)
            .where(outbox.c.status == PENDING, outbox.c.not_before <= now, outbox.c.kind == ALERT)
            .order_by(outbox.c.seq)
            .limit(limit)
        )
        return [_command(row) for row in connection.execute(query)]

    def count_attempt(self, connection: sa.Connection, command_id: str) -> None:
        """To be committed before the call is made, so that a call which kills the process is counted too."""
        connection.execute(
            outbox.update().where(outbox.c.command_id == command_id).values(attempts=outbox.c.attempts + 1)
        )

    def postpone(self, connection: sa.Connection, command_id: str, not_before: int, error: str) -> None:
        connection.execute(
            outbox.update().where(outbox.c.command_id == command_id).values(not_before=not_before, last_error=error)
        )

    def settle_alert(self, connection: sa.Connection, command_id: str, status: str, error: str | None) -> None:
        connection.execute(
            outbox.update()
            .where(outbox.c.command_id == command_id, outbox.c.kind == ALERT, outbox.c.status == PENDING)
            .values(status=status, last_error=error)
        )


def _command(row: Any) -> Command:
    values = {name: getattr(row, name) for name in Command.__struct_fields__}
    return Command(**{**values, "body": msgspec.json.decode(row.body)})
