"""How requests reach TokPortal: the SDK's `transport` on httpx2.

The SDK's own transport waits for ever, drops the headers of successful answers and cannot send a header with one call.
This one has time-outs and a pool, follows no redirects, goes nowhere but to the configured address, and keeps what the
headers say with the call that they belong to.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import re
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

import httpx2
from tokportal.client import TransportBody

from orchestrator.secrets import Secret
from orchestrator.tokportal.operations import check_request

logger = logging.getLogger(__name__)

CONNECT: Final = 3.0
"""Seconds for a connection, and for a free one of the pool."""
READ: Final = 10.0
"""Seconds without a byte."""
TOTAL: Final = 25.0
"""Seconds after which an answer that is still coming in is cut off."""
LARGEST: Final = 16 * 1024 * 1024
"""Bytes of an answer. TokPortal's lists have at most 100 rows a page."""
CONNECTIONS: Final = 16
LONGEST_TEXT: Final = 500
"""Characters that are kept of an error that is no JSON."""
ESCAPED: Final = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")
UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")
IDS: Final = ("x-tokportal-request-id", "x-request-id", "request-id", "x-vercel-id")
"""Where TokPortal's id of a request may stand, in the order of the vendor's SDKs."""


class NotSent(Exception):
    """The request never reached TokPortal: nothing happened."""


class AnswerLost(Exception):
    """The request was sent, and what came of it is not known."""


@dataclass(slots=True)
class Call:
    """One request: what it is to carry, and what the answer's headers say."""

    what: str
    """The operation, for the log."""
    request_id: str
    """Sent as `X-Request-ID`, which TokPortal takes over if it is `req_` and 32 hex digits."""
    dry_run: bool = False
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def answered_id(self) -> str | None:
        return next((self.headers[name] for name in IDS if name in self.headers), None)

    @property
    def is_replay(self) -> bool:
        """Whether TokPortal answered with what it had said before to the same idempotency key."""
        return self.headers.get("idempotent-replayed", "").lower() == "true"

    @property
    def remaining(self) -> int | None:
        """Requests that TokPortal's quota had left after this one."""
        return self.number("x-ratelimit-remaining")

    @property
    def retry_after(self) -> int | None:
        """Seconds. A date in its place, which TokPortal does not send, counts as none."""
        return self.number("retry-after")

    def number(self, name: str) -> int | None:
        text = self.headers.get(name, "").strip()
        return int(text) if text.isascii() and text.isdigit() and len(text) <= 12 else None


_CALL: ContextVar[Call | None] = ContextVar("tokportal_call", default=None)


@contextmanager
def calling(call: Call) -> Iterator[Call]:
    """What the SDK sends inside goes out as `call`. Each thread has its own."""
    token = _CALL.set(call)
    try:
        yield call
    finally:
        _CALL.reset(token)


class Transport:
    """What the SDK calls as `transport`. Safe to share by threads."""

    def __init__(
        self,
        base_url: str,
        key: Secret,
        *,
        client: httpx2.Client | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Args:
        base_url: of the API; https, or http on this machine.
        key: is cut out of whatever comes back.
        client: for tests.

        Raises:
            ValueError: the key would go over a network in the clear, or the address is none.
        """
        parts = urlsplit(base_url)
        local = _is_loopback(parts.hostname)
        if not parts.hostname or parts.username or (parts.scheme != "https" and not (parts.scheme == "http" and local)):
            raise ValueError(f"{base_url!r} is no address for an API key: write https://HOST/PATH")
        self._origin = _origin(parts)
        self._prefix = parts.path.rstrip("/")
        self._key = key
        self._monotonic = monotonic
        self._client = client or httpx2.Client(
            verify=ssl.create_default_context() if not local else True,
            timeout=httpx2.Timeout(READ, connect=CONNECT, pool=CONNECT),
            limits=httpx2.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS),
            follow_redirects=False,
            # A proxy of the environment does not know this machine's ports.
            trust_env=not local,
        )

    def close(self) -> None:
        self._client.close()

    def __call__(
        self, url: str, method: str, headers: Mapping[str, str], body: bytes | None
    ) -> tuple[int, TransportBody]:
        """Raises `NotSent`, `AnswerLost`, `ForbiddenOperation`."""
        call = _CALL.get()
        if call is None:
            raise RuntimeError("a request outside of `calling`: nobody would hear its answer's headers")
        self._check(url, method)
        sent = {**headers, "X-Request-ID": call.request_id}
        if call.dry_run:
            sent["X-TokPortal-Dry-Run"] = "true"
        started = self._monotonic()
        try:
            content, said = self._exchange(call, url, method, sent, body, started)
        except (NotSent, AnswerLost) as error:
            logger.warning("TokPortal: %s: %s", call.what, error, extra=self._told(call, method, started))
            raise
        level = logging.INFO if method != "GET" or not said else logging.DEBUG
        logger.log(level, "TokPortal: %s: %d", call.what, call.status, extra=self._told(call, method, started))
        return call.status or 0, content

    def _check(self, url: str, method: str) -> None:
        parts = urlsplit(url)
        if _origin(parts) != self._origin or not parts.path.startswith(f"{self._prefix}/"):
            raise RuntimeError("a request for somewhere else than TokPortal's base URL")
        check_request(method, parts.path.removeprefix(self._prefix))

    def _exchange(
        self, call: Call, url: str, method: str, headers: Mapping[str, str], body: bytes | None, started: float
    ) -> tuple[TransportBody, bool]:
        """The answer, and whether it is one of success."""
        # Without their causes: the traceback of a lost request ends here, and its frames hold the headers.
        try:
            with self._client.stream(method, url, headers=dict(headers), content=body) as response:
                call.status = response.status_code
                call.headers = {name.lower(): value for name, value in response.headers.items()}
                text = self._read(response, started).decode("utf-8", "replace")
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError) as error:
            raise NotSent(f"no connection: {_reason(error)}") from None
        except (httpx2.UnsupportedProtocol, httpx2.InvalidURL) as error:
            raise NotSent(f"the address cannot be used: {_reason(error)}") from None
        except httpx2.HTTPError as error:
            raise AnswerLost(f"no answer: {_reason(error)}") from None
        if 200 <= response.status_code < 300:
            return self._success(text), True
        return self._failure(call, text), False

    def _read(self, response: httpx2.Response, started: float) -> bytes:
        chunks: list[bytes] = []
        size = 0
        for chunk in response.iter_bytes():
            size += len(chunk)
            if size > LARGEST:
                raise AnswerLost(f"the answer is larger than {LARGEST} bytes")
            if self._monotonic() - started > TOTAL:
                raise AnswerLost(f"the answer was not complete after {TOTAL:.0f} s")
            chunks.append(chunk)
        return b"".join(chunks)

    def _success(self, text: str) -> TransportBody:
        if not text.strip():
            return None
        found = _json(text)
        if not isinstance(found, dict):
            # A page of something that stands in between, or a list: no operation of ours answers so.
            raise AnswerLost("the answer is no JSON object")
        return found

    def _failure(self, call: Call, text: str) -> TransportBody:
        """Whatever was said, in the shape that TokPortal documents, with the headers folded in as by the SDK's own
        transport."""
        text = text.replace(self._key.reveal(), "***")
        found = _json(text)
        error = found.get("error") if isinstance(found, dict) else None
        if isinstance(error, str):
            error = {"message": error}
        elif not isinstance(error, dict):
            error = {name: found[name] for name in ("code", "message") if name in found} if found else {}
        said: dict[str, Any] = dict(error)
        details = said.get("details")
        details = dict(details) if isinstance(details, dict) else {} if details is None else {"said": details}
        if not isinstance(found, dict) and text.strip():
            details.setdefault("raw_body", text[:LONGEST_TEXT])
        folded = {
            "request_id": call.answered_id,
            "retry_after_seconds": call.retry_after,
            "rate_limit_limit": call.number("x-ratelimit-limit"),
            "rate_limit_remaining": call.remaining,
            "rate_limit_reset": call.number("x-ratelimit-reset"),
        }
        for name, value in folded.items():
            if value is not None:
                details.setdefault(name, value)
        code, message = said.get("code"), said.get("message")
        said["code"] = code if isinstance(code, str) else None
        said["message"] = message if isinstance(message, str) else None
        said["details"] = details
        return {"error": said}

    def _told(self, call: Call, method: str, started: float) -> dict[str, Any]:
        return {
            "method": method,
            "request_id": call.answered_id or call.request_id,
            "remaining": call.remaining,
            "dry_run": call.dry_run,
            "replayed": call.is_replay,
            "seconds": round(self._monotonic() - started, 3),
        }


def _origin(parts: SplitResult) -> tuple[str, str, int]:
    port = parts.port or {"https": 443, "http": 80}.get(parts.scheme, 0)
    return parts.scheme, (parts.hostname or "").lower(), port


def _is_loopback(host: str | None) -> bool:
    if host is None:
        return False
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _json(text: str) -> Any:
    """None for what is no JSON. Characters that no database takes are replaced."""
    try:
        found = json.loads(text)
        return _tidy(found) if ESCAPED.search(text) else found
    except (ValueError, RecursionError):
        return None


def _tidy(value: Any) -> Any:
    if isinstance(value, str):
        return UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", value)
    if isinstance(value, list):
        return [_tidy(part) for part in value]
    if isinstance(value, dict):
        return {_tidy(name): _tidy(part) for name, part in value.items()}
    return value


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:LONGEST_TEXT]}".rstrip(": ")
