"""Whether TokPortal signed a message, decided on the raw bytes before anything else looks at them."""

from __future__ import annotations

import hmac
from binascii import unhexlify
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from secrets import token_bytes
from typing import Final

ARTICLE: Final = "article"
"""Dialect of TokPortal's article on webhooks: `X-TokPortal-Signature`, over the raw body."""

PUBLIC: Final = "2026-05-25"
"""Dialect of TokPortal's public API, called by its `api_version`: `TokPortal-Signature`, over time and raw body."""

TOLERANCE: Final = 300
"""Seconds that `t` may lie behind or ahead of our clock, both ends included. TokPortal's own clients use 300."""

MAX_HEADER: Final = 4096
"""Longest signature header that is looked at, in bytes."""

MAX_SIGNATURES: Final = 16
"""Most `v1` values in one header. TokPortal sends one; the room is for a sender that rotates its secret."""

_ARTICLE_HEADER: Final = b"x-tokportal-signature"
_PUBLIC_HEADER: Final = b"tokportal-signature"
_PREFIX: Final = b"sha256="
_OWS: Final = b" \t"
_HEX_DIGITS: Final = 64
_TIME_DIGITS: Final = 12


@dataclass(frozen=True, slots=True)
class Signed:
    """What a good signature says about a message.

    Attributes:
        dialect: `ARTICLE` or `PUBLIC`, told by the header that carried the signature.
        key: fingerprint of the secret that matched: the first 8 hex digits of its SHA-256. Safe to log.
    """

    dialect: str
    key: str


class Verifier:
    """Checks signatures against every secret an endpoint accepts.

    Several secrets, because TokPortal has no call that rotates one: the old and the new endpoint live side by side
    for a while. Blank secrets are dropped, so that an unset variable cannot let everybody in.
    """

    __slots__ = ("_keys",)

    def __init__(self, secrets: Sequence[str]) -> None:
        """Take the secrets as TokPortal showed them; their UTF-8 bytes are the key, with no base64 step.

        Raises:
            UnicodeEncodeError: a secret holds a lone surrogate that does not stand for a byte of the environment.
        """
        usable = [secret.encode("utf-8", "surrogateescape") for secret in dict.fromkeys(secrets) if secret.strip()]
        # A key that nobody knows does the work of a real one, so timing does not tell which endpoints have a secret.
        self._keys = tuple(_Key(secret) for secret in usable or [token_bytes(32)])

    def verify(self, headers: Iterable[tuple[bytes, bytes]], body: bytes, now: float) -> Signed | None:
        """Say who signed `body`, or None where nobody we know did. Never raises.

        Args:
            headers: raw ASGI headers, names in lower case. Exactly one of the two signature headers must be there,
                once: a repeated header, or both, could be read in two ways and is refused.
            body: the body as received; not one byte may have been decoded or reformatted.
            now: Unix time in seconds. Fractions are dropped, since `t` has none.

        The header and message formats are TokPortal's (its article on webhooks, and its public clients). Those clients
        keep the last of several `v1`; here each one counts. White space around a header value is not part of it
        (RFC 9110, section 5.5).
        """
        value = None
        article = False
        for name, content in headers:
            if name in (_PUBLIC_HEADER, _ARTICLE_HEADER):
                if value is not None:
                    return None
                value = content
                article = name == _ARTICLE_HEADER
        if value is None or len(value) > MAX_HEADER:
            return None
        if article:
            value = value.strip(_OWS)
            return self._match([value.removeprefix(_PREFIX)], b"", body, article=True)

        time = None
        signatures = []
        for part in value.split(b","):
            label, _, text = part.strip(_OWS).partition(b"=")
            if label == b"v1":
                signatures.append(text)
            elif label == b"t":
                if time is not None:
                    return None
                time = text
        if time is None or not _fresh(time, now) or len(signatures) > MAX_SIGNATURES:
            return None
        return self._match(signatures, time + b".", body, article=False)

    def _match(self, signatures: list[bytes], prefix: bytes, body: bytes, *, article: bool) -> Signed | None:
        given = [digest for digest in map(_digest, signatures) if digest is not None]
        if not given:
            return None
        found = None
        # No early exit: how long this takes must not tell which of the secrets matched.
        for key in self._keys:
            mac = key.mac.copy()
            mac.update(prefix)
            mac.update(body)
            expected = mac.digest()
            for digest in given:
                if hmac.compare_digest(expected, digest):
                    found = key
        if found is None:
            return None
        return found.article if article else found.public


class _Key:
    """One secret, made ready: copying a keyed HMAC is cheaper than hashing the key again for every message."""

    __slots__ = ("article", "mac", "public")

    def __init__(self, secret: bytes) -> None:
        fingerprint = sha256(secret).hexdigest()[:8]
        self.mac = hmac.new(secret, digestmod=sha256)
        self.article = Signed(ARTICLE, fingerprint)
        self.public = Signed(PUBLIC, fingerprint)


def _digest(text: bytes) -> bytes | None:
    if len(text) != _HEX_DIGITS:
        return None
    try:
        return unhexlify(text)
    except ValueError:
        return None


def _fresh(time: bytes, now: float) -> bool:
    # `int` alone would take `1_0` and Arabic digits for numbers, as TokPortal's Python client does.
    if not time.isdigit() or len(time) > _TIME_DIGITS:
        return False
    try:
        return -TOLERANCE <= int(now) - int(time) <= TOLERANCE
    except (OverflowError, ValueError):
        return False
