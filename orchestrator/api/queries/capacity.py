"""How many more videos accounts could post."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from functools import lru_cache

import sqlalchemy as sa

from orchestrator.database.tables import bundles, videos
from orchestrator.log import policies_text
from orchestrator.policies.placement import Candidate, Ledger, Market
from orchestrator.policies.schema import parse

DAYS = 7
NO_LONGER_BOOKED = ("waiting", "abandoned", "cancelled")

Place = tuple[str, str]
"""Country and platform."""

_parse = lru_cache(maxsize=2)(parse)


def spare(
    connection: sa.Connection, places: Sequence[Place], position: int, now: datetime
) -> dict[Place, dict[str, int]]:
    """How many more videos the postable accounts of each of the `places`, which are in order, could have: by local day,
    from the first one on which a video can be placed. `position` is that of the read models."""
    if not places:
        return {}
    policies = _parse(policies_text(connection, position) or "")
    candidates = _candidates(connection, places)
    markets = {place: Market(*place, candidates[place], policies, Ledger(), now) for place in places}
    leads = {place: timedelta(days=policies.at(*place).posting.lead_existing) for place in places}
    starts = {place: market.today + leads[place] for place, market in markets.items()}
    booked = _booked(connection, min(starts.values()), max(starts.values()) + timedelta(days=DAYS))
    found: dict[Place, dict[str, int]] = {}
    for place, market in markets.items():
        days = [starts[place] + timedelta(days=number) for number in range(DAYS)]
        found[place] = {
            day.isoformat(): _free(market, candidates[place], day, booked) if market.is_posting_day(day) else 0
            for day in days
        }
    return found


def _free(market: Market, candidates: Sequence[Candidate], day: date, booked: dict[tuple[str, str], int]) -> int:
    caps: defaultdict[str, int] = defaultdict(int)
    for candidate in candidates:
        # Bundles of one account share its calendar.
        caps[candidate.account] = max(caps[candidate.account], market.cap(candidate, day))
    return sum(max(0, cap - booked.get((account, day.isoformat()), 0)) for account, cap in caps.items())


def _candidates(connection: sa.Connection, places: Sequence[Place]) -> defaultdict[Place, list[Candidate]]:
    found: defaultdict[Place, list[Candidate]] = defaultdict(list)
    pair = sa.tuple_(bundles.c.country, bundles.c.platform)
    has_slot = sa.or_(bundles.c.slots_free.is_(None), bundles.c.slots_free > 0)
    between = sa.and_(pair >= sa.tuple_(*places[0]), pair <= sa.tuple_(*places[-1]))
    query = sa.select(bundles).where(bundles.c.postable, has_slot, between)
    for row in connection.execute(query):
        found[row.country, row.platform].append(
            Candidate(
                bundle_id=row.bundle_id,
                account=row.saved_account_id or row.bundle_id,
                country=row.country,
                platform=row.platform,
                group=row.group,
                state=row.state,
                warmed=row.warmed,
                warmed_at=datetime.fromisoformat(row.warmed_at) if row.warmed_at is not None else None,
                delivered=True,
                holds=(),
            )
        )
    return found


def _booked(connection: sa.Connection, first: date, last: date) -> dict[tuple[str, str], int]:
    """How many videos each account has on a day."""
    account = sa.func.coalesce(bundles.c.saved_account_id, videos.c.bundle_id)
    query = (
        sa.select(account, videos.c.target_day, sa.func.count())
        .select_from(videos.outerjoin(bundles, videos.c.bundle_id == bundles.c.bundle_id))
        .where(
            videos.c.target_day.between(first.isoformat(), last.isoformat()),
            videos.c.state.not_in(NO_LONGER_BOOKED),
        )
        .group_by(account, videos.c.target_day)
    )
    return {(name, day): count for name, day, count in connection.execute(query)}
