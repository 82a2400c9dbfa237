"""uvicorn's HTTP protocol, with deadlines on how slowly a request may arrive, and one write for each answer."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

FIRST_BYTE_WITHIN = 10.0
"""Seconds from the connection to the first byte of its first request."""
REQUEST_WITHIN = 3.0
"""Seconds from the first byte of a request to its last."""

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
    them would hold a socket for ever. One timer per request does it for every route; a time-out in the webhook door
    would cost more than reading the message."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(Corked(transport, self.loop))  # type: ignore[arg-type]
        self._timer = self.loop.call_later(FIRST_BYTE_WITHIN, transport.close)

    def on_message_begin(self) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(REQUEST_WITHIN, self._give_up)
        super().on_message_begin()

    def on_message_complete(self) -> None:
        self._stop_timer()
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def _give_up(self) -> None:
        self._timer = None
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and cycle.response_started and not cycle.response_complete:
            return  # An early answer is on its way, such as a refusal; it ends the connection itself.
        if not self.transport.is_closing():
            self.transport.write(TOO_SLOW)
            self.transport.close()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
