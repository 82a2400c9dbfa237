"""HTTP by hand, for what no decent client would send."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass
class Raw:
    """An answer as it came; status 0 where the connection was closed without one."""

    status: int
    head: str
    body: bytes
    seconds: float


def head_of(length: int | None = None, headers: Mapping[str, str] | None = None, path: str = "") -> bytes:
    """The beginning of a webhook, down to the empty line."""
    lines = [f"POST /webhooks/tokportal{path} HTTP/1.1", "Host: 127.0.0.1"]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def receive(connection: socket.socket, since: float | None = None) -> Raw:
    """One answer, waited for as long as the connection's time-out allows."""
    began = time.monotonic() if since is None else since
    data = b""
    try:
        while b"\r\n\r\n" not in data:
            part = connection.recv(65536)
            if not part:
                break
            data += part
    except ConnectionResetError:
        pass
    seconds = time.monotonic() - began
    if b"\r\n\r\n" not in data:
        return Raw(0, data.decode("latin-1"), b"", seconds)
    head, _, body = data.partition(b"\r\n\r\n")
    text = head.decode("latin-1").lower()
    length = next((int(line.partition(":")[2]) for line in text.splitlines() if line.startswith("content-length:")), 0)
    while len(body) < length:
        part = connection.recv(65536)
        if not part:
            break
        body += part
    return Raw(int(text.split()[1]), text, body, seconds)
