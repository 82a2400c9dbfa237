"""What reconciliation remembers: which sweep is due when, and how far each one got. On the service's clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from orchestrator.clock import instant_of
from orchestrator.database import Database, Lease
from orchestrator.database.tables import sweeps as table

Body = dict[str, Any]
NEVER: Final = datetime(9000, 1, 1, tzinfo=UTC)
"""When a sweep is due that is done for good."""
AT_ONCE: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Store:
    """Rows of the table `sweeps`, kept in memory; what changed is written by `commit`.

    `lease` None is for tests that are alone with their database.
    """

    def __init__(self, database: Database, lease: Lease | None = None) -> None:
        self._database = database
        self._lease = lease
        self._rows: dict[str, tuple[datetime, Body]] | None = None
        self._changed: set[str] = set()

    def forget(self) -> None:
        """What is not committed is lost, and what is stored counts."""
        self._rows = None
        self._changed.clear()

    def _all(self) -> dict[str, tuple[datetime, Body]]:
        if self._rows is None:
            with self._database.read() as connection:
                found = connection.execute(sa.select(table)).all()
            self._rows = {row.name: (instant_of(row.due_at), msgspec.json.decode(row.body)) for row in found}
        return self._rows

    def due_at(self, name: str) -> datetime:
        """When it is to go on; what was never begun is due."""
        return self._all().get(name, (AT_ONCE, {}))[0]

    def body(self, name: str) -> Body:
        """How far it got. To be changed by `put` only."""
        return dict(self._all().get(name, (AT_ONCE, {}))[1])

    def names(self, prefix: str) -> list[str]:
        """Those that begin so, the one due first at the front."""
        found = [(due_at, name) for name, (due_at, _) in self._all().items() if name.startswith(prefix)]
        return [name for _, name in sorted(found)]

    def has(self, name: str) -> bool:
        return name in self._all()

    def put(self, name: str, due_at: datetime, body: Body) -> None:
        self._all()[name] = (due_at, body)
        self._changed.add(name)

    def drop(self, name: str) -> None:
        if self._all().pop(name, None) is not None:
            self._changed.add(name)

    def commit(self) -> None:
        """Writes what has changed. Raises `LeaseLostError`."""
        if not self._changed:
            return
        rows = self._all()
        kept = [name for name in sorted(self._changed) if name in rows]
        with self._database.write() as connection:
            if self._lease is not None:
                self._lease.fence(connection)
            gone = self._changed - set(kept)
            if gone:
                connection.execute(table.delete().where(table.c.name.in_(sorted(gone))))
            for name in kept:
                due_at, body = rows[name]
                values = {
                    "name": name,
                    "due_at": (due_at - AT_ONCE) // timedelta(microseconds=1),
                    "body": msgspec.json.encode(body).decode(),
                }
                connection.execute(
                    sa.text(
                        "INSERT INTO sweeps (name, due_at, body) VALUES (:name, :due_at, :body) "
                        "ON CONFLICT (name) DO UPDATE SET due_at = excluded.due_at, body = excluded.body"
                    ),
                    values,
                )
        self._changed.clear()
