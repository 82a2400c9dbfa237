"""Orders as messages: they are journalled like everything else that happens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from orchestrator.database import Database
from orchestrator.journal.journal import COMMAND, Journal, Message, ours


def order(
    command: Mapping[str, Any],
    *,
    endpoint: str,
    name: str,
    received_at: int,
    kind: str = "person",
    once: str | None = None,
) -> Message:
    """What `name` wants done; `received_at`: microseconds. `kind`: of the actor. Two orders with the same `once` are
    one message."""
    actor = msgspec.json.encode({"kind": kind, "name": name}).decode()
    once = None if once is None else f"order\0{once}"
    return ours(
        COMMAND, msgspec.json.encode(command), endpoint=endpoint, actor=actor, received_at=received_at, once=once
    )


def report(database: Database, command: Mapping[str, Any], *, name: str, received_at: int) -> None:
    """Journals what a part of the program noticed by itself: people hear of it from the engine, as of all else. Returns
    when it is on disk."""
    journal = Journal(database)
    try:
        journal.append([order(command, endpoint=name, name=name, received_at=received_at, kind="trigger")])
    finally:
        journal.close()
