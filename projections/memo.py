"""The facts and steps that a row is made of, as they are kept with it, so that the next one can be folded in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from orchestrator.domain.decisions import Step
from orchestrator.domain.facts import Note

_encode = msgspec.json.Encoder().encode
_Text = str | None
_Note = tuple[str, datetime, str, str, _Text, _Text, _Text, _Text, Any]
_Step = tuple[str, datetime, Any]
_decode = msgspec.json.Decoder(tuple[list[_Note], list[_Step]])


def encode(notes: Sequence[Note], steps: Sequence[Step] = ()) -> bytes:
    return _encode(
        (
            [
                (n.name, n.occurred_at, n.event_id, n.dialect, n.bundle_id, n.account, n.country, n.platform, n.detail)
                for n in notes
            ],
            [(s.name, s.at, s.detail) for s in steps],
        )
    )


def decode(memo: bytes) -> tuple[list[Note], list[Step]]:
    notes, steps = _decode.decode(memo)
    return [Note(*values) for values in notes], [Step(*values) for values in steps]
