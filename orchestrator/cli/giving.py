"""Orders that a person gives on the command line: journalled like every other message, for the engine to judge."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.cli import show
from orchestrator.cli.reading import opened

if TYPE_CHECKING:
    import sqlalchemy as sa

    from orchestrator.database import Database

PATIENCE = 10.0
"""Seconds until a person is no longer kept waiting."""
INTERVAL = 0.05


class RefusedOrderError(Exception):
    """The rules forbid the order; the text says why."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an order that was not refused. `status` is `pending` where nobody has taken it up yet; `note`
    then says who will."""

    message_id: str
    status: str
    note: str | None = None


def give(command: Mapping[str, Any], *, once: str | None = None) -> Outcome:
    """Journals the order, and waits for what the engine says to it. Raises `RefusedOrderError`."""
    from orchestrator.journal import Journal
    from orchestrator.journal.commands import order
    from orchestrator.world import clock_of

    with opened() as database:
        now = clock_of(database).microseconds()
        message = order(command, endpoint="cli", name=_login_name(), received_at=now, once=once)
        journal = Journal(database)
        try:
            journal.append([message])
        finally:
            journal.close()
        with show.working("waiting for the service …"):
            return _outcome(database, message.message_id)


def waited(is_done: Callable[[sa.Connection], bool]) -> bool:
    """Whether that was done before a person is no longer kept waiting."""
    deadline = time.monotonic() + PATIENCE
    with opened() as database, show.working("waiting for the service …"):
        while True:
            with database.read() as connection:
                if is_done(connection):
                    return True
            if time.monotonic() > deadline:
                return False
            time.sleep(INTERVAL)


def _outcome(database: Database, message_id: str) -> Outcome:
    from orchestrator.api.queries.messages import message_item
    from orchestrator.journal.inbox import APPLIED, PENDING, REFUSED

    deadline = time.monotonic() + PATIENCE
    while True:
        with database.read() as connection:
            item = message_item(connection, message_id)
            is_served = _is_served(database, connection)
        if item is not None and item["status"] == APPLIED:
            return Outcome(message_id, APPLIED)
        if item is not None and item["status"] == REFUSED:
            raise RefusedOrderError(f"refused: {item['reason']}")
        if item is not None and item["status"] != PENDING:
            raise RefusedOrderError(f"the order could not be carried out: {item['reason']}")
        if not is_served:
            return Outcome(message_id, PENDING, "no service is running: the next one that starts takes it up")
        if time.monotonic() > deadline:
            return Outcome(
                message_id, PENDING, f"the service did not get to it within {PATIENCE:g} s: it will take it up"
            )
        time.sleep(INTERVAL)


def _is_served(database: Database, connection: Any) -> bool:
    """Whether an engine is at work, or has been until a moment ago."""
    import sqlalchemy as sa

    from orchestrator.database.tables import leases

    query = sa.select(leases.c.expires_at).where(leases.c.name == "engine")
    expires_at = connection.execute(query).scalar_one_or_none()
    return expires_at is not None and expires_at >= database.now(connection)


def _login_name() -> str:
    from getpass import getuser

    try:
        return getuser()
    except (KeyError, OSError):  # A container may run as a user that has no name.
        return f"uid-{os.getuid()}"
