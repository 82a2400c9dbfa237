from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

import msgspec

from orchestrator.simulate.error import SimulateError


class Target(msgspec.Struct, frozen=True):
    """Where requests go: `authority` is host and port as the URL writes them, `path` includes the query."""

    host: str
    port: int
    tls: bool
    authority: str
    path: str

    @classmethod
    def parse(cls, url: str) -> Target:
        """Raises `SimulateError` for what is no http or https URL with a host."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise SimulateError(f"{url!r} is not a URL: {error}.") from None
        if parts.scheme not in ("http", "https") or not host:
            raise SimulateError(f"{url!r} is not a URL of the form http://HOST[:PORT]/PATH or https://….")
        if not url.isascii() or any(character <= " " for character in url):
            raise SimulateError(f"{url!r} holds characters that a URL must escape.")
        tls = parts.scheme == "https"
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        authority = parts.netloc.rpartition("@")[2]
        return cls(host, port or (443 if tls else 80), tls, authority, path)

    def post(self, body: bytes, headers: Iterable[tuple[str, str]] = ()) -> bytes:
        """One complete HTTP/1.1 request."""
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers])
        return (
            f"POST {self.path} HTTP/1.1\r\nHost: {self.authority}\r\nUser-Agent: orchestrator-simulate\r\n"
            f"Content-Type: application/json\r\n{lines}Content-Length: {len(body)}\r\n\r\n"
        ).encode() + body
