from __future__ import annotations

from hashlib import sha256
from itertools import takewhile
from typing import Any

import msgspec

from orchestrator.sandbox.errors import Refusal
from orchestrator.sandbox.model import IdempotencyRecord
from orchestrator.sandbox.world import World

_LONGEST_KEY = 255


class Idempotency:
    """Answers that keys got. One key per logical order, only ever with the identical body (TokPortal's documentation).

    How long a key is kept, and what another body under it gets, is not documented: both are parameters.
    """

    def __init__(self, world: World, api_key: str, key: str, method: str, path: str, body: bytes) -> None:
        if not key.isascii() or not key.isprintable() or len(key) > _LONGEST_KEY:
            raise Refusal(
                400, "VALIDATION_ERROR", f"Idempotency-Key must be at most {_LONGEST_KEY} printable characters."
            )
        self._world = world
        self._id = f"{sha256(api_key.encode()).hexdigest()[:16]}/{key}"
        self._request = sha256(b"\n".join((method.encode(), path.encode(), _canonical(body)))).hexdigest()

    def replay(self) -> tuple[int, bytes] | None:
        """Status and body of the first answer, None for a key that is new or forgotten.

        Raises:
            Refusal: the key was used with another body, or for another operation.
        """
        world, parameters = self._world, self._world.parameters
        record = world.find(IdempotencyRecord, self._id)
        if record is None:
            return None
        if record.at + parameters.idempotency_retention * 1_000_000 <= world.now():
            world.remove(record)
            return None
        if record.request != self._request:
            raise Refusal(
                parameters.idempotency_conflict_status,
                parameters.idempotency_conflict_code,
                "This Idempotency-Key was used with another request.",
            )
        return record.status, record.body.encode()

    def keep(self, status: int, body: bytes) -> None:
        """This is the answer from now on; what is too old to be asked for goes."""
        self._forget()
        if status < 400 or self._world.parameters.idempotency_keeps_errors:
            self._world.put(
                IdempotencyRecord(
                    id=self._id, request=self._request, status=status, body=body.decode(), at=self._world.now()
                )
            )

    def _forget(self) -> None:
        world = self._world
        limit = world.now() - world.parameters.idempotency_retention * 1_000_000
        for old in list(takewhile(lambda record: record.at <= limit, world.all(IdempotencyRecord))):
            world.remove(old)


def _canonical(body: bytes) -> bytes:
    """The same JSON spelt in another way is the same request."""
    try:
        content: Any = msgspec.json.decode(body or b"null")
    except msgspec.DecodeError:
        return body
    return msgspec.json.encode(content, order="deterministic")
