"""What happened to one bundle, video or campaign, and what was decided about it, read from the log itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from orchestrator.api import cursors
from orchestrator.api.queries.causes import name_causes
from orchestrator.api.queries.events import event_item
from orchestrator.api.queries.moments import Moment
from orchestrator.api.queries.page import Page, log_head, page
from orchestrator.database.tables import events
from orchestrator.domain.bundle import Account, Bundle, Eras
from orchestrator.domain.campaign import Campaign
from orchestrator.domain.decisions import OURS, FactsAdopted, FactsReleased, Merged
from orchestrator.domain.facts import BundleMentioned, Note
from orchestrator.domain.video import Video
from orchestrator.log import note, step

HIDDEN = (
    *(kind.TOPIC for kind in (Bundle.BundleRegistered, Video.VideoRegistered, Campaign.CampaignRegistered)),
    Account.AccountRegistered.TOPIC,
    BundleMentioned.TOPIC,
    FactsAdopted.TOPIC,
    FactsReleased.TOPIC,
)
"""Births, mentions, and facts that are shown from where they were recorded first."""
VENDOR = {"kind": "vendor", "name": "tokportal"}


def video_history(
    connection: sa.Connection,
    video_id: str,
    *,
    limit: int = 50,
    cursor: str | None = None,
    as_of: Moment | None = None,
) -> Page | None:
    """What happened to a video, in the order of the log; None if nobody ever heard of it. Strangers that turned out
    to be this video belong to it, and have its history."""
    until = _until(connection, as_of)
    key = Video.key(video_id)
    for merged in _steps(connection, key, Merged.TOPIC, until):
        key = Video.key(merged["video_id"])
    strangers = [Video.key(adopted["stranger"]) for adopted in _steps(connection, key, FactsAdopted.TOPIC, until)]
    return _history(connection, [key, *strangers], limit, cursor, until)


def campaign_history(
    connection: sa.Connection,
    campaign_id: str,
    *,
    limit: int = 50,
    cursor: str | None = None,
    as_of: Moment | None = None,
) -> Page | None:
    """What happened to a campaign, in the order of the log; None if nobody ever heard of it."""
    return _history(connection, [Campaign.key(campaign_id)], limit, cursor, _until(connection, as_of))


def _until(connection: sa.Connection, as_of: Moment | None) -> int:
    """The last position that is shown."""
    return log_head(connection) if as_of is None else as_of.resolve(connection)


def _steps(connection: sa.Connection, key: str, topic: str, until: int) -> list[Mapping[str, Any]]:
    """What the events of this topic say."""
    rows = connection.execute(_of([key], until).where(events.c.topic == topic)).all()
    return [found.detail for row in rows if (found := step(row.topic, row.state)) is not None]


def _history(connection: sa.Connection, keys: Sequence[str], limit: int, cursor: str | None, until: int) -> Page | None:
    after = _after(cursor)
    if connection.execute(_of(keys[:1], until).limit(1)).first() is None:
        return None
    query = _of(keys, until).where(events.c.notification_id > after, events.c.topic.not_in(HIDDEN))
    return _page(connection, connection.execute(query.limit(limit + 1)).all(), limit, until)


def bundle_history(
    connection: sa.Connection,
    bundle_id: str,
    *,
    limit: int = 50,
    cursor: str | None = None,
    as_of: Moment | None = None,
) -> Page | None:
    """What happened to a bundle, and to its accounts while they were its accounts, in the order of the log; None if
    nobody ever heard of it."""
    until = _until(connection, as_of)
    own = connection.execute(_of([Bundle.key(bundle_id)], until)).all()
    if not own:
        return None
    notes = _notes(own)
    # Only what was recorded on the bundle can name an account for it.
    named = {note.account for _, note in notes if note.account is not None}
    reported = _notes(connection.execute(_of([Account.key(account) for account in sorted(named)], until)).all())
    accounts = {
        account: [note for row, note in reported if row.originator_id == Account.key(account)] for account in named
    }
    eras = Eras([note for _, note in notes], accounts)
    spoken = [row for row, note in reported if _is_of(eras.account_at(note.key), row)]
    after = _after(cursor)
    rows = [row for row in (*own, *spoken) if row.topic not in HIDDEN and row.notification_id > after]
    rows.sort(key=lambda row: row.notification_id)
    return _page(connection, rows[: limit + 1], limit, until)


def _is_of(account: str | None, row: Any) -> bool:
    return account is not None and row.originator_id == Account.key(account)


def _of(keys: Iterable[str], until: int) -> sa.Select[Any]:
    is_of = events.c.originator_id.in_(list(keys))
    return sa.select(events).where(is_of, events.c.notification_id <= until).order_by(events.c.notification_id)


def _notes(rows: Iterable[Any]) -> list[tuple[Any, Note]]:
    return [(row, found) for row in rows if (found := note(row.topic, row.state)) is not None]


def _after(cursor: str | None) -> int:
    return 0 if cursor is None else int(cursors.decode("history", cursor, int)[0])


def _page(connection: sa.Connection, rows: Sequence[Any], limit: int, until: int) -> Page:
    found = page("history", rows, limit, until, _item, lambda row: [row.notification_id])
    name_causes(connection, found["items"])
    return found


def _item(row: Any) -> dict[str, Any]:
    event = event_item(row)
    forgets = OURS[row.topic].forgets if row.topic in OURS else ()
    ours = event.get("ours", {"actor": VENDOR, "reason": None})
    return {
        "position": event["position"],
        "event": event["event"],
        # What is ours happened when it was recorded.
        "occurred_at": event["occurred_at"] or event["recorded_at"],
        "recorded_at": event["recorded_at"],
        "data": {name: value for name, value in event["data"].items() if name not in forgets},
        "cause": event["cause"],
        "actor": ours["actor"],
        "reason": ours["reason"],
    }
