"""Texts of settings into values. The ValueError of each reads on from `NAME: `, and says what would be right."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable
from contextlib import suppress
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import urlsplit

from orchestrator.webhooks.networks import Networks, parse_address

LARGEST_SIZE: Final = 512 * 1024 * 1024
"""Bytes of the largest size: no database here keeps a value of 1 GB."""

_Choice = TypeVar("_Choice", bound=StrEnum)

_SIZE: Final = re.compile(r"([1-9][0-9]{0,9}) ?(|B|KiB|MiB)", re.IGNORECASE)
_FACTORS: Final = {"": 1, "b": 1, "kib": 1024, "mib": 1024 * 1024}
_LABEL: Final = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
# The last part of a name is no number: resolvers take `127.1` and `0` for addresses, and we would not see which.
_HOST: Final = re.compile(rf"(?=.{{1,253}}\Z)(?:{_LABEL}\.)*(?=[A-Za-z_]){_LABEL}")
_VISIBLE: Final = re.compile(r"[\x21-\x7e]+")
_TRUE: Final = ("true", "yes", "on", "1")
_FALSE: Final = ("false", "no", "off", "0")


def choice(kind: type[_Choice]) -> Callable[[str], _Choice]:
    """A parser for one of the values of `kind`, in either case."""

    def parse(text: str) -> _Choice:
        values = [str(value) for value in kind]
        if text.lower() in values:
            return kind(text.lower())
        close = get_close_matches(text.lower(), values, n=1)
        advice = f"did you mean {close[0]}?" if close else f"write {one_of(values)}"
        raise ValueError(f"{text!r} is unknown, {advice}")

    return parse


def key_bytes(text: str) -> bytes:
    """The 32 bytes of a key, from 64 hex digits or from base64. Nothing of it is shown in errors."""
    if len(text) == 64:
        with suppress(ValueError):
            return bytes.fromhex(text)
    with suppress(ValueError):
        found = b64decode(
            text + "=" * (-len(text) % 4), altchars=b"-_" if {"-", "_"} & set(text) else None, validate=True
        )
        if len(found) == 32:
            return found
    raise ValueError("the key is unusable, write 32 random bytes as 64 hex digits or as base64 (openssl rand -hex 32)")


def one_of(values: list[str]) -> str:
    return f"{', '.join(values[:-1])} or {values[-1]}"


def boolean(text: str) -> bool:
    if text.lower() in _TRUE + _FALSE:
        return text.lower() in _TRUE
    raise ValueError(f"{text!r} is neither yes nor no, write true or false")


def size(text: str) -> int:
    """Bytes, from `1MiB`, `64KiB` or a plain number of them."""
    match = _SIZE.fullmatch(text)
    number = int(match[1]) * _FACTORS[match[2].lower()] if match else 0
    if not 0 < number <= LARGEST_SIZE:
        raise ValueError(f"{text!r} is no size from 1 byte to 512MiB, write one such as 1MiB, 64KiB or 65536")
    return number


def host(text: str) -> str:
    """An address or name to bind to; an IPv6 address may stand in brackets."""
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if parse_address(bare) is None and not _HOST.fullmatch(bare):
        raise ValueError(f"{text!r} is no address or host name, write one such as 127.0.0.1, ::1 or 0.0.0.0")
    return bare


def port(text: str) -> int:
    """A TCP port; 0 is one that the system picks."""
    if text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535:
        return int(text)
    # Kubernetes sets NAME_PORT in every pod beside a service called NAME.
    hint = " (Kubernetes sets this variable for a service of that name unless enableServiceLinks is false)"
    raise ValueError(
        f"{text!r} is no port{hint if '://' in text else ''}, write a number from 0 to 65535, such as 8080"
    )


def http_url(text: str) -> str:
    """A base URL, without the slash at its end."""
    shape = "write one such as https://orchestrator.example.com"
    # Not shown from here on, where a password may be part of it.
    if "@" in text:
        raise ValueError(f"a URL with a user name or password in it cannot be used, {shape}")
    try:
        parts = urlsplit(text)
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_usable = False
    if not is_usable or not _VISIBLE.fullmatch(text) or "?" in text or "#" in text:
        raise ValueError(f"{text!r} is no URL of a service, {shape}")
    return text.rstrip("/")


def folder(text: str, cwd: Path) -> Path:
    """An existing folder; a relative path starts at `cwd`."""
    path = cwd / text
    if not path.is_dir():
        raise ValueError(f"there is no folder {str(path)!r}, create it or name another")
    return path


def networks(text: str, cwd: Path) -> Networks:
    """A list in CIDR notation, or `@FILE`; a relative path starts at `cwd`."""
    return Networks(f"@{cwd / text[1:].strip()}" if text.startswith("@") else text)


def is_visible(text: str) -> bool:
    """Whether `text` can stand in a header: ASCII without spaces and control characters."""
    return _VISIBLE.fullmatch(text) is not None
