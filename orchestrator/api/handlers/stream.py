"""The log as it grows, as Server-Sent Events."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from sse_starlette import EventSourceResponse, ServerSentEvent
from sse_starlette.sse import SendTimeoutError
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from orchestrator.api.call import Call
from orchestrator.api.operations import Answer, Operation, Parameter
from orchestrator.api.problems import Problem, unavailable
from orchestrator.api.queries.events import events_after
from orchestrator.api.queries.page import log_head
from orchestrator.api.runtime import Runtime

logger = logging.getLogger(__name__)

MOST_STREAMS = 100
BATCH = 100
RECONNECT = 2000
"""Milliseconds after which a client that lost us comes back."""
SEND_TIMEOUT = 30.0
"""Seconds after which a client that reads nothing is given up."""
GRACE = 2.0
"""Seconds in which a stream ends in good order when the server stops; then it is cut off."""


class Stream(EventSourceResponse):
    """One of the open streams until it ends, however it ends."""

    def __init__(self, runtime: Runtime, position: int) -> None:
        super().__init__(
            follow(runtime, position),
            ping=runtime.services.heartbeat,
            send_timeout=SEND_TIMEOUT,
            shutdown_grace_period=GRACE,
            sep="\n",
        )
        self._runtime = runtime
        runtime.streams += 1

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except SendTimeoutError:
            logger.info("a stream was closed: its client has stopped reading")
        finally:
            self._runtime.streams -= 1


async def follow(runtime: Runtime, position: int) -> AsyncIterator[ServerSentEvent]:
    """Every event after `position`, and then each as it comes, until the service stops."""
    yield ServerSentEvent(comment=f"the log after position {position}", retry=RECONNECT, sep="\n")
    while not runtime.head.stopped:
        try:
            items = await runtime.read(events_after, position, BATCH)
        except Problem:
            await asyncio.sleep(1)
            continue
        for item in items:
            position = item["position"]
            yield _sent(item)
        if len(items) < BATCH:
            await runtime.head.beyond(position)


def _sent(item: dict[str, Any]) -> ServerSentEvent:
    data = msgspec.json.encode(item).decode()
    return ServerSentEvent(data, event=item["event"], id=str(item["position"]), sep="\n")


async def stream(call: Call) -> Response:
    start = call.query["after"]
    last = call.request.headers.get("last-event-id", "")
    if last:
        if not (last.isascii() and last.isdigit() and len(last) < 19):
            raise Problem("bad-query", "The header Last-Event-ID is the position of an event, a whole number.")
        # A browser that reconnects repeats the address that it began with; what it has seen since counts.
        start = int(last)
    head = await call.read(log_head)
    if start is None:
        start = head
    elif start > head:
        raise Problem("bad-query", f"The log ends at position {head}: there is nothing to follow after {start}.")
    if call.runtime.streams >= MOST_STREAMS:
        raise unavailable(f"There are {MOST_STREAMS} streams open already, which is as many as are allowed.")
    return Stream(call.runtime, start)


OPERATIONS = (
    Operation(
        "GET",
        "/api/stream",
        "streamEvents",
        "The log",
        "Follow the log live",
        "Server-Sent Events: `id` is the position, `event` the name of the event, `data` the same JSON as an item of "
        f"`/api/events`. Begins at the end of the log unless told otherwise. At most {MOST_STREAMS} streams at a time.",
        "viewer",
        stream,
        {200: Answer("The stream; it does not end.", {"type": "string"}, media_type="text/event-stream")},
        parameters=(
            Parameter("after", "The position to start after.", {"type": "integer", "minimum": 0}, example=0),
            Parameter(
                "Last-Event-ID",
                "The position to go on after; browsers send it by themselves. Wins over `after`.",
                {"type": "string", "pattern": "^[0-9]{1,18}$"},
                where="header",
            ),
        ),
        problems=(503,),
    ),
)
