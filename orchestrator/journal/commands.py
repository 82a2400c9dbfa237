"""Orders of people, as messages: they are journalled like everything else that happens."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from typing import Any

import msgspec

from orchestrator.journal.journal import COMMAND, LIVE, Message


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
    body = msgspec.json.encode(command)
    token = secrets.token_hex(16) if once is None else hashlib.sha256(f"order\0{once}".encode()).hexdigest()[:32]
    return Message(
        message_id=f"msg_{token}",
        kind=COMMAND,
        endpoint=endpoint,
        mode=LIVE,
        dialect=None,
        event_id=None,
        id_source=None,
        digest=hashlib.sha256(body).hexdigest(),
        body=body,
        headers="{}",
        actor=msgspec.json.encode({"kind": kind, "name": name}).decode(),
        received_at=received_at,
    )
