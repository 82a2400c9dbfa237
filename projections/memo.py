"""The notes behind a row, kept with it, so that the next fact can be folded in without reading the log again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from orchestrator.domain.facts import Note

_encode = msgspec.json.Encoder().encode
_Text = str | None
_decode = msgspec.json.Decoder(list[tuple[str, datetime, str, str, _Text, _Text, _Text, _Text, Any]])


def encode(notes: Sequence[Note]) -> bytes:
    return _encode(
        [
            (n.name, n.occurred_at, n.event_id, n.dialect, n.bundle_id, n.account, n.country, n.platform, n.detail)
            for n in notes
        ]
    )


def decode(memo: bytes) -> list[Note]:
    return [Note(*values) for values in _decode.decode(memo)]
