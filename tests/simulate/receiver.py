from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast


class Request:
    """One request as it came over the wire, and how often its receiver had been asked before."""

    def __init__(self, head: bytes, body: bytes, number: int) -> None:
        first, *lines = head.decode().split("\r\n")
        self.method, self.path, _ = first.split(" ")
        self.headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        self.body = body
        self.number = number


def answer(status: int, content: object = None, *lines: str) -> bytes:
    body = b"" if content is None else json.dumps(content).encode()
    head = "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", *lines))
    return f"{head}\r\n".encode() + body


ACCEPTED = answer(200, {"status": "accepted", "message_id": "m1"})
Reply = Callable[[Request], "bytes | list[bytes] | None"]


class Receiver:
    """A server whose answers are `reply`'s bytes (a list: in pieces); `None` hangs up without one."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.requests: list[Request] = []
        self.connections = 0
        self.transports: set[asyncio.Transport] = set()
        self.gone: list[asyncio.Future[None]] = []
        self.server: asyncio.Server | None = None
        self.url = ""

    async def listen(self, port: int = 0) -> None:
        self.server = await asyncio.get_running_loop().create_server(lambda: _Peer(self), "127.0.0.1", port)
        host, port = self.server.sockets[0].getsockname()
        self.url = f"http://{host}:{port}/webhooks/tokportal?x=1"

    def vanish(self) -> None:
        assert self.server is not None
        self.server.close()
        for transport in list(self.transports):
            transport.abort()


@asynccontextmanager
async def receiving(reply: Reply) -> AsyncIterator[Receiver]:
    receiver = Receiver(reply)
    await receiver.listen()
    try:
        yield receiver
    finally:
        receiver.vanish()
        await asyncio.gather(*receiver.gone)


class _Peer(asyncio.Protocol):
    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._receiver.connections += 1
        self._receiver.transports.add(self._transport)
        self._gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._receiver.gone.append(self._gone)

    def connection_lost(self, exc: Exception | None) -> None:
        self._receiver.transports.discard(self._transport)
        self._gone.set_result(None)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, rest = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        request = Request(head, b"", len(self._receiver.requests))
        length = int(request.headers.get("content-length", "0"))
        if len(rest) < length:
            return
        request.body, self._buffer = rest[:length], rest[length:]
        self._receiver.requests.append(request)
        reply = self._receiver.reply(request)
        if reply is None:
            self._transport.close()
        elif isinstance(reply, bytes):
            self._transport.write(reply)
        else:
            self._pieces(reply)

    def _pieces(self, pieces: list[bytes]) -> None:
        if pieces:
            self._transport.write(pieces[0])
            asyncio.get_running_loop().call_soon(self._pieces, pieces[1:])
