"""The policies that the log says were in force."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from orchestrator.database.tables import events
from orchestrator.domain.decisions import PoliciesApplied
from orchestrator.domain.house import Service
from orchestrator.log.upcasting import current


class _Data(msgspec.Struct):
    text: str


class _Applied(msgspec.Struct):
    data: _Data


_decode = msgspec.json.Decoder(_Applied).decode


def policies_text(connection: sa.Connection, position: int) -> str | None:
    """The text of the policies in force at `position`; None if there were none yet."""
    query = (
        sa.select(events.c.state)
        .where(
            events.c.originator_id == Service.KEY,
            events.c.topic == PoliciesApplied.TOPIC,
            events.c.notification_id <= position,
        )
        .order_by(events.c.originator_version.desc())
        .limit(1)
    )
    state = connection.execute(query).scalar_one_or_none()
    return applied_policies(PoliciesApplied.TOPIC, state) if state is not None else None


def applied_policies(topic: str, state: bytes) -> str | None:
    """The text of the policies that came into force with a stored event, if any did."""
    return _decode(current(topic, state)).data.text if topic == PoliciesApplied.TOPIC else None
