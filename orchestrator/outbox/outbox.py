"""The outbox: what is to be told to TokPortal and to people.

A command to TokPortal changes its status in the engine's transactions only: the executor asks by message whether it
may send, and reports by message what came of it. So what the engine decides follows from the journal alone. Alerts
are the exception, since nothing is decided by them: whoever delivers them settles them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

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
TOGETHER = "configure_video"
"""The kind of command of which several may be carried out on a bundle together."""
MOST_TOGETHER = 25
KINDS = (
    "configure_video",
    "unschedule_video",
    "look_up_slot",
    "start_warming",
    "add_slots",
    "finalize_video",
    "request_corrections",
    "read_metrics",
    ALERT,
)
RECOVERY, ORDINARY, WHENEVER = 0, 1, 2
"""How urgent a command is: a video is on its way off an account; everything else; what can wait for days."""


class Command(msgspec.Struct):
    """One command, or alert. Times are microseconds since 1970 on the service's clock; `price` is in credits, None
    for what is free; `urgency` is `RECOVERY`, `ORDINARY` or `WHENEVER`.

    `attempts` are counted before they are made. `last_error` says why the last one came to nothing; without it, an
    attempt that was made may have had its effect.
    """

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
    urgency: int = ORDINARY

    @property
    def is_in_doubt(self) -> bool:
        """Whether TokPortal may have it already: nothing is known of the last attempt."""
        return self.status == UNKNOWN or (self.attempts > 0 and self.last_error is None)

    @property
    def changes_nothing(self) -> bool:
        """Whether the command only reads."""
        return self.kind == "read_metrics" or (self.kind == "look_up_slot" and not self.body["free_it"])


class Move(NamedTuple):
    """A command that is in one of the statuses `of` gets another one, for this reason."""

    command_id: str
    status: str
    reason: str | None
    of: tuple[str, ...]

    @property
    def is_another_try(self) -> bool:
        return self.status == PENDING and self.of in ((DEAD,), (UNKNOWN,))


class Ready(NamedTuple):
    """A command that may be sent. Those of one lane go together, or one after another."""

    command_id: str
    urgency: int
    lane: str


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
    "urgency",
)
NUMBERS = frozenset({"seq", "price", "attempts", "not_before", "created_at", "urgency"})
_ARRAYS = ", ".join(f"%b::{'bigint' if name in NUMBERS else 'text'}[]" for name in COLUMNS)
_INSERT = f"INSERT INTO outbox ({', '.join(COLUMNS)})"
_UNLESS_KNOWN = "ON CONFLICT (command_id) DO NOTHING"
SQLITE_ADD = f"{_INSERT} VALUES ({', '.join('?' * len(COLUMNS))}) {_UNLESS_KNOWN}"
POSTGRES_ADD = f"{_INSERT} SELECT * FROM unnest({_ARRAYS}) {_UNLESS_KNOWN}"

# What would change nothing is not written.
SQLITE_CHANGE = """
UPDATE outbox SET status = moved.status, reason = moved.reason
FROM (SELECT ? AS command_id, ? AS status, ? AS reason, ? AS of) AS moved
WHERE outbox.command_id = moved.command_id AND instr(' ' || moved.of || ' ', ' ' || outbox.status || ' ')
AND (outbox.status IS NOT moved.status OR outbox.reason IS NOT moved.reason)
"""
POSTGRES_CHANGE = """
UPDATE outbox SET status = moved.status, reason = moved.reason
FROM unnest(%b::text[], %b::text[], %b::text[], %b::text[]) AS moved(command_id, status, reason, of)
WHERE outbox.command_id = moved.command_id AND outbox.status = ANY(string_to_array(moved.of, ' '))
AND (outbox.status, outbox.reason) IS DISTINCT FROM (moved.status, moved.reason)
"""

SENDABLE = outbox.c.kind != ALERT
NOW = sa.bindparam("now", type_=sa.BigInteger)


# Both are asked several times a second: put together once.


def _ready() -> sa.Select[Any]:
    busy = sa.select(outbox.c.bundle_id).where(outbox.c.status.in_([RUNNING, UNKNOWN]), outbox.c.bundle_id.is_not(None))
    earlier = outbox.alias("earlier")
    lane = sa.func.coalesce(outbox.c.bundle_id, outbox.c.command_id)
    order = (outbox.c.urgency, outbox.c.seq)
    others = sa.case((outbox.c.kind == TOGETHER, 0), else_=1)
    due = (
        sa.select(
            outbox.c.command_id,
            outbox.c.seq,
            outbox.c.urgency,
            lane.label("lane"),
            sa.func.row_number().over(partition_by=lane, order_by=order).label("place"),
            sa.func.sum(others).over(partition_by=lane, order_by=order, rows=(None, 0)).label("others"),
        )
        .where(
            outbox.c.status == PENDING,
            outbox.c.not_before <= NOW,
            SENDABLE,
            lane.not_in(busy),
            ~sa.exists().where(
                earlier.c.video_id == outbox.c.video_id,
                earlier.c.bundle_id == outbox.c.bundle_id,
                earlier.c.seq < outbox.c.seq,
                earlier.c.status.in_([PENDING, HELD]),
                earlier.c.kind != ALERT,
            ),
        )
        .subquery()
    )
    most = sa.bindparam("most", type_=sa.Integer)
    is_next = sa.or_(due.c.place == 1, sa.and_(due.c.others == 0, due.c.place <= MOST_TOGETHER))
    found = sa.select(due.c.command_id, due.c.urgency, due.c.lane).where(is_next)
    return found.order_by(due.c.urgency, due.c.seq).limit(most)


def _is_in_doubt(columns: Any) -> sa.ColumnElement[bool]:
    """See `Command.is_in_doubt`."""
    is_lost = sa.and_(columns.status == RUNNING, columns.attempts > 0, columns.last_error.is_(None))
    return sa.or_(columns.status == UNKNOWN, is_lost)


def _under_way() -> sa.Select[Any]:
    other = outbox.alias("other")
    # What is in doubt may still take effect, and would then change what the next one has found.
    is_held_up = sa.exists().where(
        other.c.bundle_id == outbox.c.bundle_id, other.c.command_id != outbox.c.command_id, _is_in_doubt(other.c)
    )
    return (
        sa.select(outbox)
        .where(
            sa.or_(_is_in_doubt(outbox.c), sa.and_(outbox.c.status == RUNNING, ~is_held_up)),
            # One that was put off, and whose report the engine has not taken yet, is not carried out once more.
            outbox.c.not_before <= NOW,
            SENDABLE,
        )
        .order_by(outbox.c.urgency, outbox.c.seq)
    )


READY, UNDER_WAY = _ready(), _under_way()


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
                c.urgency,
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

    def change(self, connection: sa.Connection, moves: Sequence[Move]) -> None:
        """Carries out the moves. Those of one command keep their order; all others go together.

        What was dead, or unknown, and is to be tried again is due at once, and TokPortal is asked first what it has
        of it. What was dead gets a new key besides: its outcome was known, and a key that TokPortal knows is answered
        with what it said before.
        """
        rounds: list[list[Move]] = []
        moved: Counter[str] = Counter()
        for move in moves:
            if moved[move.command_id] == len(rounds):
                rounds.append([])
            rounds[moved[move.command_id]].append(move)
            moved[move.command_id] += 1
        for together in rounds:
            self._change(connection, [move for move in together if not move.is_another_try])
            for move in together:
                if move.is_another_try:
                    self._try_again(connection, move)

    def _change(self, connection: sa.Connection, moves: Sequence[Move]) -> None:
        if not moves:
            return
        rows = [(move.command_id, move.status, move.reason, " ".join(move.of)) for move in moves]
        cursor: Any = connection.connection.cursor()
        try:
            if self._database.is_sqlite:
                cursor.executemany(SQLITE_CHANGE, rows)
            else:
                cursor.execute(POSTGRES_CHANGE, [list(column) for column in zip(*rows, strict=True)])
        finally:
            cursor.close()

    def _try_again(self, connection: sa.Connection, move: Move) -> None:
        values: dict[str, Any] = {
            "status": move.status,
            "reason": move.reason,
            "not_before": 0,
            "last_error": None,
        }
        if move.of == (DEAD,):
            values["idempotency_key"] = outbox.c.command_id + "." + sa.cast(outbox.c.attempts, sa.Text)
        is_meant = sa.and_(outbox.c.command_id == move.command_id, outbox.c.status.in_(move.of))
        connection.execute(outbox.update().where(is_meant).values(values))

    def reprice(self, connection: sa.Connection, prices: Mapping[str, int]) -> None:
        """Notes what commands cost by TokPortal's own word."""
        for command_id, price in prices.items():
            connection.execute(outbox.update().where(outbox.c.command_id == command_id).values(price=price))

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

    def ready(self, connection: sa.Connection, now: int, limit: int) -> list[Ready]:
        """The commands to TokPortal that may be sent next; the most urgent first, then the oldest.

        Of each bundle it is the first that is due, or the first few where all of them hand over videos, and none while
        something is being executed there or has an unknown outcome: each changes the bundle that the next one finds.
        What is not due yet, or held, holds up no other video. It does hold up what was decided later for its own video
        on the bundle: to unschedule a video is to undo what was said before, not what is said afterwards.
        """
        return [Ready(*row) for row in connection.execute(READY, {"now": now, "most": limit})]

    def under_way(self, connection: sa.Connection, now: int) -> list[Command]:
        """Commands that the engine has let go, and those with an unknown outcome that are to be looked up now; the
        most urgent first, then the oldest."""
        return [_command(row) for row in connection.execute(UNDER_WAY, {"now": now})]

    def count_attempt(self, connection: sa.Connection, command_id: str) -> None:
        """To be committed before the call is made, so that a call which kills the process is counted too."""
        connection.execute(
            outbox.update()
            .where(outbox.c.command_id == command_id)
            .values(attempts=outbox.c.attempts + 1, last_error=None)
        )

    def put_off(
        self,
        connection: sa.Connection,
        command_id: str,
        not_before: int,
        error: str | None,
        *,
        attempts: int | None = None,
    ) -> None:
        """`error`: why the attempt came to nothing; None where nobody can tell. `attempts`: how many there were, where
        the last one turned out to be none."""
        values: dict[str, Any] = {"not_before": not_before, "last_error": error}
        if attempts is not None:
            values["attempts"] = attempts
        connection.execute(outbox.update().where(outbox.c.command_id == command_id).values(values))


def _command(row: Any) -> Command:
    values = {name: getattr(row, name) for name in Command.__struct_fields__}
    return Command(**{**values, "body": msgspec.json.decode(row.body)})
