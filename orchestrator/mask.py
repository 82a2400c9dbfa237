"""Keeps secrets out of texts that people and machines will read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote, quote_plus

from orchestrator.secrets import Secret

HIDDEN: Final = "***"

_SHORT: Final = 8

# Every repetition below is bounded: a long text that somebody sent us must not cost more than its length.
_PATTERNS: Final = (
    # URLs of databases: SQLAlchemy takes a password up to the `@`, whatever else is in it.
    (re.compile(r"(?:(?<=postgresql)|(?<=postgres)|(?<=psycopg))(://[^\s:/@]{0,256}:)[^\s@]{1,512}(?=@)"), r"\1***"),
    (re.compile(r"(://[^\s:/?#@]{0,256}:)[^\s/?#@]{1,512}(?=@)"), r"\1***"),
    (
        re.compile(
            r"\b((?:ssl)?password|passwd|pwd|api[_-]?key|access[_-]token|client[_-]secret)(\s{0,8}=\s{0,8})"
            r"(?:'[^']{0,512}'|\"[^\"]{0,512}\"|[^\s&;,'\"]{1,512})",
            re.IGNORECASE,
        ),
        r"\1\2***",
    ),
    # A header inside a structure that was printed: {'Authorization': 'Bearer …'}, (b'authorization', b'Bearer …').
    (
        re.compile(
            r"(?<![\w-])((?:proxy-)?authorization|x-api-key|api-key|x-auth-token|x-access-token|(?:set-)?cookie)"
            r"((?:\\{0,4}['\"]\s{0,8},|\\{0,4}['\"]?\s{0,8}[:=])\s{0,8}b?)(\\{0,4}['\"]).{0,4096}?\3",
            re.IGNORECASE | re.DOTALL,
        ),
        r"\1\2\3***\3",
    ),
    # A header as it stands in a request. Of a scheme that is not known to be one word, the rest of the line goes.
    (
        re.compile(
            r"(?<![\w-])((?:proxy-)?authorization|(?:set-)?cookie)(\s{0,8}[:=]\s{0,8})(?=\S)(?!\*\*\*(?![^\s'\",;]))"
            r"(?:(?:basic|bearer|token|apikey|negotiate)\s{1,8}[^\s'\",;]{1,4096}|[^\r\n]{1,4096})",
            re.IGNORECASE,
        ),
        r"\1\2***",
    ),
    (
        re.compile(
            r"(?<![\w-])(x-api-key|api-key|x-auth-token|x-access-token)(\s{0,8}[:=]\s{0,8})[^\s'\",;]{1,4096}",
            re.IGNORECASE,
        ),
        r"\1\2***",
    ),
    (re.compile(r"\b(bearer)\s{1,8}(?=\S{0,512}[0-9])[A-Za-z0-9._~+/=:-]{8,4096}", re.IGNORECASE), r"\1 ***"),
)

_SENSITIVE: Final = re.compile(
    r"(?:(?:proxy|http)[-_])?authorization|(?:set[-_])?cookie|(?:x[-_])?(?:api[-_]?key|auth[-_]token|access[-_]token)"
    r"|(?:ssl)?password|passwd|(?:client[-_])?secret",
    re.IGNORECASE,
)


class Mask:
    """Replaces known secrets, and what has the shape of a credential, wherever they stand in a text."""

    def __init__(self, secrets: Iterable[Secret] = ()) -> None:
        self._known: dict[str, str] = {}
        self._pattern: re.Pattern[str] | None = None
        self.add(secrets)

    def add(self, secrets: Iterable[Secret]) -> None:
        """Know more secrets from now on. Safe while other threads mask."""
        known = dict(self._known)
        for secret in secrets:
            for spelling in _spellings(secret.reveal()):
                known.setdefault(spelling, str(secret))
        # The longest first: one secret may be the beginning of another.
        spellings = sorted(filter(None, known), key=len, reverse=True)
        self._known = known
        self._pattern = re.compile("|".join(map(_anywhere, spellings))) if spellings else None

    def __call__(self, text: str) -> str:
        """`text` without secrets. Each known one becomes its own mask, so that it can be told which it was.

        Spelled out in JSON, a Python literal or percent-encoding a secret is found too. One of fewer than 8 characters
        counts as a whole word only: without this, the secret `a` would leave nothing to read, and give itself away.
        """
        pattern, known = self._pattern, self._known
        if pattern is not None:
            text = pattern.sub(lambda match: known[match[0]], text)
        return hide_credentials(text)


def hide_credentials(text: str) -> str:
    """`text` without passwords in URLs and settings, and without the values of headers that carry credentials."""
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def is_sensitive(name: str) -> bool:
    """Whether a header, field or parameter of this name carries a credential."""
    return _SENSITIVE.fullmatch(name) is not None


def _spellings(value: str) -> set[str]:
    raw = value.encode("utf-8", "surrogateescape")
    return {
        value,
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        repr(value)[1:-1],
        repr(raw)[2:-1],
        quote(raw, safe=""),
        quote(raw, safe="/"),
        quote_plus(raw),
    }


def _anywhere(spelling: str) -> str:
    return re.escape(spelling) if len(spelling) >= _SHORT else rf"(?<!\w){re.escape(spelling)}(?!\w)"
