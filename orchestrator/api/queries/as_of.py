"""Bundles and videos as of a moment of the past, in the words of today's answers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import sqlalchemy as sa

from orchestrator.api import cursors
from orchestrator.api.queries import bundles as bundles_
from orchestrator.api.queries import videos as videos_
from orchestrator.api.queries.candidates import Names, bundles_for, videos_for
from orchestrator.api.queries.moments import Moment
from orchestrator.api.queries.page import Page, page
from orchestrator.api.queries.past import Past, Row

SEARCHED = 2_000
"""How many at a time are looked at, at most, where only some are wanted."""


def list_bundles(
    connection: sa.Connection, as_of: Moment, *, limit: int = 50, cursor: str | None = None, **wanted: Any
) -> Page:
    """Bundles by their ids, as they were. `wanted`: the values of columns, None for any."""
    past = Past(connection, as_of.resolve(connection))
    after = "" if cursor is None else str(cursors.decode("bundles", cursor, str)[0])
    filters = {name: value for name, value in wanted.items() if value is not None}

    def fits(row: Row) -> bool:
        return all(row[name] == value for name, value in filters.items())

    def read(bundle_ids: Iterable[str]) -> dict[str, Row]:
        if (group := filters.get("group")) is not None:
            bundle_ids = (name for name in bundle_ids if past.in_force.group_of(name) == group)
        return past.bundles(list(bundle_ids))

    found = _search(past, bundles_for(past, filters), read, fits, after, limit, is_picky=bool(filters))
    counts = _video_counts(past, [row["bundle_id"] for row in found[:limit]])
    return page(
        "bundles",
        found,
        limit,
        past.position,
        lambda row: bundles_.item_of(row, counts[row["bundle_id"]], past.position),
        lambda row: [row["bundle_id"]],
    )


def bundle_item(connection: sa.Connection, as_of: Moment, bundle_id: str) -> dict[str, Any] | None:
    """The bundle as it was, or None if nobody had heard of it."""
    past = Past(connection, as_of.resolve(connection))
    row = past.bundles([bundle_id]).get(bundle_id)
    return None if row is None else bundles_.item_of(row, _video_counts(past, [bundle_id])[bundle_id], past.position)


def list_videos(
    connection: sa.Connection, as_of: Moment, *, limit: int = 50, cursor: str | None = None, **wanted: Any
) -> Page:
    """Videos by their ids, as they were. `wanted`: the values of columns, None for any."""
    past = Past(connection, as_of.resolve(connection))
    after = "" if cursor is None else str(cursors.decode("videos", cursor, str)[0])
    filters = {name: value for name, value in wanted.items() if value is not None}

    def fits(row: Row) -> bool:
        return row["merged_into"] is None and all(row[name] == value for name, value in filters.items())

    def read(video_ids: Iterable[str]) -> dict[str, Row]:
        return _placed(past, past.videos(video_ids))

    found = _search(past, videos_for(past, filters), read, fits, after, limit, is_picky=bool(filters))
    return page(
        "videos",
        found,
        limit,
        past.position,
        lambda row: videos_.item_of(row, past.position),
        lambda row: [row["video_id"]],
    )


def video_item(connection: sa.Connection, as_of: Moment, video_id: str) -> dict[str, Any] | None:
    """The video as it was, or None if nobody had heard of it."""
    past = Past(connection, as_of.resolve(connection))
    row = past.videos([video_id]).get(video_id)
    if row is not None and row["merged_into"] is not None:
        row = past.videos([row["merged_into"]]).get(row["merged_into"])
    return None if row is None else videos_.item_of(_placed(past, {"": row})[""], past.position)


def _search(
    past: Past,
    names: Names,
    read: Callable[[list[str]], Mapping[str, Row]],
    fits: Callable[[Row], bool],
    after: str,
    limit: int,
    *,
    is_picky: bool,
) -> list[Row]:
    """The first rows that fit: one more than `limit`, if there are so many."""
    found: list[Row] = []
    size = limit + 1
    while len(found) <= limit:
        part = names(after, size)
        rows = read(part)
        found += [rows[name] for name in part if name in rows and fits(rows[name])]
        if len(part) < size:
            break
        after = part[-1]
        size = min(2 * size if is_picky else limit + 1, SEARCHED)
        past.forget()
    return found[: limit + 1]


def _placed(past: Past, rows: Mapping[str, Row]) -> dict[str, Row]:
    """The rows of videos with country, platform and group: where a campaign wanted them, else those of their bundle."""
    homeless = {row["bundle_id"] for row in rows.values() if any(row[name] is None for name in videos_.PLACE)} - {None}
    homes = past.bundles(sorted(homeless))
    placed: dict[str, Row] = {}
    for name, row in rows.items():
        home = homes.get(row["bundle_id"], {})
        place = {key: row[key] if row[key] is not None else home.get(key) for key in videos_.PLACE}
        placed[name] = {**row, **place}
    return placed


def _video_counts(past: Past, bundle_ids: list[str]) -> defaultdict[str, dict[str, int]]:
    counts: defaultdict[str, dict[str, int]] = defaultdict(dict)
    rows = [row for row in _of_bundles(past, bundle_ids) if row["merged_into"] is None]
    for row in sorted(rows, key=lambda row: str(row["state"])):
        of_bundle = counts[row["bundle_id"]]
        of_bundle[row["state"]] = of_bundle.get(row["state"], 0) + 1
    return counts


def _of_bundles(past: Past, bundle_ids: list[str]) -> Iterator[Row]:
    wanted = set(bundle_ids)
    names = sorted(past.videos_of(wanted))
    for start in range(0, len(names), SEARCHED):
        yield from (r for r in past.videos(names[start : start + SEARCHED]).values() if r["bundle_id"] in wanted)
