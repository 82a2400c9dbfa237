"""Counts by country and platform."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from orchestrator.api import cursors
from orchestrator.api.queries.capacity import spare
from orchestrator.api.queries.page import Page, page, read_position
from orchestrator.database.tables import countries


def list_countries(connection: sa.Connection, *, now: datetime, limit: int = 50, cursor: str | None = None) -> Page:
    """Every country and platform that has bundles or videos, or is paused. What is not known yet is None (a platform),
    or left out (a country). `now` tells which days are to come."""
    pair = sa.tuple_(countries.c.country, countries.c.platform)
    present = (
        sa.select(countries.c.country, countries.c.platform)
        .where(countries.c.country != "", countries.c.count > 0)
        .distinct()
        .order_by(countries.c.country, countries.c.platform)
        .limit(limit + 1)
    )
    if cursor is not None:
        present = present.where(pair > sa.tuple_(*cursors.decode("countries", cursor, str, str)))
    found = [(row.country, row.platform) for row in connection.execute(present)]
    position = read_position(connection, "countries")
    items = {key: _empty(*key, position) for key in found}
    if found:
        rows = connection.execute(
            sa.select(countries)
            .where(countries.c.count > 0, pair >= sa.tuple_(*found[0]), pair <= sa.tuple_(*found[-1]))
            .order_by(countries.c.subject, countries.c.state)
        )
        for row in rows:
            item = items[(row.country, row.platform)]
            if row.subject == "postable":
                item["postable"] = row.count
            elif row.subject == "breaker":
                item["breaker"] = row.state
            elif row.subject == "paused":
                item["paused"] = True
            elif row.subject in ("bundles", "videos"):
                item[row.subject][row.state] = row.count
    known = [key for key in found if key[1]]
    for key, days in spare(connection, known, position, now).items():
        items[key]["spare"] = days
    return page("countries", found, limit, position, lambda key: items[key], lambda key: key)


def _empty(country: str, platform: str, position: int) -> dict[str, Any]:
    return {
        "country": country,
        "platform": platform or None,
        "bundles": {},
        "postable": 0,
        "spare": {},
        "videos": {},
        "breaker": "closed",
        "paused": False,
        "position": position,
    }
