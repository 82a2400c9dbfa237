"""Stored events of past versions, read as what they would be today.

An event's class says its version, and how to get there, in the way of the `eventsourcing` library:

    class VideoHeld(Ours):
        class_version = 3

        @staticmethod
        def upcast_v1_v2(state: dict[str, Any]) -> None: ...

        @staticmethod
        def upcast_v2_v3(state: dict[str, Any]) -> None: ...

Each step changes the members of a stored event in place, as JSON has them. What is stored never changes: the log's hash
chain is over its bytes. Stored events name their version from the second on.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

VERSION: Final = "class_version"

EVOLVED: dict[str, type[Any]] = {}
"""The classes of events, by topic, that have more than one version."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class FutureVersionError(Exception):
    """An event was written by a newer program than this one."""


def version_of(kind: type[Any]) -> int:
    version: int = getattr(kind, VERSION, 1)
    return version


def learn(topic: str, kind: type[Any]) -> None:
    """Has events of this topic upcast where they are of a past version."""
    if version_of(kind) > 1:
        EVOLVED[topic] = kind


def current(topic: str, state: bytes) -> bytes:
    """A stored event in the form of today. Raises `FutureVersionError`."""
    kind = EVOLVED.get(topic)
    if kind is None:
        return state
    values = _decode(state)
    if values.get(VERSION, 1) == version_of(kind):
        return state
    upcast(topic, kind, values)
    return _encode({**values, VERSION: version_of(kind)})


def upcast(topic: str, kind: type[Any], values: dict[str, Any]) -> None:
    """Brings the members of a stored event to the form of today, and takes the version out of them.

    Raises `FutureVersionError`.
    """
    version = values.pop(VERSION, 1)
    if version > version_of(kind):
        raise FutureVersionError(
            f"an event {topic} is of version {version}, and this program knows versions up to {version_of(kind)}: "
            "run the version that wrote it, or a newer one"
        )
    while version < version_of(kind):
        getattr(kind, f"upcast_v{version}_v{version + 1}")(values)
        version += 1
