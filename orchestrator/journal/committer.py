"""The process that commits: takes messages from a pipe, stores all that have arrived in one commit, and answers.

A process and not a thread: Python's interpreter lock would have the event loop, which takes webhooks, and the commits
wait for each other at every step, and both would be slower by half.
"""

from __future__ import annotations

import logging
import os
import select
import struct
import time
from collections.abc import Iterator, Sequence

import msgspec

from orchestrator.database import DATA_ERRORS, Checkpointer, Database
from orchestrator.dialects import identify
from orchestrator.journal.journal import TEST, WEBHOOK, Journal, Message, message_id_of

logger = logging.getLogger(__name__)

MAX_BATCH = 500
READ = 1 << 20
CHECKPOINT = 0.5
"""Seconds between two checkpoints of SQLite's write-ahead log: at full load it grows by some 30 MB a second."""
LENGTH = struct.Struct("!I")


class Arrival(msgspec.Struct, array_like=True, gc=False, tag=True):
    """A webhook as the door hands it over, once its signature has been verified. `headers` are those to be kept;
    `signed_by` is the fingerprint of the secret; `received_at` is microseconds since 1970."""

    endpoint: str
    mode: str
    dialect: str
    signed_by: str
    headers: list[tuple[str, str]]
    body: bytes
    received_at: int


class Made(msgspec.Struct, array_like=True, gc=False, tag=True):
    """A message that was made elsewhere, such as a person's command."""

    message: Message


class Request(msgspec.Struct, array_like=True, gc=False):
    """One thing to store, a webhook or a message made elsewhere; `number` is how the answer names it."""

    number: int
    what: Arrival | Made


class Answer(msgspec.Struct, array_like=True, gc=False):
    """What became of it: `duplicate` tells whether it was known, None that it could not be stored."""

    number: int
    message_id: str
    duplicate: bool | None


VENDOR = '{"kind":"vendor","name":"tokportal"}'


def _message(what: Arrival | Made) -> Message:
    return what.message if isinstance(what, Made) else message_of(what)


def message_of(arrival: Arrival) -> Message:
    """The message that a webhook is, under the identity that its content gives it."""
    identity = identify(arrival.dialect, arrival.body)
    space = arrival.dialect if arrival.mode != TEST else f"test/{arrival.endpoint}/{arrival.dialect}"
    return Message(
        message_id=message_id_of(space, identity.event_id, identity.digest),
        kind=WEBHOOK,
        endpoint=arrival.endpoint,
        mode=arrival.mode,
        dialect=arrival.dialect,
        event_id=identity.event_id,
        id_source=identity.id_source,
        digest=identity.digest,
        body=arrival.body,
        headers=_json(dict(arrival.headers, signed_by=arrival.signed_by)).decode(),
        actor=VENDOR,
        received_at=arrival.received_at,
    )


encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Request).decode
_json = msgspec.json.Encoder().encode


def frame(payload: bytes) -> bytes:
    """`payload` as it travels through a pipe: its length, then itself."""
    return LENGTH.pack(len(payload)) + payload


class Frames:
    """Cuts what arrives from a pipe into payloads."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The payloads that are complete with `data`."""
        buffer = self._buffer
        buffer += data
        start = 0
        while len(buffer) - start >= LENGTH.size:
            (length,) = LENGTH.unpack_from(buffer, start)
            end = start + LENGTH.size + length
            if len(buffer) < end:
                break
            yield bytes(buffer[start + LENGTH.size : end])
            start = end
        del buffer[:start]


def run(url: str, *, lock_wait: float, source: int = 0, target: int = 1) -> None:
    """Stores what comes through the pipe `source` until it ends, and answers through `target`; an empty answer says
    that it has begun. Standard output must belong to the answers alone."""
    database = Database(
        url,
        connections=1,
        name="orchestrator-journal",
        lock_wait=lock_wait,
        statement_timeout=lock_wait,
        replan=False,
    )
    journal = Journal(database)
    checkpointer = Checkpointer(database) if database.is_sqlite else None
    checkpointed_at = 0.0
    frames = Frames()
    try:
        _write(target, frame(encode([])))
        while True:
            if checkpointer is not None and time.monotonic() - checkpointed_at > CHECKPOINT:
                checkpointer.run()
                checkpointed_at = time.monotonic()
            if not select.select([source], [], [], CHECKPOINT)[0]:
                continue
            data = os.read(source, READ)
            if not data:
                break
            requests = [_decode(payload) for payload in frames.feed(data)]
            messages = [(request.number, _message(request.what)) for request in requests]
            for start in range(0, len(messages), MAX_BATCH):
                answers = store(journal, messages[start : start + MAX_BATCH])
                _write(target, frame(encode(answers)))
    finally:
        if checkpointer is not None:
            checkpointer.close()
        journal.close()
        database.close()


def store(journal: Journal, messages: Sequence[tuple[int, Message]]) -> list[Answer]:
    """Commits all of them together; where the database refuses one, each by itself."""
    if not messages:
        return []
    try:
        appended = journal.append([message for _, message in messages])
        return [Answer(number, a.message_id, a.duplicate) for (number, _), a in zip(messages, appended, strict=True)]
    except DATA_ERRORS as error:
        if len(messages) > 1:
            return [answer for one in messages for answer in store(journal, [one])]
        reason = str(error).partition("\n")[0]  # The rest may quote the row.
        logger.error("the database refused a message: %s", reason, extra={"message_id": messages[0][1].message_id})
    except Exception as error:
        logger.error("a commit failed: %s", str(error).partition("\n")[0])
    return [Answer(number, message.message_id, None) for number, message in messages]


def _write(target: int, data: bytes) -> None:
    while data:
        data = data[os.write(target, data) :]
