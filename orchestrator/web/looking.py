"""What the pages show, as pure functions of a connection: each is one look at one moment of the database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from orchestrator.api.cursors import BadCursor
from orchestrator.api.queries.bundles import bundle_item, list_bundles
from orchestrator.api.queries.campaigns import list_campaigns
from orchestrator.api.queries.commands import list_commands
from orchestrator.api.queries.countries import list_countries
from orchestrator.api.queries.decisions import list_decisions
from orchestrator.api.queries.events import event_item
from orchestrator.api.queries.histories import bundle_history, video_history
from orchestrator.api.queries.page import Page, log_head
from orchestrator.api.queries.videos import list_videos, video_item
from orchestrator.database.tables import bundles, countries, decisions, desk, events, outbox, videos
from orchestrator.desk import SERVICE, ServiceEntry, read_service
from orchestrator.domain import bundle, video
from orchestrator.outbox.outbox import ALERT, DEAD, HELD, PENDING, RUNNING, UNKNOWN
from orchestrator.web import words

ROWS = 50
"""Rows of a table; whoever wants more goes on from there."""
NEWS = 12
LOOKED_BACK = 400
"""Events that are looked through for news: most of the log is none."""
DECISIONS = 20
ALIKE = 3
"""Placings of one moment that are shown."""
SHOWN_OF_DECISIONS = (
    "kind",
    "video_id",
    "bundle_id",
    "from_bundle",
    "to_bundle",
    "country",
    "platform",
    "reason",
    "at",
)
COMMANDS = 10
ALERTS = 8
OPEN = (PENDING, HELD, RUNNING, UNKNOWN, DEAD)
"""Commands that somebody may have to look at, and those on their way."""
HISTORY = 100
NOTHING: Page = {"items": [], "next": None, "position": 0}
"""The history of what is in the read models and not in the log, as while they are made anew."""

PAGES = {"bundle": "bundles", "video": "videos"}
"""Where the aggregates of the log have pages."""

Shown = dict[str, Any]


def overview(connection: sa.Connection, query: Mapping[str, str], now: datetime) -> Shown:
    """Everything on the first page. `query` are its parameters: one that makes no sense is named in `wrong`, and the
    page is shown without it."""
    wrong: list[str] = []
    country = _one(query, "country", _countries(connection), wrong)
    bundle_state = _one(query, "bundle_state", bundle.STATES, wrong)
    video_state = _one(query, "video_state", video.STATES, wrong)
    markets = list_countries(connection, limit=500, now=now)["items"]
    news = _news(connection)
    decided = _latest_decisions(connection)
    commands = _commands(connection)
    alerts = list_commands(connection, kind=ALERT, limit=ALERTS)["items"]
    found = _paged(list_videos, connection, query.get("videos_after"), wrong, country=country, state=video_state)
    return {
        "service": _service(connection),
        "position": log_head(connection),
        "wrong": wrong,
        "country": country,
        "bundle_state": bundle_state,
        "video_state": video_state,
        "known_countries": sorted({market["country"] for market in markets}),
        "markets": markets if country is None else [market for market in markets if market["country"] == country],
        "counts": _counts(connection, country),
        "bundles": _paged(
            list_bundles, connection, query.get("bundles_after"), wrong, country=country, state=bundle_state
        ),
        "videos": found,
        "campaigns": list_campaigns(connection, limit=5)["items"],
        "news": news,
        "decisions": decided,
        **commands,
        "refs": _refs(connection, [item["video_id"] for item in (*decided, *commands["commands"])]),
        "names": _names(connection, _mentioned(*decided, *commands["commands"], *found["items"], *alerts, *news)),
        "alerts": alerts,
    }


def bundle_page(connection: sa.Connection, bundle_id: str, cursor: str | None) -> Shown | None:
    """One bundle with its history and the decisions about it; None if there is none of this id."""
    item = bundle_item(connection, bundle_id)
    if item is None:
        return None
    decided = list_decisions(connection, bundle_id=bundle_id, limit=DECISIONS)["items"]
    commands = list_commands(connection, bundle_id=bundle_id, limit=COMMANDS)["items"]
    return {
        "service": _service(connection),
        "bundle": item,
        "history": bundle_history(connection, bundle_id, limit=HISTORY, cursor=cursor) or NOTHING,
        "videos": list_videos(connection, bundle_id=bundle_id, limit=ROWS),
        "decisions": decided,
        "commands": commands,
        "refs": _refs(connection, [item["video_id"] for item in (*decided, *commands)]),
        "names": _names(connection, {bundle_id, *_mentioned(*decided, *commands)}),
    }


def video_page(connection: sa.Connection, video_id: str, cursor: str | None) -> Shown | None:
    """One video with its history and the decisions about it; None if there is none of this id."""
    item = video_item(connection, video_id)
    if item is None:
        return None
    name = item["video_id"]
    decided = list_decisions(connection, video_id=name, limit=DECISIONS)["items"]
    candidates = [candidate for decision in decided for candidate in decision["candidates"]]
    return {
        "service": _service(connection),
        "video": item,
        "history": video_history(connection, video_id, limit=HISTORY, cursor=cursor) or NOTHING,
        "decisions": decided,
        "commands": list_commands(connection, video_id=name, limit=COMMANDS)["items"],
        "refs": {name: item["ref"]} if item["ref"] is not None else {},
        "names": _names(connection, _mentioned(item, *item["attempts"], *decided, *candidates)),
    }


def _service(connection: sa.Connection) -> ServiceEntry:
    query = sa.select(desk.c.body).where(desk.c.kind == SERVICE, desk.c.name == SERVICE)
    return read_service(connection.execute(query).scalar_one_or_none())


def _countries(connection: sa.Connection) -> list[str]:
    return list(connection.execute(sa.select(countries.c.country).distinct()).scalars())


def _one(query: Mapping[str, str], name: str, choices: Any, wrong: list[str]) -> str | None:
    value = query.get(name) or None
    if value is not None and value not in choices:
        wrong.append(f"There is no {name.replace('_', ' ')} {value[:50]!r} here; all are shown.")
        return None
    return value


def _paged(listed: Any, connection: sa.Connection, cursor: str | None, wrong: list[str], **filters: Any) -> Shown:
    try:
        found: Shown = listed(connection, limit=ROWS, cursor=cursor or None, **filters)
    except BadCursor:
        wrong.append("The place in the list cannot be read; its beginning is shown.")
        found = listed(connection, limit=ROWS, **filters)
    return found


def _counts(connection: sa.Connection, country: str | None) -> dict[str, dict[str, int]]:
    """How many bundles and videos are in which state, those of no known country included."""
    query = (
        sa.select(countries.c.subject, countries.c.state, sa.func.sum(countries.c.count))
        .where(countries.c.subject.in_(("bundles", "videos")), countries.c.count > 0)
        .group_by(countries.c.subject, countries.c.state)
        .order_by(countries.c.subject, countries.c.state)
    )
    if country is not None:
        query = query.where(countries.c.country == country)
    found: dict[str, dict[str, int]] = {"bundles": {}, "videos": {}}
    for subject, state, number in connection.execute(query):
        found[subject][state] = int(number)
    return found


def _news(connection: sa.Connection) -> list[Shown]:
    """What happened of late, the newest first."""
    query = sa.select(events).order_by(events.c.notification_id.desc()).limit(LOOKED_BACK)
    items = [event_item(row) for row in connection.execute(query) if row.topic in words.FACTS]
    refs = _refs(connection, [item["aggregate"]["id"] for item in items if item["aggregate"]["kind"] == "video"])
    found: dict[tuple[Any, ...], Shown] = {}
    for item in items:
        kind, name = item["aggregate"]["kind"], item["aggregate"]["id"]
        shown = {
            "at": item["recorded_at"],
            "text": words.news(item, refs),
            "event": item["event"],
            "page": PAGES.get(kind),
            "id": name,
            "bundle_id": words.bundle_of(item),
        }
        # What is reported once more, as when it is confirmed, is no news: it stands where it was reported first.
        found.pop((kind, name, shown["text"]), None)
        found[kind, name, shown["text"]] = shown
    return list(found.values())[:NEWS]


def _latest_decisions(connection: sa.Connection) -> list[Shown]:
    """The newest first. Of many that place videos at one moment, as at a campaign's start, some stand for all: `more`
    says for how many others the last of them does."""
    columns = (decisions.c[name] for name in SHOWN_OF_DECISIONS)
    query = sa.select(*columns).order_by(decisions.c.position.desc()).limit(LOOKED_BACK)
    shown: list[Shown] = []
    alike = 0
    for row in connection.execute(query).mappings():
        last = shown[-1] if shown else None
        is_alike = last is not None and row["kind"] == last["kind"] == "place" and row["at"] == last["at"]
        alike = alike + 1 if is_alike else 0
        if last is not None and alike >= ALIKE:
            last["more"] += 1
        elif len(shown) < DECISIONS:
            shown.append({**row, "more": 0})
        else:
            break
    return shown


def _mentioned(*items: Mapping[str, Any]) -> set[str]:
    """The bundles that these are about."""
    names = ("bundle_id", "from_bundle", "to_bundle")
    return {item[name] for item in items for name in names if item.get(name) is not None}


def _names(connection: sa.Connection, bundle_ids: Iterable[str]) -> dict[str, str]:
    """The usernames of the accounts in these bundles, by the bundles' ids."""
    known = (bundles.c.bundle_id.in_(set(bundle_ids)), bundles.c.username.is_not(None))
    query = sa.select(bundles.c.bundle_id, bundles.c.username).where(*known)
    return {row.bundle_id: row.username for row in connection.execute(query)}


def _refs(connection: sa.Connection, video_ids: Iterable[str | None]) -> dict[str, str]:
    """What campaigns call these videos, by their ids."""
    wanted = {video_id for video_id in video_ids if video_id is not None}
    query = sa.select(videos.c.video_id, videos.c.ref).where(videos.c.video_id.in_(wanted), videos.c.ref.is_not(None))
    return {row.video_id: row.ref for row in connection.execute(query)}


def _commands(connection: sa.Connection) -> Shown:
    """How many commands are open, by status, and the newest of each: what needs a person comes first."""
    counted = (
        sa.select(outbox.c.status, sa.func.count().label("number"))
        .where(outbox.c.status.in_(OPEN), outbox.c.kind != ALERT)
        .group_by(outbox.c.status)
    )
    found = {row.status: row.number for row in connection.execute(counted)}
    shown = [
        item
        for status in (DEAD, UNKNOWN, HELD, RUNNING, PENDING)
        if status in found
        for item in list_commands(connection, status=status, limit=COMMANDS)["items"]
        if item["kind"] != ALERT
    ]
    return {"command_counts": {status: found[status] for status in OPEN if status in found}, "commands": shown}
