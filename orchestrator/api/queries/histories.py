"""What happened to one bundle or video, read from the log itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from orchestrator.api import cursors
from orchestrator.api.queries.events import event_item
from orchestrator.api.queries.page import Page, log_head, page
from orchestrator.database.tables import events
from orchestrator.domain.bundle import Account, Bundle, Eras
from orchestrator.domain.facts import BundleMentioned, Fact, Note
from orchestrator.domain.video import Video
from orchestrator.log import EventMapper

NO_FACTS = ("BundleRegistered", "VideoRegistered", "AccountRegistered", "BundleMentioned")
VENDOR = {"kind": "vendor", "name": "tokportal"}

_mapper = EventMapper()


def video_history(
    connection: sa.Connection, video_id: str, *, limit: int = 50, cursor: str | None = None
) -> Page | None:
    """The facts of a video in the order of the log, or None if nobody ever heard of it."""
    key = Video.key(video_id)
    if connection.execute(sa.select(events.c.topic).where(events.c.originator_id == key).limit(1)).first() is None:
        return None
    query = _of([key]).where(events.c.notification_id > _after(cursor), events.c.topic.not_in(NO_FACTS))
    return _page(connection, connection.execute(query.limit(limit + 1)).all(), limit)


def bundle_history(
    connection: sa.Connection, bundle_id: str, *, limit: int = 50, cursor: str | None = None
) -> Page | None:
    """The facts of a bundle, and those of its accounts while they were its accounts, in the order of the log; None if
    nobody ever heard of it."""
    own = connection.execute(_of([Bundle.key(bundle_id)])).all()
    if not own:
        return None
    notes = _notes(own)
    # Only what was recorded on the bundle can name an account for it.
    named = {note.account for _, note in notes if note.account is not None}
    reported = _notes(connection.execute(_of([Account.key(account) for account in sorted(named)])).all())
    accounts = {
        account: [note for row, note in reported if row.originator_id == Account.key(account)] for account in named
    }
    eras = Eras([note for _, note in notes], accounts)
    spoken = [row for row, note in reported if _is_of(eras.account_at(note.key), row)]
    after = _after(cursor)
    rows = [row for row in (*own, *spoken) if row.topic not in NO_FACTS and row.notification_id > after]
    rows.sort(key=lambda row: row.notification_id)
    return _page(connection, rows[: limit + 1], limit)


def _is_of(account: str | None, row: Any) -> bool:
    return account is not None and row.originator_id == Account.key(account)


def _of(keys: Iterable[str]) -> sa.Select[Any]:
    return sa.select(events).where(events.c.originator_id.in_(list(keys))).order_by(events.c.notification_id)


def _notes(rows: Iterable[Any]) -> list[tuple[Any, Note]]:
    found = []
    for row in rows:
        event = _mapper.event(row.originator_id, row.originator_version, row.topic, row.state)
        if isinstance(event, Fact | BundleMentioned):
            found.append((row, event.note()))
    return found


def _after(cursor: str | None) -> int:
    return 0 if cursor is None else int(cursors.decode("history", cursor, int)[0])


def _page(connection: sa.Connection, rows: Sequence[Any], limit: int) -> Page:
    return page("history", rows, limit, log_head(connection), _item, lambda row: [row.notification_id])


def _item(row: Any) -> dict[str, Any]:
    event = event_item(row)
    shown = {name: event[name] for name in ("position", "event", "occurred_at", "recorded_at", "data", "cause")}
    return {**shown, "actor": VENDOR, "reason": None}
