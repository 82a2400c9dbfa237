"""Alerts in the outbox, and the causes that they are grouped under, as the database keeps them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
import sqlalchemy as sa

from orchestrator.alerts.groups import Group, read_group
from orchestrator.database.tables import alert_groups, desk, outbox
from orchestrator.desk import SERVICE, read_service
from orchestrator.outbox import Command
from orchestrator.outbox.outbox import ALERT, PENDING

_COLUMNS = tuple(column.name for column in alert_groups.columns)
_SAVE = sa.text(
    f"INSERT INTO alert_groups ({', '.join(_COLUMNS)}) VALUES ({', '.join(f':{name}' for name in _COLUMNS)}) "
    f"ON CONFLICT (cause) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _COLUMNS[1:])}"
)
_PAGE = 500


def pending(connection: sa.Connection, limit: int) -> list[str]:
    """The ids of alerts that have not been told to everybody, the oldest first."""
    # Ordered by `seq` itself, the index on it may be taken: all that was ever settled would be read first.
    is_waiting = sa.and_(outbox.c.status == PENDING, outbox.c.kind == ALERT)
    query = sa.select(outbox.c.command_id).where(is_waiting).order_by(outbox.c.seq + 0).limit(limit)
    return list(connection.execute(query).scalars())


def alerts(connection: sa.Connection, command_ids: Sequence[str]) -> list[Command]:
    """These alerts, in the order in which they were decided."""
    found: list[sa.RowMapping] = []
    for page in _pages(command_ids):
        found += connection.execute(sa.select(outbox).where(outbox.c.command_id.in_(page))).mappings()
    return [_command(row) for row in sorted(found, key=lambda row: row["seq"])]


def _command(row: sa.RowMapping) -> Command:
    values = {name: row[name] for name in Command.__struct_fields__ if name in row}
    return Command(**{**values, "body": msgspec.json.decode(row["body"])})


def statuses(connection: sa.Connection, command_ids: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for page in _pages(command_ids):
        query = sa.select(outbox.c.command_id, outbox.c.status).where(outbox.c.command_id.in_(page))
        found |= {row.command_id: row.status for row in connection.execute(query)}
    return found


def settle(
    connection: sa.Connection, command_ids: Sequence[str], status: str, reason: str | None, error: str | None = None
) -> None:
    """What became of alerts that were waiting to be told."""
    for page in _pages(command_ids):
        connection.execute(
            outbox.update()
            .where(outbox.c.command_id.in_(page), outbox.c.kind == ALERT, outbox.c.status == PENDING)
            .values(status=status, reason=reason, last_error=error)
        )


def count_attempt(connection: sa.Connection, command_ids: Sequence[str]) -> None:
    """To be committed before the attempt is made, so that one which kills the process is counted too."""
    for page in _pages(command_ids):
        connection.execute(outbox.update().where(outbox.c.command_id.in_(page)).values(attempts=outbox.c.attempts + 1))


def note_error(connection: sa.Connection, command_ids: Sequence[str], error: str | None) -> None:
    for page in _pages(command_ids):
        connection.execute(outbox.update().where(outbox.c.command_id.in_(page)).values(last_error=error))


def groups(connection: sa.Connection) -> dict[str, Group]:
    query = sa.select(alert_groups.c.body).order_by(alert_groups.c.opened_at, alert_groups.c.cause)
    return {group.cause: group for group in map(read_group, connection.execute(query).scalars())}


def save(connection: sa.Connection, changed: Iterable[Group]) -> None:
    rows = [group.row() for group in changed]
    if rows:
        connection.execute(_SAVE, rows)


def remove(connection: sa.Connection, causes: Sequence[str]) -> None:
    for page in _pages(causes):
        connection.execute(alert_groups.delete().where(alert_groups.c.cause.in_(page)))


def policies(connection: sa.Connection) -> str | None:
    """The text of the policies in force."""
    query = sa.select(desk.c.body).where(desk.c.kind == SERVICE, desk.c.name == SERVICE)
    return read_service(connection.execute(query).scalar_one_or_none()).policies


def _pages(names: Sequence[str]) -> Iterable[Sequence[str]]:
    return (names[start : start + _PAGE] for start in range(0, len(names), _PAGE))
