"""Whether something is there. The log knows of a thing before the read models do, so that an order about it can be
given as soon as TokPortal told of it."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from orchestrator.api.queries.videos import ours_of
from orchestrator.database.tables import events, journal, outbox
from orchestrator.domain.bundle import Bundle
from orchestrator.domain.campaign import Campaign
from orchestrator.domain.video import Video


def exists(connection: sa.Connection, column: sa.Column[Any], value: str) -> bool:
    """Whether a row has this value in its column."""
    return connection.execute(sa.select(column).where(column == value).limit(1)).first() is not None


def known_bundle(connection: sa.Connection, bundle_id: str) -> str | None:
    """Its id; None if nobody ever heard of it."""
    return bundle_id if _is_in_log(connection, Bundle.key(bundle_id)) else None


def known_campaign(connection: sa.Connection, campaign_id: str) -> str | None:
    return campaign_id if _is_in_log(connection, Campaign.key(campaign_id)) else None


def known_video(connection: sa.Connection, video_id: str) -> str | None:
    """The id of the video that this one turned out to be, or its own; None if there is no such video."""
    found = ours_of(connection, video_id)
    if found is None and _is_in_log(connection, Video.key(video_id)):
        return video_id
    return found


def known_command(connection: sa.Connection, command_id: str) -> str | None:
    return command_id if exists(connection, outbox.c.command_id, command_id) else None


def known_message(connection: sa.Connection, message_id: str) -> str | None:
    return message_id if exists(connection, journal.c.message_id, message_id) else None


def _is_in_log(connection: sa.Connection, key: str) -> bool:
    return exists(connection, events.c.originator_id, key)
