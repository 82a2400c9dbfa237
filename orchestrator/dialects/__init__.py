"""The two wire formats in which TokPortal reports, read into facts. Pure.

Which dialect a message is in is told by its signature header; what it says is read here, by `read`.
"""

from __future__ import annotations

from datetime import datetime

from orchestrator.dialects import article, public
from orchestrator.dialects.body import Identity, identify, parse
from orchestrator.dialects.reading import Reading, Unreadable, Unrecognised
from orchestrator.domain.facts import ARTICLE, PUBLIC

__all__ = ["ARTICLE", "PUBLIC", "Identity", "Reading", "Unreadable", "Unrecognised", "identify", "read"]

_READERS = {ARTICLE: article.read, PUBLIC: public.read}


def read(dialect: str, body: bytes, received_at: datetime) -> Reading:
    """What the message says.

    Raises `Unreadable` for what cannot be understood and `Unrecognised` for an event type that nobody knows.
    """
    return _READERS[dialect](parse(body), received_at)
