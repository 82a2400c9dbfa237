"""Bundles and videos as they were at a position of the log: the rows that the read models had when they stood there,
made again from the events that they follow from.

The read models' own folds are used, so that what was answered then is answered again. Only the events of what is asked
for are read, and of what speaks for it: the accounts of a bundle, and the other bundles that ever named them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from orchestrator.api.queries.page import read_position
from orchestrator.database.tables import OUTCOMES, accounts, bundle_accounts, bundle_videos, bundles, events, videos
from orchestrator.domain.bundle import Account, Bundle
from orchestrator.domain.decisions import FactsReleased
from orchestrator.domain.facts import Note, VideoPosted
from orchestrator.domain.video import Video
from orchestrator.log import Stored, note, policies_text
from orchestrator.policies.schema import Policies, parse
from projections import bundles as bundles_
from projections import videos as videos_
from projections.carriers import bundles_of

PART = 5_000
"""Names in one query: SQLite takes 32,766 parameters."""
SELECT = "SELECT notification_id, originator_id, originator_version, topic, state FROM events WHERE originator_id"
UNTIL = "AND notification_id <="
ORDER = "ORDER BY originator_id, originator_version"
KEYS: Mapping[str, Callable[[str], str]] = {"bundle": Bundle.key, "video": Video.key}

Row = Mapping[str, Any]
"""A row of a read model, by its columns."""

_policies = lru_cache(maxsize=8)(parse)


class Past:
    """What the log said when it ended at `position`. What was read once is kept: one `Past` answers one question."""

    def __init__(self, connection: sa.Connection, position: int) -> None:
        self.position = position
        self._connection = connection
        self._bundles: dict[str, bundles_.Row | None] = {}
        self._accounts: dict[str, list[Note]] = {}
        self._links: dict[str, set[str]] = {}
        self._tail: list[Stored] | None = None
        self._in_force: Policies | None = None

    def forget(self) -> None:
        """Drops what was read of single bundles: there may be any number of them."""
        self._bundles.clear()
        self._accounts.clear()
        self._links.clear()

    @property
    def in_force(self) -> Policies:
        """The policies of that moment; nothing but defaults where there were none yet."""
        if self._in_force is None:
            self._in_force = _policies(policies_text(self._connection, self.position) or "")
        return self._in_force

    # Which there were.

    def names(self, kind: str, after: str, limit: int, *conditions: sa.ColumnElement[bool]) -> list[str]:
        """The first `limit` bundles, or videos, by their names, of which anything was heard; those that come after
        `after`."""
        query = (
            sa.select(events.c.originator_id)
            .where(
                # The index is that of births: it is found only where this is written out.
                sa.literal_column("events.originator_version = 1"),
                events.c.originator_id > KEYS[kind](after),
                events.c.originator_id < f"{kind};",
                events.c.notification_id <= self.position,
                *conditions,
            )
            .order_by(events.c.originator_id)
            .limit(limit)
        )
        return [name.partition(":")[2] for name in self._connection.execute(query).scalars()]

    def videos_of(self, bundle_ids: Iterable[str]) -> set[str]:
        """Every video that was ever named with one of the bundles; later ones may be among them."""
        wanted = set(bundle_ids)
        found = set(self._column(bundle_videos.c.video_id, bundle_videos.c.bundle_id, wanted))
        for event in self._not_followed():
            if event.originator_id.startswith("video:") and bundles_of(event.topic, event.state) & wanted:
                found.add(event.originator_id.removeprefix("video:"))
        return found

    def videos_by(self, column: sa.Column[Any], value: str) -> set[str]:
        """The videos whose row has this value in a column that never changes once it is set; later ones may be among
        them, and those of which there is no row yet."""
        found = set(self._connection.execute(sa.select(videos.c.video_id).where(column == value)).scalars())
        return found | self._videos_not_followed()

    def bundles_at(self, place: Mapping[str, str], after: str, limit: int) -> list[str]:
        """As `names`, without bundles that can never have been at this place: `country`, `platform` or both."""
        query = sa.select(bundles.c.bundle_id).where(bundles.c.bundle_id > after, *_ever_at(place))
        found = self._connection.execute(query.order_by(bundles.c.bundle_id).limit(limit)).scalars()
        return sorted({*found, *(name for name in self._bundles_not_followed() if name > after)})[:limit]

    def videos_at(self, place: Mapping[str, str], after: str, limit: int) -> list[str]:
        """As `names`, without videos that can never have been at this place."""
        home = bundle_videos.join(bundles, bundles.c.bundle_id == bundle_videos.c.bundle_id)
        strangers = sa.select(bundle_videos.c.video_id).select_from(home).where(*_ever_at(place))
        # Where a campaign wanted it; any other was where one of its bundles was.
        wanted = sa.and_(*(videos.c[name] == value for name, value in place.items()))
        is_stranger = sa.or_(*(videos.c[name].is_(None) for name in place))
        query = sa.select(videos.c.video_id).where(
            videos.c.video_id > after, sa.or_(wanted, sa.and_(is_stranger, videos.c.video_id.in_(strangers)))
        )
        found = self._connection.execute(query.order_by(videos.c.video_id).limit(limit)).scalars()
        late = self._videos_not_followed()
        if moved := self._bundles_not_followed():
            late |= set(self._column(bundle_videos.c.video_id, bundle_videos.c.bundle_id, moved))
        return sorted({*found, *(name for name in late if name > after)})[:limit]

    def bundles_told(self, topics: Sequence[str]) -> set[str]:
        """The bundles that one of these outcomes was told of until then, under any of their names; others that they
        ever shared an account with may be among them."""
        told = self._told(topics)
        found = {name for kind, name in told if kind == "bundle"}
        accounts = {name for kind, name in told if kind == "account"}
        accounts |= set(self._column(bundle_accounts.c.saved_account_id, bundle_accounts.c.bundle_id, found))
        accounts |= {account for name, account in self._links_not_followed() if name in found}
        return found.union(*self._bundles_of(accounts).values())

    def videos_told(self, topics: Sequence[str]) -> set[str]:
        """The videos that one of these outcomes was told of until then."""
        return {name for kind, name in self._told(topics) if kind == "video"}

    def open_videos_told(self, topics: Sequence[str]) -> set[str]:
        """The videos that one of these outcomes was told of until then, and that were not posted."""
        query = self._told_of(topics).where(events.c.originator_id.not_in(self._posted()))
        parted = (key.partition(":") for key in self._connection.execute(query).scalars())
        return {name for kind, _, name in parted if kind == "video"}

    def open_videos(self, after: str, limit: int) -> list[str]:
        """As `names`, of the videos that were not posted."""
        return self.names("video", after, limit, events.c.originator_id.not_in(self._posted()))

    def _posted(self) -> sa.Select[Any]:
        """The keys of videos that were posted, whatever else was told of them: but for a few, which it may turn out to
        have been another video's news."""
        released = self._told_of([FactsReleased.TOPIC])
        return self._told_of([VideoPosted.TOPIC]).where(events.c.originator_id.not_in(released))

    def _told(self, topics: Sequence[str]) -> set[tuple[str, str]]:
        parted = (key.partition(":") for key in self._connection.execute(self._told_of(topics)).scalars())
        return {(kind, name) for kind, _, name in parted}

    def _told_of(self, topics: Sequence[str]) -> sa.Select[Any]:
        """The keys of whatever one of these outcomes was told of until then."""
        return sa.select(events.c.originator_id).where(
            # The index is that of outcomes: it is found only where this is written out.
            sa.literal_column(OUTCOMES),
            events.c.topic.in_(topics),
            events.c.notification_id <= self.position,
        )

    def _bundles_of(self, accounts: Iterable[str]) -> dict[str, set[str]]:
        """By account, the bundles that ever named it; later ones may be among them."""
        missing = {account for account in accounts if account not in self._links}
        if missing:
            self._links |= {account: set() for account in missing}
            columns = (bundle_accounts.c.saved_account_id, bundle_accounts.c.bundle_id)
            for part in _parts(missing):
                for account, name in self._connection.execute(sa.select(*columns).where(columns[0].in_(part))):
                    self._links[account].add(name)
            for name, account in self._links_not_followed():
                if account in missing:
                    self._links[account].add(name)
        return {account: self._links[account] for account in accounts}

    # What they were.

    def bundles(self, bundle_ids: Sequence[str]) -> dict[str, Row]:
        """The rows of those of the bundles of which anything was heard."""
        self._load(bundle_ids)
        known = [name for name in bundle_ids if self._bundles[name] is not None]
        accounts = {account for name in known for account in self._row(name).linked}
        kin = self._bundles_of(accounts)
        self._load({name for names in kin.values() for name in names})
        family = {name for names in kin.values() for name in names if self._bundles[name] is not None} | set(known)
        self._hear({account for name in family for account in self._row(name).linked})
        return {name: self._judge(name, self._row(name), kin) for name in known}

    def videos(self, video_ids: Iterable[str]) -> dict[str, Row]:
        """The rows of those of the videos of which anything was heard. What a stranger turned out to be is in its row,
        as `merged_into`."""
        read = self._read(map(Video.key, video_ids))
        found = {key.removeprefix("video:"): stored for key, stored in read.items() if stored}
        return {
            name: dict(zip(videos.c.keys(), videos_.fold(name, stored), strict=True)) for name, stored in found.items()
        }

    def _row(self, name: str) -> bundles_.Row:
        row = self._bundles[name]
        if row is None:
            raise LookupError(f"there was no bundle {name!r} at position {self.position}")
        return row

    def _load(self, names: Iterable[str]) -> None:
        missing = [name for name in names if name not in self._bundles]
        read = self._read(map(Bundle.key, missing))
        for name in missing:
            self._bundles[name] = bundles_.fold(read[Bundle.key(name)])

    def _hear(self, accounts: Iterable[str]) -> None:
        missing = [account for account in accounts if account not in self._accounts]
        read = self._read(map(Account.key, missing))
        for account in missing:
            facts = (note(event.topic, event.state) for event in read[Account.key(account)])
            self._accounts[account] = [fact for fact in facts if fact is not None]

    def _judge(self, name: str, row: bundles_.Row, kin: Mapping[str, set[str]]) -> Row:
        others = {other for account in row.linked for other in kin[account]} - {name}
        known = (self._bundles[other] for other in sorted(others))
        relatives = [found for found in known if found is not None and found.linked & row.linked]
        view = bundles_.view_of(row, relatives, self._accounts)
        postable = bundles_.is_postable(view, self.in_force)
        values = bundles_.values_of(name, row, view, self.in_force.group_of(name), postable)
        return dict(zip(bundles.c.keys(), values, strict=True))

    # The log.

    def _read(self, keys: Iterable[str]) -> dict[str, list[Stored]]:
        """The events of aggregates until then, each one's in order."""
        wanted = list(keys)
        found: dict[str, list[Stored]] = {key: [] for key in wanted}
        is_sqlite = self._connection.dialect.name == "sqlite"
        # As the driver gives them: there may be very many.
        cursor: Any = self._connection.connection.cursor()
        try:
            for part in _parts(wanted):
                if is_sqlite:
                    cursor.execute(
                        f"{SELECT} IN ({','.join('?' * len(part))}) {UNTIL} ? {ORDER}", (*part, self.position)
                    )
                else:
                    cursor.execute(f"{SELECT} = ANY(%s) {UNTIL} %s {ORDER}", (part, self.position), binary=True)
                for row in cursor.fetchall():
                    found[row[1]].append(Stored(*row))
        finally:
            cursor.close()
        return found

    def _bundles_not_followed(self) -> set[str]:
        """Those that such an event is about, or an account of theirs."""
        named = {event.originator_id.partition(":")[::2] for event in self._not_followed()}
        accounts = self._bundles_of({name for kind, name in named if kind == "account"})
        return {name for kind, name in named if kind == "bundle"}.union(*accounts.values())

    def _videos_not_followed(self) -> set[str]:
        parted = (event.originator_id.partition(":") for event in self._not_followed())
        return {name for kind, _, name in parted if kind == "video"}

    def _links_not_followed(self) -> Iterator[tuple[str, str]]:
        """Bundles, and the accounts that such an event named with them."""
        for event in self._not_followed():
            fact = note(event.topic, event.state) if event.originator_id.startswith("bundle:") else None
            if fact is not None and fact.account is not None:
                yield event.originator_id.removeprefix("bundle:"), fact.account

    def _not_followed(self) -> list[Stored]:
        """The events about bundles, their accounts and videos that the read models have not followed yet, as far as
        they count."""
        if self._tail is None:
            followed = read_position(self._connection, bundles_.NAME, videos_.NAME)
            query = sa.select(events).where(
                events.c.notification_id > followed, events.c.notification_id <= self.position
            )
            rows = self._connection.execute(query) if followed < self.position else ()
            self._tail = [Stored(*row) for row in rows if row[1].startswith(("bundle:", "account:", "video:"))]
        return self._tail

    def _column(self, wanted: sa.Column[Any], key: sa.Column[Any], values: Iterable[str]) -> Iterator[str]:
        for part in _parts(values):
            yield from self._connection.execute(sa.select(wanted).where(key.in_(part))).scalars()


def _ever_at(place: Mapping[str, str]) -> list[sa.ColumnElement[bool]]:
    """That a bundle can ever have been there. Of its own facts none is ever forgotten: where they contradict each
    other, its row says so. Those of an account count for it only as long as the account is its."""
    own = sa.select(1).select_from(
        bundle_accounts.join(accounts, accounts.c.saved_account_id == bundle_accounts.c.saved_account_id)
    )
    is_taught = own.where(bundle_accounts.c.bundle_id == bundles.c.bundle_id).exists()
    return [
        sa.or_(bundles.c[name] == value, bundles.c.flags.contains(f"{name}_contradiction"), is_taught)
        for name, value in place.items()
    ]


def _parts(names: Iterable[str]) -> Iterator[list[str]]:
    every = sorted(names)
    for start in range(0, len(every), PART):
        yield every[start : start + PART]
