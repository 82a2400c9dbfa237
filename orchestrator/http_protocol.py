"""uvicorn's HTTP protocol, with deadlines on how slowly a request may arrive, and one write for each answer."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar
from weakref import WeakSet

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

FIRST_BYTE_WITHIN = 10.0
"""Seconds from the connection to the first byte of its first request."""
REQUEST_WITHIN = 3.0
"""Seconds from the first byte of a webhook to its last; of any other request, to the end of its head."""
UPLOAD_WITHIN = 30.0
"""Seconds from the end of its head to the last byte of what is no webhook: a campaign can have many megabytes."""
SWEEP = 0.2
"""Seconds between two looks for late requests."""

_TITLE = b'{"type":"about:blank","title":"The request took too long to arrive","status":408}'
TOO_SLOW = (
    b"HTTP/1.1 408 Request Timeout\r\ncontent-type: application/problem+json\r\nconnection: close\r\n"
    b"content-length: %d\r\n\r\n%b" % (len(_TITLE), _TITLE)
)


class Corked:
    """A transport that sends what is written in one turn of the event loop at once. uvicorn writes the head and the
    body of an answer apart, and each write is a system call that costs as much as taking the message."""

    __slots__ = ("_chunks", "_loop", "_transport")

    def __init__(self, transport: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._chunks: list[bytes] = []

    def write(self, data: bytes) -> None:
        if not self._chunks:
            self._loop.call_soon(self._flush)
        self._chunks.append(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._chunks:
            self._transport.write(b"".join(self._chunks))
            self._chunks.clear()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class PunctualProtocol(HttpToolsProtocol):
    """Answers 408 to a request that does not arrive in time, and closes connections that send nothing at all: each of
    them would hold a socket for ever. One look at all connections now and then does it for every route; a timer for
    each request would cost as much as checking its signature."""

    _due: float | None = None
    _is_begun = False
    _sweeping: ClassVar[WeakSet[asyncio.AbstractEventLoop]] = WeakSet()

    def connection_made(self, transport: Any) -> None:
        super().connection_made(Corked(transport, self.loop))  # type: ignore[arg-type]
        self._due = self.loop.time() + FIRST_BYTE_WITHIN
        if self.loop not in self._sweeping:
            self._sweeping.add(self.loop)
            self.loop.call_later(SWEEP, _sweep, self.loop, self.connections)

    def on_message_begin(self) -> None:
        self._due = self.loop.time() + REQUEST_WITHIN
        self._is_begun = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        if self._due is not None and not self.scope["path"].startswith("/webhooks/"):
            self._due = self.loop.time() + UPLOAD_WITHIN

    def on_message_complete(self) -> None:
        self._due = None
        super().on_message_complete()

    def close_if_late(self, now: float) -> None:
        """Ends the connection if its request is overdue at `now`, on the event loop's clock."""
        if self._due is None or now < self._due:
            return
        self._due = None
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and cycle.response_started and not cycle.response_complete:
            return  # An early answer is on its way, such as a refusal; it ends the connection itself.
        if not self.transport.is_closing():
            if self._is_begun:
                self.transport.write(TOO_SLOW)
            self.transport.close()


def _sweep(loop: asyncio.AbstractEventLoop, connections: set[Any]) -> None:
    now = loop.time()
    for connection in list(connections):
        if isinstance(connection, PunctualProtocol):
            connection.close_if_late(now)
    loop.call_later(SWEEP, _sweep, loop, connections)
