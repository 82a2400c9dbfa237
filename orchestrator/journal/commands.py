"""Commands of people, as messages: they are journalled like everything else that happens."""

from __future__ import annotations

import hashlib
import secrets

import msgspec

from orchestrator.journal.journal import COMMAND, LIVE, Message


def retry_command(target: str, reason: str | None, *, endpoint: str, name: str, received_at: int) -> Message:
    """The wish of the person `name` that the message `target` be applied again. `received_at`: microseconds."""
    body = msgspec.json.encode({"command": "retry", "message_id": target, "reason": reason})
    return Message(
        message_id=f"msg_{secrets.token_hex(16)}",
        kind=COMMAND,
        endpoint=endpoint,
        mode=LIVE,
        dialect=None,
        event_id=None,
        id_source=None,
        digest=hashlib.sha256(body).hexdigest(),
        body=body,
        headers="{}",
        actor=msgspec.json.encode({"kind": "person", "name": name}).decode(),
        received_at=received_at,
    )
