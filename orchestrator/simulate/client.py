from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine, Iterator
from time import perf_counter
from typing import Any, TypeVar, cast

import msgspec

from orchestrator.simulate.figures import Figures
from orchestrator.simulate.target import Target

_TICK = 0.001
_SWEEP = 0.5
_LONGEST_PAUSE = 0.5

Result = TypeVar("Result")


class Prepared(msgspec.Struct, frozen=True, gc=False):
    """A complete HTTP/1.1 request in bytes, and what to make of its answer.

    An answer whose status is not in `expected` counts as unexpected; empty: nothing does. A `forged` request is counted
    apart from the good ones.
    """

    data: bytes
    event_id: str = ""
    type: str = ""
    expected: tuple[int, ...] = ()
    forged: bool = False


class Answer(msgspec.Struct, frozen=True, gc=False):
    """What the server said to `request`, `seconds` after it was due."""

    request: Prepared
    status: int
    body: bytes
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values; the body is parsed where it is JSON, else text."""
        content: Any
        try:
            content = msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            content = self.body.decode(errors="replace")
        return {
            "event_id": self.request.event_id,
            "type": self.request.type,
            "status": self.status,
            "answer": content,
            "ms": round(self.seconds * 1000, 3),
        }


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """`asyncio.run`, on uvloop where it is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    return uvloop.run(main)


async def drive(
    url: str,
    requests: Iterator[bytes | Prepared],
    connections: int,
    rate: float | None = None,
    duration: float | None = None,
    on_answer: Callable[[Answer], None] | None = None,
    *,
    figures: Figures | None = None,
    timeout: float = 10.0,
    patience: float = 30.0,
    tls: ssl.SSLContext | None = None,
) -> Figures:
    """Sends `requests` over `connections` persistent connections until they or `duration` (seconds) run out.

    Without `rate` each connection sends as soon as it has its answer. With it requests are due `rate` times a second,
    whatever the server does; one that has to wait for a free connection is timed from when it was due, so that a slow
    server cannot hide its queue. Requests are drawn from the iterator only when they are sent.

    One without a whole answer after `timeout` seconds, or whose connection breaks, is lost and not repeated. A lost
    connection is made anew; when none comes back within `patience` seconds the run ends, and `stopped` says so.
    Raises `OSError` when the server cannot be reached at the start, and whatever `requests` or `on_answer` raise.
    """
    target = Target.parse(url)
    if target.tls and tls is None:
        tls = ssl.create_default_context()
    load = _Load(target, requests, rate, duration, on_answer, figures or Figures(), timeout, patience, tls)
    return await load.run(connections)


class _Load:
    def __init__(
        self,
        target: Target,
        requests: Iterator[bytes | Prepared],
        rate: float | None,
        duration: float | None,
        on_answer: Callable[[Answer], None] | None,
        figures: Figures,
        timeout: float,
        patience: float,
        tls: ssl.SSLContext | None,
    ) -> None:
        self._target = target
        self._requests = requests
        self._rate = rate
        self._duration = duration
        self._on_answer = on_answer
        self._figures = figures
        self._timeout = timeout
        self._patience = patience
        self._tls = tls if target.tls else None
        self._loop = asyncio.get_running_loop()
        self._done: asyncio.Future[None] = self._loop.create_future()
        self._open: set[_Connection] = set()
        self._idle: list[_Connection] = []
        self._redials: set[asyncio.Task[None]] = set()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._exhausted = False
        self._in_flight = 0
        self._sent = 0
        self._began = self._deadline = 0.0

    async def run(self, connections: int) -> Figures:
        try:
            dials = await asyncio.gather(*[self._dial() for _ in range(connections)], return_exceptions=True)
            for dial in dials:
                if isinstance(dial, BaseException):
                    raise dial
            self._figures.begin()
            self._began = perf_counter()
            self._deadline = self._began + self._duration if self._duration is not None else float("inf")
            self._sweep()
            if self._rate is None:
                for connection in list(self._open):
                    self.ready(connection)
            else:
                self._idle.extend(self._open)
                self._tick(self._rate)
            await self._done
        finally:
            self._figures.end()
            await self._close()
        return self._figures

    def answered(self, connection: _Connection, request: Prepared, status: int, body: bytes) -> None:
        connection.request = None
        self._in_flight -= 1
        seconds = perf_counter() - connection.since
        try:
            self._figures.record(status, body, seconds, request.expected, request.forged)
            if self._on_answer is not None:
                self._on_answer(Answer(request, status, body, seconds))
        except Exception as error:
            self._fail(error)
        self._finish_if_over()

    def ready(self, connection: _Connection) -> None:
        """Gives a free connection what is due next, or lets it wait."""
        if self._exhausted:
            self._finish_if_over()
        elif self._rate is None:
            self._send(connection)
        elif self._sent < self._due(self._rate, perf_counter()):
            self._send(connection, self._began + self._sent / self._rate)
        else:
            self._idle.append(connection)

    def lost(self, connection: _Connection) -> None:
        """A connection is gone, with the request that it carried."""
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if self._done.done():
            return
        if connection.request is not None:
            connection.request = None
            self._in_flight -= 1
            self._figures.lost += 1
        if self._exhausted:
            self._finish_if_over()
            return
        # A server that hangs up on everybody at once would otherwise be dialled in a tight loop.
        task = self._loop.create_task(self._redial(0.0 if connection.answers else 0.05))
        self._redials.add(task)
        task.add_done_callback(self._redials.discard)

    def _send(self, connection: _Connection, since: float | None = None) -> None:
        if perf_counter() >= self._deadline:
            self._exhausted = True
            self._finish_if_over()
            return
        try:
            request = next(self._requests, None)
        except Exception as error:
            self._fail(error)
            return
        if request is None:
            self._exhausted = True
            self._finish_if_over()
            return
        self._sent += 1
        self._in_flight += 1
        connection.send(request if isinstance(request, Prepared) else Prepared(request), since)

    def _due(self, rate: float, now: float) -> int:
        return int((min(now, self._deadline) - self._began) * rate) + 1

    def _tick(self, rate: float) -> None:
        now = perf_counter()
        due = self._due(rate, now)
        while self._idle and self._sent < due and not self._exhausted:
            ideal = self._began + self._sent / rate
            # A connection was free: waiting for the tick is our own coarseness, not the server's latency.
            self._send(self._idle.pop(), None if now - ideal < 3 * _TICK else ideal)
        if now >= self._deadline:
            self._exhausted = True
            self._finish_if_over()
        if not self._exhausted:
            self._timers["tick"] = self._loop.call_later(_TICK, self._tick, rate)

    def _sweep(self) -> None:
        now = perf_counter()
        for connection in list(self._open):
            if connection.request is not None and now - connection.sent > self._timeout:
                connection.drop()
        if now >= self._deadline:
            self._exhausted = True
            self._finish_if_over()
        self._timers["sweep"] = self._loop.call_later(min(_SWEEP, self._timeout / 2), self._sweep)

    def _finish_if_over(self) -> None:
        if self._exhausted and self._in_flight == 0 and not self._done.done():
            self._done.set_result(None)

    def _fail(self, error: Exception) -> None:
        self._exhausted = True
        if not self._done.done():
            self._done.set_exception(error)

    async def _dial(self) -> _Connection:
        async with asyncio.timeout(self._timeout):
            _, connection = await self._loop.create_connection(
                lambda: _Connection(self), self._target.host, self._target.port, ssl=self._tls
            )
        self._open.add(connection)
        return connection

    async def _redial(self, pause: float) -> None:
        give_up = perf_counter() + self._patience
        while not self._exhausted:
            await asyncio.sleep(pause)
            try:
                connection = await self._dial()
            except OSError as error:
                pause = min(max(2 * pause, 0.02), _LONGEST_PAUSE)
                if perf_counter() + pause < give_up:
                    continue
                if not self._open:
                    self._figures.stopped = f"the server went away and did not come back: {error}"
                    self._exhausted = True
                    self._finish_if_over()
                return
            self._figures.reconnects += 1
            self.ready(connection)
            return

    async def _close(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        for task in self._redials:
            task.cancel()
        await asyncio.gather(*self._redials, return_exceptions=True)
        if not self._done.done():
            self._done.cancel()
        closing = list(self._open)
        for connection in closing:
            connection.drop()
        await asyncio.gather(*[connection.closed for connection in closing])


class _Connection(asyncio.Protocol):
    __slots__ = ("_buffer", "_load", "_transport", "answers", "closed", "request", "sent", "since")

    _transport: asyncio.Transport

    def __init__(self, load: _Load) -> None:
        self._load = load
        self._buffer = b""
        self.request: Prepared | None = None
        self.since = self.sent = 0.0
        self.answers = 0
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not an isinstance check: uvloop's transports derive from none of asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def send(self, request: Prepared, since: float | None) -> None:
        self.request = request
        self.sent = perf_counter()
        self.since = self.sent if since is None else since
        self._transport.write(request.data)

    def drop(self) -> None:
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        end = data.find(b"\r\n\r\n")
        if end < 0:
            self._buffer = data
            return
        head = data[:end].lower()
        try:
            status = int(head[9:12])
            if status < 200:
                if len(data) > end + 4:
                    self.data_received(data[end + 4 :])
                return
            length = 0 if status in (204, 304) else int(_field(head, b"\r\ncontent-length:") or -1)
        except ValueError:
            self.drop()
            return
        stop = end + 4 + length
        if length >= 0 and len(data) < stop:
            self._buffer = data
            return
        if self.request is None:
            self.drop()
            return
        # Without a length we cannot tell where the answer ends (chunked, until close): take what came, start anew.
        body = data[end + 4 : stop] if length >= 0 else data[end + 4 :]
        keep = length >= 0 and len(data) == stop and _field(head, b"\r\nconnection:") != b"close"
        self.answers += 1
        self._load.answered(self, self.request, status, body)
        if keep:
            self._load.ready(self)
        else:
            self.drop()

    def connection_lost(self, exc: Exception | None) -> None:
        self._load.lost(self)
        if not self.closed.done():
            self.closed.set_result(None)


def _field(head: bytes, name: bytes) -> bytes:
    start = head.find(name)
    if start < 0:
        return b""
    start += len(name)
    stop = head.find(b"\r\n", start)
    return head[start : stop if stop >= 0 else None].strip()
