"""Cursors: where a list goes on, as a text that callers pass back and need not understand."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

import msgspec

Key = Sequence[str | int]


class BadCursor(Exception):
    """The cursor is none of ours, or that of another list."""


def encode(name: str, key: Key) -> str:
    """The cursor of the list `name` after the item with `key`."""
    return base64.urlsafe_b64encode(msgspec.json.encode([name, *key])).decode().rstrip("=")


def decode(name: str, cursor: str, *kinds: type[str] | type[int]) -> list[str | int]:
    """The key in the cursor, whose parts are of `kinds`. Raises `BadCursor`."""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        parts = msgspec.json.decode(raw, type=list[str | int])
    except (ValueError, binascii.Error, msgspec.MsgspecError):
        raise BadCursor from None
    key = parts[1:]
    if parts[:1] != [name] or [type(part) for part in key] != list(kinds):
        raise BadCursor
    if any(("\0" in part) if isinstance(part, str) else not 0 <= part < 2**63 for part in key):
        raise BadCursor
    return key
