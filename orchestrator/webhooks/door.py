"""The webhook door. It answers 200 only for what is committed to the journal, and does no other work before.

A plain ASGI application rather than a framework's handler: this is the one path whose cost is paid per webhook.
"""

from __future__ import annotations

import logging
import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import parse_qsl

import msgspec
from starlette.types import Receive, Scope, Send

from orchestrator.journal.committer import Arrival
from orchestrator.journal.group_commit import GroupCommit, JournalFullError, JournalUnavailableError
from orchestrator.journal.journal import LIVE
from orchestrator.webhooks.endpoints import PATH
from orchestrator.webhooks.limits import RateLimit
from orchestrator.webhooks.networks import Networks, client_of
from orchestrator.webhooks.renewing import RenewingVerifier
from orchestrator.webhooks.signature import Verifier

logger = logging.getLogger(__name__)

ANSWER_WITHIN = 3.6
"""Seconds from the request's head to the answer, whatever the database does; the interface allows four. Of these the
body may take three, which the HTTP protocol sees to."""
CHALLENGE = re.compile(r"[\x20-\x7e]{1,512}")
NOTED = frozenset({b"content-type", b"user-agent", b"tokportal-event-id", b"tokportal-event-type"})
"""Headers that are kept with a message. None of them is signed, so none is trusted."""

_encode = msgspec.json.Encoder().encode


class Clock(Protocol):
    def microseconds(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Admission:
    """Who may knock. `networks` None: anybody. Without `trusted` proxies the socket's peer is the sender."""

    networks: Networks | None
    trusted: Networks | None
    require_https: bool
    max_body: int


@dataclass(frozen=True, slots=True)
class Entrance:
    """One address of the door. What comes through one in `mode` test is judged and changes nothing."""

    name: str
    verifier: Verifier | RenewingVerifier
    mode: str = LIVE


class _Refused(Exception):
    def __init__(self, status: int, title: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(title)
        self.status = status
        self.title = title
        self.headers = headers


class Door:
    """Serves `/webhooks/tokportal` and everything below it; `count` is told each endpoint and outcome."""

    def __init__(
        self,
        endpoints: Mapping[str, Entrance],
        journal: GroupCommit,
        clock: Clock,
        admission: Admission,
        limit: RateLimit,
        count: Callable[[str, str], None],
    ) -> None:
        self._endpoints = endpoints
        self._journal = journal
        self._clock = clock
        self._admission = admission
        self._limit = limit
        self._count = count
        self._nobody = Verifier([])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = scope["path"][len(PATH) + 1 :] or "default"
        endpoint = self._endpoints.get(name) if name != "default" or scope["path"] == PATH else None
        # Only names that exist become labels: senders must not be able to invent metrics.
        label = name if endpoint is not None else "unknown"
        try:
            outcome, body = await self._answer(scope, receive, endpoint)
        except _Refused as refusal:
            self._count(label, str(refusal.status))
            await _send(send, refusal.status, _problem(refusal), b"application/problem+json", *refusal.headers)
            return
        except _Gone:
            self._count(label, "incomplete")
            return
        self._count(label, outcome)
        await _send(send, 200, body, b"text/plain; charset=utf-8" if outcome == "challenge" else b"application/json")

    async def _answer(self, scope: Scope, receive: Receive, endpoint: Entrance | None) -> tuple[str, bytes]:
        started = time.monotonic()
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        sender = self._admit(scope, headers)
        method = scope["method"]
        if method == "POST":
            return await self._accept(endpoint, headers, receive, sender, started)
        if endpoint is None:
            raise _Refused(404, "There is no such webhook endpoint")
        if method in ("GET", "HEAD"):
            return "challenge", _challenge(scope["query_string"])
        raise _Refused(405, "A webhook endpoint takes POST, and GET with a challenge", (b"allow", b"GET, HEAD, POST"))

    def _admit(self, scope: Scope, headers: list[tuple[bytes, bytes]]) -> str:
        """The sender's address. Nothing of the body has been read when a sender is refused here."""
        admission = self._admission
        peer = scope["client"][0] if scope.get("client") else None
        sender, scheme = peer or "", None
        if admission.trusted is not None:
            sender, scheme = client_of(peer, headers, admission.trusted)
        if admission.networks is not None and not admission.networks.contains(sender):
            raise _Refused(403, "This sender is not allowed")
        if admission.require_https and (scheme or scope["scheme"]) != "https":
            raise _Refused(403, "Webhooks are taken over HTTPS only")
        return sender

    async def _accept(
        self,
        endpoint: Entrance | None,
        headers: list[tuple[bytes, bytes]],
        receive: Receive,
        sender: str,
        started: float,
    ) -> tuple[str, bytes]:
        noted: list[tuple[str, str]] = []
        for name, value in headers:
            if name in NOTED:
                noted.append((name.decode(), value[:256].decode("latin-1")))
            elif name == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
                raise _Refused(415, "Bodies are taken as they are: no Content-Encoding but identity")
            elif name == b"content-length" and int(value) > self._admission.max_body:
                raise _Refused(413, f"The body is larger than {self._admission.max_body} bytes")
        body = await _read(receive, self._admission.max_body)
        # An unknown endpoint costs a sender the same as a wrong signature, and tells no more.
        verifier = endpoint.verifier if endpoint is not None else self._nobody
        signed = verifier.verify(headers, body, time.time())
        if endpoint is None:
            raise _Refused(404, "There is no such webhook endpoint")
        if signed is None:
            wait = self._limit.allow(sender, time.monotonic())
            if wait > 0:
                raise _Refused(
                    429, "Too many webhooks without a valid signature", (b"retry-after", b"%d" % math.ceil(wait))
                )
            raise _Refused(401, "The signature is missing, malformed, wrong or stale")
        arrival = Arrival(
            endpoint.name, endpoint.mode, signed.dialect, signed.key, noted, body, self._clock.microseconds()
        )
        try:
            appended = await self._journal.append(arrival, ANSWER_WITHIN - (time.monotonic() - started))
        except JournalFullError:
            raise _Refused(503, "The journal is full; nothing was stored", (b"retry-after", b"1")) from None
        except JournalUnavailableError:
            logger.warning("a webhook could not be stored in time", extra={"endpoint": endpoint.name})
            raise _Refused(503, "The journal did not answer in time", (b"retry-after", b"2")) from None
        outcome = "duplicate" if appended.duplicate else "accepted"
        return outcome, b'{"status":"%b","message_id":"%b"}' % (outcome.encode(), appended.message_id.encode())


class _Gone(Exception):
    """The sender hung up, or was cut off for its slowness, before the body was complete."""


async def _read(receive: Receive, limit: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise _Gone
        chunk: bytes = event.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise _Refused(413, f"The body is larger than {limit} bytes")
        if not event.get("more_body", False):
            return chunk if not chunks else b"".join([*chunks, chunk])
        chunks.append(chunk)


def _challenge(query: bytes) -> bytes:
    try:
        members = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict")
        given = [value for name, value in members if name == "challenge"]
    except (UnicodeDecodeError, ValueError):
        given = []
    if len(given) != 1 or not CHALLENGE.fullmatch(given[0]):
        raise _Refused(400, "A challenge is given once, as 1 to 512 printable ASCII characters")
    return given[0].encode("ascii")


def _problem(refusal: _Refused) -> bytes:
    return _encode({"type": "about:blank", "title": refusal.title, "status": refusal.status})


async def _send(send: Send, status: int, body: bytes, media_type: bytes, *headers: tuple[bytes, bytes]) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [
                (b"content-type", media_type),
                (b"content-length", b"%d" % len(body)),
                (b"x-content-type-options", b"nosniff"),
                *headers,
            ],
        }
    )
    await send({"type": "http.response.body", "body": body})
