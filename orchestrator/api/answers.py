"""JSON answers."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.responses import Response

_encode = msgspec.json.Encoder().encode


class JsonResponse(Response):
    """Any plain value as JSON."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return _encode(content)
