"""Message bodies: strict JSON, and the identity under which a message is known."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from math import isfinite
from typing import Any, NoReturn

import msgspec

from orchestrator.dialects.reading import Unreadable, is_identifier
from orchestrator.domain.facts import ARTICLE

MAX_DEPTH = 32
MAX_NODES = 10_000
MAX_INTEGER = 2**53
MAX_STRING = 8_192

_LONG_NUMBER = re.compile(rb"[:,\[\s-][0-9]{16}")
"""Digits where a number may begin; those inside of a name, such as an event's id, are none."""
_canonical = msgspec.json.Encoder(order="deterministic")


class _DuplicateKey(ValueError):
    pass


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        raise _DuplicateKey(next(name for name in names if names.count(name) > 1))
    return members


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _float(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise ValueError(f"the number {text[:20]} is out of range")
    return number


_decoder = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant, parse_float=_float)


@dataclass(frozen=True, slots=True)
class Identity:
    """The names of a message: its event id, whether that is the vendor's (`given`) or ours (`derived`), and the
    digest of its content: SHA-256 in hex over the parsed JSON without `signature`, in canonical order, or over the
    raw bytes where they cannot be parsed."""

    event_id: str
    id_source: str
    digest: str


def identify(dialect: str, body: bytes) -> Identity:
    """Never raises: what cannot be parsed is known by its bytes."""
    try:
        message = _decoder.decode(body.decode())
        if _brackets(body) >= MAX_DEPTH and _depth(message) > MAX_DEPTH:
            # Whether such a body can be parsed depends on how deep the caller's own stack is.
            raise RecursionError
        if type(message) is dict and "signature" in message:
            content = _canonical.encode({name: value for name, value in message.items() if name != "signature"})
        else:
            content = _canonical.encode(message)
    except (ValueError, RecursionError, OverflowError):
        message, content = None, body
    digest = hashlib.sha256(content).hexdigest()
    event_id = event_id_of(dialect, message) if type(message) is dict else None
    if event_id is not None and is_identifier(event_id):
        return Identity(event_id, "given", digest)
    return Identity("derived_" + digest[:32], "derived", digest)


def event_id_of(dialect: str, message: dict[str, Any]) -> Any:
    """The event id as it stands in the message, of whatever type; None if there is none."""
    event_id = message.get("id")
    if event_id is None and dialect == ARTICLE:
        event_id = message.get("event_id")
        if event_id is None and type(data := message.get("data")) is dict:
            event_id = data.get("event_id")
    return event_id


def parse(body: bytes) -> dict[str, Any]:
    """The JSON object in `body`. Raises `Unreadable` naming what is wrong with it."""
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise Unreadable(f"the body is not UTF-8: byte {error.start} does not fit") from None
    try:
        message = _decoder.decode(text)
    except _DuplicateKey as error:
        raise Unreadable(f"the key {str(error)[:80]!r} stands twice in one object") from None
    except json.JSONDecodeError as error:
        raise Unreadable(f"the body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except ValueError as error:
        raise Unreadable(f"the body is not JSON: {str(error)[:120]}") from None
    except RecursionError:
        raise Unreadable(f"the body is nested deeper than {MAX_DEPTH} levels") from None
    if type(message) is not dict:
        raise Unreadable(f"the body is not a JSON object but {_kind(message)}")
    if not _is_plain(body):
        _check(message)
    return message


def _is_plain(body: bytes) -> bool:
    """Whether the bytes alone show that no limit can be exceeded, as those of nearly all messages do: too short for
    a long text or many values, too few brackets to nest deep, no long number, no escaped characters."""
    return (
        len(body) <= MAX_STRING
        and _brackets(body) < MAX_DEPTH
        and b"\\" not in body
        and _LONG_NUMBER.search(body) is None
    )


def _brackets(body: bytes) -> int:
    """At least as many as the levels of nesting."""
    return body.count(b"{") + body.count(b"[")


def _depth(value: Any) -> int:
    depth = 0
    level = [value]
    while level:
        depth += 1
        level = [
            inner
            for holder in level
            if type(holder) in (dict, list)
            for inner in (holder.values() if type(holder) is dict else holder)
        ]
    return depth


def _kind(value: Any) -> str:
    return {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}.get(type(value), "a number")


def _check(message: dict[str, Any]) -> None:
    nodes, depth = 0, 0
    level: list[Any] = [message]
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise Unreadable(f"the body is nested deeper than {MAX_DEPTH} levels")
        nodes += len(level)
        if nodes > MAX_NODES:
            raise Unreadable(f"the body has more than {MAX_NODES} values")
        deeper: list[Any] = []
        for value in level:
            kind = type(value)
            if kind is dict:
                for name in value:
                    _check_text(name)
                deeper += value.values()
            elif kind is list:
                deeper += value
            elif kind is str:
                _check_text(value)
            elif kind is int and not -MAX_INTEGER <= value <= MAX_INTEGER:
                raise Unreadable("an integer is beyond 2^53, where programs no longer agree on its value")
        level = deeper


def _check_text(text: str) -> None:
    if len(text) > MAX_STRING:
        raise Unreadable(f"a text is longer than {MAX_STRING} characters")
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise Unreadable("a text contains half of a surrogate pair")
    if "\0" in text:
        raise Unreadable("a text contains the character NUL")
