"""The policies in force at a position of the log."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import sqlalchemy as sa

from orchestrator.database import Database
from orchestrator.database.tables import events
from orchestrator.domain.house import Service
from orchestrator.log import Stored
from orchestrator.policies.schema import Policies, parse

TOPIC = "PoliciesApplied"


class _Data(msgspec.Struct):
    text: str


class _Applied(msgspec.Struct):
    data: _Data


_decode = msgspec.json.Decoder(_Applied).decode


def last_of(page: Sequence[Stored]) -> Policies | None:
    """Those that came into force last within the page."""
    for event in reversed(page):
        if event.topic == TOPIC:
            return parse(_decode(event.state).data.text)
    return None


def before(database: Database, position: int) -> Policies:
    """Those in force before `position`; nothing but defaults where there were none yet."""
    query = (
        sa.select(events.c.state)
        .where(events.c.originator_id == Service.KEY, events.c.topic == TOPIC, events.c.notification_id < position)
        .order_by(events.c.originator_version.desc())
        .limit(1)
    )
    with database.read() as connection:
        state = connection.execute(query).scalar_one_or_none()
    return parse(_decode(bytes(state)).data.text if state is not None else "")
