"""The projection `countries`: counts by country and platform, moved along with every change of a bundle or video."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import msgspec
import sqlalchemy as sa

from orchestrator.database import Database
from orchestrator.database.tables import countries, videos
from orchestrator.domain.decisions import BreakerOpened, MarketPaused, MarketResumed
from orchestrator.log import Stored
from projections import bundles as bundles_
from projections import videos as videos_
from projections.rows import Changes
from projections.tables import Upsert

NAME = "countries"
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
        now: dict[Key, int] = {}
        for event in page:
            if event.topic not in GATES:
                continue
            told = _decode(event.state).data
            breaker, pause = (told.country, told.platform, BREAKER, OPEN), (told.country, told.platform, PAUSED, "")
            if event.topic == BreakerOpened.TOPIC:
                now[breaker] = 1
            elif event.topic == MarketPaused.TOPIC:
                now[pause] = 1
            else:
                now[breaker] = now[pause] = 0
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
