"""A read model made of the whole log at once: its rows folded aggregate by aggregate and written in bulk.

What a row says is computed by the very functions with which the live read model follows; only the ways there differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import sqlalchemy as sa

from orchestrator.database import Database
from orchestrator.database.tables import events
from orchestrator.domain.bundle import Bundle, take
from orchestrator.domain.facts import Note
from orchestrator.domain.times import iso
from orchestrator.domain.video import Video
from orchestrator.log import Stored, note, policies_text, recorded_at, step
from orchestrator.policies.schema import parse
from projections import bundles, campaigns, carriers, decisions, memo, videos
from projections.copies import Tables
from projections.lives import PAGE, Part, count, lives
from projections.rows import UnreadableError
from projections.tables import Load, select_by

COUNTED = "SlotsCounted"
STRETCH = 200_000
"""Positions of the log that are searched for decisions at a time."""
DECISIONS = 5_000
SHARED = 500
"""Accounts with several bundles that are looked at together."""

KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    bundles.NAME: ("account", "bundle"),
    videos.NAME: ("video",),
    campaigns.NAME: ("campaign",),
}
"""The kinds of aggregates whose events a read model is made of; of decisions, all of them."""

Rows = Mapping[str, Sequence[Sequence[Any]]]
T = TypeVar("T")


class Filling:
    """Makes rows from the log of `source` up to the position `until`, in empty `tables` of `target`.

    `written` is called in the transaction of each write with the number of events that it took, and `pause` between
    two of them.
    """

    def __init__(
        self,
        source: Database,
        target: Database,
        tables: Tables,
        until: int,
        *,
        written: Callable[[sa.Connection, int], None] = lambda connection, done: None,
        pause: Callable[[], None] = lambda: None,
        page: int = PAGE,
    ) -> None:
        self._source, self._target, self._tables, self._until = source, target, tables, until
        self._written, self._pause, self._page = written, pause, page
        self._loads = {name: Load(table) for name, table in tables.items()}

    def total(self, names: Iterable[str]) -> int:
        """How many events are read for these read models, nearly."""
        with self._source.read() as connection:
            return sum(
                self._until if name == decisions.NAME else sum(count(connection, kind) for kind in KINDS[name])
                for name in names
            )

    def fill(self, name: str) -> None:
        """Raises `UnreadableError`."""
        makers = {
            bundles.NAME: self._bundles,
            videos.NAME: self._videos,
            campaigns.NAME: self._campaigns,
            decisions.NAME: self._decisions,
        }
        makers[name]()

    def _write(self, rows: Rows, done: int) -> None:
        with self._target.write() as connection:
            for name, values in rows.items():
                self._loads[name].execute(connection, values)
            self._written(connection, done)
        self._pause()

    def _lives(self, kind: str) -> Iterator[list[Part]]:
        return lives(self._source, kind, self._until, self._page)

    # Bundles.

    def _bundles(self) -> None:
        with self._source.read() as connection:
            in_force = parse(policies_text(connection, self._until) or "")
        self._accounts()
        name, row = "", bundles.Row("")
        for page in self._lives("bundle"):
            done: list[tuple[str, bundles.Row]] = []
            for part in page:
                if part.originator_id != name:
                    if name:
                        done.append((name, row))
                    name, row = part.originator_id, bundles.Row("")
                    self._check_birth(part, Bundle.BundleRegistered.TOPIC)
                self._fold(part, _into_bundle, row)
            self._write(self._of_bundles(done, in_force), sum(len(part.topics) for part in page))
        if name:
            self._write(self._of_bundles([(name, row)], in_force), 0)
        self._relatives(in_force)

    def _accounts(self) -> None:
        name, notes = "", list[Note]()
        for page in self._lives("account"):
            done = []
            for part in page:
                if part.originator_id != name:
                    done.append((name, notes))
                    name, notes = part.originator_id, []
                self._fold(part, _into_notes, notes)
            self._write({"accounts": _of_accounts(done)}, sum(len(part.topics) for part in page))
        self._write({"accounts": _of_accounts([(name, notes)])}, 0)

    def _of_bundles(self, done: Sequence[tuple[str, bundles.Row]], in_force: Any) -> Rows:
        """The rows of bundles that share their accounts with nobody, as far as is known by now."""
        for _, row in done:
            row.linked = {fact.account for fact in row.notes if fact.account is not None}
        wanted = sorted({account for _, row in done for account in row.linked})
        columns = ["saved_account_id", "memo"]
        table = self._tables["accounts"]
        told = {account: memo.decode(packed)[0] for account, packed in self._known(table, columns, wanted)}
        rows, links = [], []
        for key, row in done:
            name = key.partition(":")[2]
            view = bundles.view_of(row, (), {account: told.get(account, ()) for account in row.linked})
            postable = bundles.is_postable(view, in_force)
            rows.append(bundles.values_of(name, row, view, in_force.group_of(name), postable))
            links += [(account, name) for account in row.linked]
        return {"bundles": rows, "bundle_accounts": sorted(links)}

    def _known(self, table: sa.Table, columns: Sequence[str], wanted: Sequence[str]) -> list[Any]:
        return select_by(self._target, table, columns, columns[0], wanted)

    def _relatives(self, in_force: Any) -> None:
        """Shows anew the bundles that have an account with others: what was reported of one speaks for all."""
        links = self._tables["bundle_accounts"].c
        shared = sa.select(links.saved_account_id).group_by(links.saved_account_id).having(sa.func.count() > 1)
        shared = shared.order_by(links.saved_account_id).limit(SHARED)
        models = bundles.Bundles(self._target, self._tables, self._source)
        last = ""
        while True:
            with self._target.read() as connection:
                found = connection.execute(shared.where(links.saved_account_id > last)).scalars().all()
            if not found:
                return
            last = found[-1]
            rows = select_by(
                self._target, self._tables["bundle_accounts"], ["bundle_id"], "saved_account_id", list(found)
            )
            models.refresh(sorted({bundle_id for (bundle_id,) in rows}), in_force)
            with self._target.write() as connection:
                models.write(connection)
                self._written(connection, 0)
            models.trim()
            self._pause()

    # Videos.

    def _videos(self) -> None:
        name, row = "", _Video()
        for page in self._lives("video"):
            done = []
            for part in page:
                if part.originator_id != name:
                    done.append((name, row))
                    name, row = part.originator_id, _Video()
                    self._check_birth(part, Video.VideoRegistered.TOPIC)
                self._fold(part, _into_video, row)
            self._write(_of_videos(done), sum(len(part.topics) for part in page))
        self._write(_of_videos([(name, row)]), 0)

    # Campaigns and decisions.

    def _campaigns(self) -> None:
        models = campaigns.Campaigns(self._target, self._tables)
        for page in self._lives("campaign"):
            models.prepare([Stored(0, p.originator_id, 0, *told) for p in page for told in zip(*p[1:], strict=True)])
            with self._target.write() as connection:
                models.write(connection)
                self._written(connection, sum(len(part.topics) for part in page))
            self._pause()

    def _decisions(self) -> None:
        position = events.c.notification_id
        query = sa.select(events).where(events.c.topic.in_(sorted(decisions.KINDS))).order_by(position).limit(DECISIONS)
        last = 0
        while last < self._until:
            end = min(last + STRETCH, self._until)
            with self._source.read() as connection:
                found = [Stored(*row) for row in connection.execute(query.where(position > last, position <= end))]
            reached = found[-1].position if len(found) == DECISIONS else end
            self._write({"decisions": [self._decision(event) for event in found]}, reached - last)
            last = reached

    def _decision(self, event: Stored) -> tuple[Any, ...]:
        try:
            return decisions.values_of(event)
        except Exception as error:
            raise UnreadableError(event.position, event.topic, error) from error

    # One event.

    def _check_birth(self, part: Part, birth: str) -> None:
        if part.topics[0] != birth:
            raise self._named(part, 0, LookupError(f"{part.originator_id} has no {birth}"))

    def _fold(self, part: Part, into: Callable[[T, Sequence[str], Sequence[bytes]], None], row: T) -> None:
        if len(part.topics) != len(part.states):
            raise UnreadableError(None, part.topics[0], ValueError(f"a line end in an event of {part.originator_id}"))
        try:
            into(row, part.topics, part.states)
        except Exception as error:
            for number, (topic, state) in enumerate(zip(part.topics, part.states, strict=True)):
                try:
                    into(row, [topic], [state])
                except Exception as found:
                    raise self._named(part, number, found) from error
            raise

    def _named(self, part: Part, number: int, error: Exception) -> UnreadableError:
        """The error with the position of the event, which is looked up only now."""
        query = sa.select(events.c.notification_id).where(
            events.c.originator_id == part.originator_id,
            events.c.topic == part.topics[number],
            events.c.state == part.states[number],
        )
        with self._source.read() as connection:
            position = connection.execute(query.order_by(events.c.notification_id).limit(1)).scalar()
        return UnreadableError(position, part.topics[number], error)


def _into_bundle(row: bundles.Row, topics: Sequence[str], states: Sequence[bytes]) -> None:
    notes = row.notes
    last_count = len(topics) - 1 - topics[::-1].index(COUNTED) if COUNTED in topics else 0
    for number, (topic, state) in enumerate(zip(topics, states, strict=True)):
        fact = note(topic, state)
        if fact is not None:
            notes.append(fact)
        elif topic == COUNTED and number < last_count:
            continue  # Only the newest is ever remembered.
        elif topic in bundles.STEPS and (taken := step(topic, state)) is not None:
            take(row.steps, taken)
        elif topic == Bundle.BundleRegistered.TOPIC:
            row.first_seen = iso(recorded_at(state))


def _into_notes(notes: list[Note], topics: Sequence[str], states: Sequence[bytes]) -> None:
    notes += [fact for fact in map(note, topics, states) if fact is not None]


def _of_accounts(done: Iterable[tuple[str, Sequence[Note]]]) -> list[tuple[str, bytes]]:
    return [(name.partition(":")[2], memo.encode(notes)) for name, notes in done if notes]


@dataclass(slots=True)
class _Video:
    row: videos.Row = field(default_factory=videos.Row)
    carried: set[str] = field(default_factory=set)
    """The bundles that were named with it."""


def _into_video(video: _Video, topics: Sequence[str], states: Sequence[bytes]) -> None:
    for topic, state in zip(topics, states, strict=True):
        video.carried |= carriers.bundles_of(topic, state)
        for part in videos.parts_of(topic, state):
            videos.take(video.row, part)


def _of_videos(done: Iterable[tuple[str, _Video]]) -> Rows:
    rows, pairs = [], []
    for key, video in done:
        if name := key.partition(":")[2]:
            rows.append(videos.values_known(name, video.row))
            pairs += [(bundle_id, name) for bundle_id in video.carried]
    return {"videos": rows, "bundle_videos": sorted(pairs)}
