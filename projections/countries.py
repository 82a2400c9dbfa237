"""The projection `countries`: counts by country and platform, moved along with every change of a bundle or video."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from orchestrator.database import Database
from orchestrator.database.tables import countries, events, videos
from orchestrator.domain.decisions import BreakerOpened, MarketPaused, MarketResumed
from orchestrator.log import Stored
from projections import bundles as bundles_
from projections import videos as videos_
from projections.copies import Tables
from projections.rows import Changes, UnreadableError
from projections.tables import Upsert

NAME = "countries"
VERSION = 1
"""To be raised with every change of what a row says of the same log: the rows are then made anew."""
BUNDLES = "bundles"
POSTABLE = "postable"
VIDEOS = "videos"
BREAKER = "breaker"
OPEN = "open"
PAUSED = "paused"
Key = tuple[str, str, str, str]
"""Country, platform, subject and state."""

GATES = {BreakerOpened.TOPIC, MarketPaused.TOPIC, MarketResumed.TOPIC}

_add = Upsert(countries, adding="count")


class _Told(msgspec.Struct):
    country: str
    platform: str


class _Event(msgspec.Struct):
    data: _Told


_decode = msgspec.json.Decoder(_Event).decode


class Countries:
    """Counts what the batch changed. A video counts where its bundle is, which may be learnt after the video."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._pending: list[tuple[str, str, str, str, int]] = []

    def prepare(
        self,
        page: Sequence[Stored],
        bundle_changes: Changes[bundles_.Standing],
        video_changes: Changes[videos_.Standing],
        bundles: bundles_.Bundles,
    ) -> None:
        deltas: defaultdict[Key, int] = defaultdict(int)
        deltas |= self._gates(page)
        moved: dict[str, tuple[tuple[str, str], tuple[str, str]]] = {}
        for name, (before, after) in bundle_changes.items():
            if before == after:
                continue
            for standing, sign in ((before, -1), (after, 1)):
                if standing is not None:
                    deltas[*standing.place, BUNDLES, standing.state] += sign
                    deltas[*standing.place, POSTABLE, ""] += sign * standing.postable
            if before is not None and after is not None and before.place != after.place:
                moved[name] = (before.place, after.place)
        if moved:
            with self._database.read() as connection:
                counted = connection.execute(
                    sa.select(videos.c.bundle_id, videos.c.state, sa.func.count())
                    .where(
                        videos.c.bundle_id.in_(list(moved)),
                        videos.c.campaign_id.is_(None),
                        videos.c.merged_into.is_(None),
                    )
                    .group_by(videos.c.bundle_id, videos.c.state)
                ).all()
            for name, state, count in counted:
                before_place, after_place = moved[name]
                deltas[*before_place, VIDEOS, state] -= count
                deltas[*after_place, VIDEOS, state] += count
        changed = [
            (standing, sign)
            for before, after in video_changes.values()
            if before != after
            for standing, sign in ((before, -1), (after, 1))
            if standing is not None
        ]
        places = bundles.places({s.bundle_id for s, _ in changed if s.bundle_id is not None})
        for video, sign in changed:
            place = video.place or places.get(video.bundle_id or "", ("", ""))
            deltas[*place, VIDEOS, video.state] += sign
        self._pending = [(*key, count) for key, count in sorted(deltas.items()) if count]

    def _gates(self, page: Sequence[Stored]) -> dict[Key, int]:
        """The breakers and pauses that the page opened or ended, as changes of their counts, which are 0 or 1."""
        now = _standing_gates((event.topic, event.state) for event in page if event.topic in GATES)
        if not now:
            return {}
        with self._database.read() as connection:
            rows = connection.execute(sa.select(countries).where(countries.c.subject.in_([BREAKER, PAUSED])))
            before = {row[:4]: int(row[4]) for row in rows}
        return {gate: count - before.get(gate, 0) for gate, count in now.items()}

    def write(self, connection: sa.Connection) -> None:
        _add.execute(connection, self._pending)
        if any(count < 0 for *_, count in self._pending):
            connection.execute(countries.delete().where(countries.c.count == 0))


def _standing_gates(told: Iterable[tuple[str, bytes]]) -> dict[Key, int]:
    """How the breakers and pauses stand that these events were about, which are in the order of the log."""
    now: dict[Key, int] = {}
    for topic, state in told:
        market = _decode(state).data
        breaker, pause = (market.country, market.platform, BREAKER, OPEN), (market.country, market.platform, PAUSED, "")
        if topic == BreakerOpened.TOPIC:
            now[breaker] = 1
        elif topic == MarketPaused.TOPIC:
            now[pause] = 1
        else:
            now[breaker] = now[pause] = 0
    return now


def count_anew(log: sa.Connection, rows: sa.Connection, tables: Tables, position: int) -> list[tuple[object, ...]]:
    """The rows of `countries`, by the log and by the `tables` of bundles and videos that both stand at `position`."""
    counts: defaultdict[Key, int] = defaultdict(int)
    bundles, videos = tables["bundles"].c, tables["videos"].c
    place = [sa.func.coalesce(bundles[name], "") for name in ("country", "platform")]
    is_postable = sa.func.sum(sa.case((bundles.postable, 1), else_=0))
    by_state = sa.select(*place, bundles.state, sa.func.count(), is_postable).group_by(*place, bundles.state)
    found: Any = rows.execute(by_state)
    for country, platform, state, count, postable in found:
        counts[country, platform, BUNDLES, state] += count
        counts[country, platform, POSTABLE, ""] += int(postable)
    wished = [sa.func.coalesce(videos[name], "") for name in ("country", "platform")]
    where = [
        sa.case((videos.campaign_id.is_not(None), wish), else_=sa.func.coalesce(of_bundle, ""))
        for wish, of_bundle in zip(wished, place, strict=True)
    ]
    joined = tables["videos"].outerjoin(tables["bundles"], videos.bundle_id == bundles.bundle_id)
    query = sa.select(*where, videos.state, sa.func.count()).select_from(joined).where(videos.merged_into.is_(None))
    found = rows.execute(query.group_by(*(sa.literal_column(number) for number in ("1", "2", "3"))))
    for country, platform, state, count in found:
        counts[country, platform, VIDEOS, state] += count
    gates = sa.select(events.c.notification_id, events.c.topic, events.c.state).where(
        events.c.originator_id > "market:",
        events.c.originator_id < "market;",
        events.c.topic.in_(sorted(GATES)),
        events.c.notification_id <= position,
    )
    for at, topic, state in log.execute(gates.order_by(events.c.notification_id)):
        try:
            counts |= _standing_gates([(topic, bytes(state))])
        except msgspec.MsgspecError as error:
            raise UnreadableError(at, topic, error) from error
    return [(*key, count) for key, count in sorted(counts.items()) if count]


def replace(connection: sa.Connection, rows: Sequence[Sequence[object]]) -> None:
    """Puts these rows in the place of all others."""
    connection.execute(countries.delete())
    _add.execute(connection, rows)
