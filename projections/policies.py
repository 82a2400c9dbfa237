"""The policies in force at a position of the log."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.database import Database
from orchestrator.log import Stored, applied_policies, policies_text
from orchestrator.policies.schema import Policies, parse


def last_of(page: Sequence[Stored]) -> Policies | None:
    """Those that came into force last within the page."""
    texts = (applied_policies(event.topic, event.state) for event in reversed(page))
    text = next((text for text in texts if text is not None), None)
    return parse(text) if text is not None else None


def before(database: Database, position: int) -> Policies:
    """Those in force before `position`; nothing but defaults where there were none yet."""
    with database.read() as connection:
        return parse(policies_text(connection, position - 1) or "")
