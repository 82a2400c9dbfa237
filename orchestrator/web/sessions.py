"""Sessions of browsers, which send no bearer tokens: a signed cookie that lets its holder look, and nothing more."""

from __future__ import annotations

import base64
import hmac
import secrets
import time
from collections.abc import Callable, Sequence

from orchestrator.api.services import Token

COOKIE = "orchestrator_session"
LASTS = 12 * 3600
"""Seconds."""


class Sessions:
    """The cookie says whose token was shown and until when that counts, signed with a key that this process alone has:
    it tells nothing of the token, and a restart ends every session."""

    def __init__(self, tokens: Sequence[Token], now: Callable[[], float] = time.time) -> None:
        self._tokens = [(token.name, token.value.encode()) for token in tokens]
        self._names = {token.name for token in tokens}
        self._now = now
        self._key = secrets.token_bytes(32)

    def begin(self, token: str) -> str | None:
        """The cookie's value for whoever shows this token; None where it is not known."""
        shown = token.strip().encode("utf-8", "surrogatepass")
        found = None
        # Against all of them, so that the time taken tells nothing about any.
        for name, value in self._tokens:
            if hmac.compare_digest(shown, value):
                found = name
        return None if found is None else self._signed(f"{found}:{int(self._now()) + LASTS}")

    def viewer(self, headers: Sequence[tuple[bytes, bytes]]) -> str | None:
        """The name of the token that the session in these headers began with; None without a session that counts."""
        for value in _cookies(headers):
            content, dot, _ = value.rpartition(".")
            if not dot or not hmac.compare_digest(value.encode(), self._sealed(content).encode()):
                continue
            name, _, until = _decoded(content).rpartition(":")
            if name in self._names and self._now() < int(until):
                return name
        return None

    def _signed(self, content: str) -> str:
        return self._sealed(base64.urlsafe_b64encode(content.encode()).decode().rstrip("="))

    def _sealed(self, encoded: str) -> str:
        return f"{encoded}.{hmac.new(self._key, encoded.encode(), 'sha256').hexdigest()}"


def cookie(value: str, *, secure: bool) -> str:
    """The Set-Cookie header that keeps the session; an empty `value` ends it."""
    lasts = LASTS if value else 0
    return f"{COOKIE}={value}; Path=/; Max-Age={lasts}; HttpOnly; SameSite=Strict{'; Secure' if secure else ''}"


def _cookies(headers: Sequence[tuple[bytes, bytes]]) -> list[str]:
    """Every value that is sent under the cookie's name. Cookies know no ports: those of other programs on this machine
    stand beside ours, and may look like anything."""
    pairs = [pair for name, value in headers if name == b"cookie" for pair in value.decode("latin-1").split(";")]
    named = [pair.strip().partition("=") for pair in pairs]
    return [value for name, _, value in named if name == COOKIE and value.isascii()]


def _decoded(encoded: str) -> str:
    return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
