"""Verifies the log in a database, from end to end in pages: however long it is, little of it is in memory."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from orchestrator.audit.auditor import Auditor
from orchestrator.audit.checkpoints import Checkpoint, Outside, stored
from orchestrator.audit.findings import Finding, Report
from orchestrator.audit.keys import PublicKey
from orchestrator.database import Database, read_ahead
from orchestrator.log import recorded_at
from orchestrator.log.chain import BACKLOG, COLUMNS, MESSAGE_COLUMNS, OUTCOME_COLUMNS, Chain, Link, Outcome

PAGE: Final = 4_000
"""Messages, and events, that are read at once; a batch with more is read whole."""
LINKS: Final = 500
"""Rows of the chain that are read at once."""
MOST_ORPHANS: Final = 20
IN_DATABASE: Final = "in the database"
OUTSIDE: Final = "outside the database"

Progress = Callable[[int, int], None]
"""Told how many positions were looked at, and how many there are."""

MESSAGES: Final = (
    f"SELECT marks.applied_seq, marks.seq, {MESSAGE_COLUMNS}, {OUTCOME_COLUMNS}, "
    "CASE WHEN marks.dialect = coalesce(journal.dialect, '') AND marks.event_id = coalesce(journal.event_id, '') "
    "AND marks.claim IN (0, marks.seq) THEN 1 ELSE 0 END "
    "FROM marks LEFT JOIN journal USING (seq) WHERE marks.applied_seq BETWEEN ? AND ? ORDER BY marks.applied_seq"
)
STATE_AT: Final = "SELECT state FROM events WHERE notification_id >= ? ORDER BY notification_id"
REPLACED: Final = (
    "SELECT replaced_marks.batch, replaced_marks.number, replaced_marks.seq, replaced_marks.status, "
    "replaced_marks.reason, replaced_marks.first_position, replaced_marks.events, replaced_marks.claims "
    "FROM replaced_marks"
)


class Batch(NamedTuple):
    """A row of the chain, and what is there of what it covers. A checkpoint, where one was made of it."""

    link: Link
    sections: Mapping[str, Sequence[Any]]
    checkpoints: Sequence[Checkpoint]


class Page(NamedTuple):
    """What is read at once, for some batches."""

    links: Sequence[Link]
    messages: Sequence[Any]
    events: Sequence[Any]
    retried: Mapping[int, Sequence[Any]]
    checkpoints: Sequence[Checkpoint]


class Reader:
    """Reads batches from one moment of the database."""

    def __init__(self, database: Database, connection: sa.Connection) -> None:
        self.connection = connection
        self.chain = Chain(database)
        self._is_sqlite = database.is_sqlite
        self._has_replaced = bool(self.rows("SELECT 1 FROM replaced_marks LIMIT 1"))
        self.inconsistent: list[int] = []
        """Messages, by `applied_seq`, whose mark says something else of their identity than the journal."""
        self.unreadable: list[str] = []
        """Batches whose row is none any more."""

    def rows(self, statement: str, *parameters: Any) -> list[Any]:
        return self.chain.rows(self.connection, statement, parameters)

    def ends(self) -> tuple[int, int]:
        """The last position and the last message of the log."""
        ((position, applied),) = self.rows(
            "SELECT (SELECT coalesce(max(notification_id), 0) FROM events), "
            "(SELECT coalesce(max(applied_seq), 0) FROM marks)"
        )
        return position, applied

    def links(self, first: int) -> Iterator[Link]:
        """The chain from batch `first` on."""
        while rows := self.rows(f"SELECT {COLUMNS} FROM chain WHERE batch >= ? ORDER BY batch LIMIT {LINKS}", first):
            for row in rows:
                # SQLite keeps whatever it is given.
                if all(type(value) is int for value in (row[0], *row[2:6])) and type(row[6]) is type(row[7]) is bytes:
                    yield Link(*row)
                else:
                    self.unreadable.append(str(row[0]))
            if type(rows[-1][0]) is not int:
                return
            first = rows[-1][0] + 1

    def link_of(self, position: int) -> Link | None:
        """The batch that the event at `position` is in, or the last one before it that has events."""
        rows = self.rows("SELECT coalesce(min(batch), 1), coalesce(max(batch), 0) FROM chain")
        low, high = rows[0]
        found = None
        while low <= high:
            middle = (low + high) // 2
            rows = self.rows(f"SELECT {COLUMNS} FROM chain WHERE batch >= ? ORDER BY batch LIMIT 1", middle)
            if not rows:
                high = middle - 1
                continue
            link = Link(*rows[0])
            if link.last_position >= position:
                found, high = link, middle - 1
            else:
                low = link.batch + 1
        return found

    def position_at(self, moment: datetime, *, before: bool = False) -> int:
        """The last position that was recorded by then, or before; 0 if there is none."""
        low, high = 0, self.ends()[0]
        while low < high:
            middle = (low + high + 1) // 2
            rows = self.rows(
                "SELECT state FROM events WHERE notification_id >= ? ORDER BY notification_id LIMIT 1", middle
            )
            at = recorded_at(rows[0][0]) if rows else None
            is_in = at is not None and (at < moment or (at == moment and not before))
            low, high = (middle, high) if is_in else (low, middle - 1)
        return low

    def messages(self, first: int, last: int) -> list[Any]:
        """With what became of each at first, and not when it was applied again."""
        rows = self.rows(MESSAGES, first, last)
        self.inconsistent += [row[0] for row in rows if not row[-1] and row[2] is not None]
        items = [row[:-1] for row in rows]
        if self._has_replaced:
            found = self.rows(
                f"{REPLACED} JOIN marks USING (seq) WHERE marks.applied_seq BETWEEN ? AND ? "
                "ORDER BY replaced_marks.batch DESC, replaced_marks.number DESC",
                first,
                last,
            )
            originals = {row[2]: tuple(row[3:]) for row in found}
            items = [(*item[:-5], *originals[item[1]]) if item[1] in originals else item for item in items]
        return items

    def retried(self, first: int, last: int) -> dict[int, list[Any]]:
        """By batch, what was applied again in it."""
        found: dict[int, list[Any]] = {}
        if not self._has_replaced:
            return found
        for batch, number, seq, *old in self.rows(
            f"{REPLACED} WHERE batch BETWEEN ? AND ? ORDER BY batch, number", first, last
        ):
            later = self.rows(
                f"{REPLACED} WHERE seq = ? AND (batch > ? OR (batch = ? AND number > ?)) "
                "ORDER BY batch, number LIMIT 1",
                seq,
                batch,
                batch,
                number,
            )
            if not later:
                later = self.rows(f"SELECT 0, 0, 0, {OUTCOME_COLUMNS} FROM marks WHERE seq = ?", seq)
            new = Outcome(*later[0][3:]) if later else Outcome("", None, 0, 0, 0)
            found.setdefault(batch, []).append((number, seq, Outcome(*old), new))
        return found

    def batches(self, first: int, until: int | None = None) -> Generator[Batch]:
        """From batch `first` on, up to the one that has the event at `until`. To be closed if it is left early."""
        pages = self._pages(first, until)
        for page in pages if self._is_sqlite else read_ahead(pages):
            taken = _Cut(page.messages), _Cut(page.events)
            checkpoints = {one.batch: one for one in page.checkpoints}
            for link in page.links:
                sections = {
                    "message": taken[0].cut(link.first_applied, link.last_applied),
                    "retried": page.retried.get(link.batch, []),
                    "event": taken[1].cut(link.first_position, link.last_position),
                }
                one = checkpoints.get(link.batch)
                yield Batch(link, sections, [one] if one is not None else [])

    def _pages(self, first: int, until: int | None) -> Iterator[Page]:
        links: list[Link] = []
        for link in self.links(first):
            links.append(link)
            is_last = until is not None and link.last_position >= until
            start = links[0]
            rows = max(link.last_position - start.first_position, link.last_applied - start.first_applied)
            if is_last or rows >= PAGE or len(links) >= LINKS:
                yield self._page(links)
                links = []
            if is_last:
                return
        if links:
            yield self._page(links)

    def _page(self, links: list[Link]) -> Page:
        # The least and the greatest, since a tampered chain may say anything.
        return Page(
            links,
            self.messages(min(link.first_applied for link in links), max(link.last_applied for link in links)),
            self.chain.events(
                self.connection,
                min(link.first_position for link in links),
                max(link.last_position for link in links),
            ),
            self.retried(links[0].batch, links[-1].batch),
            stored(self.connection, links[0].batch, links[-1].batch),
        )


class _Cut:
    """Cuts rows, which are ordered by their numbers, in pieces."""

    def __init__(self, rows: Sequence[Any]) -> None:
        self._rows = rows
        self._start = rows[0][0] if rows else 0
        self._has_gaps = bool(rows) and rows[-1][0] - rows[0][0] + 1 != len(rows)

    def cut(self, first: int, last: int) -> Sequence[Any]:
        if self._has_gaps:
            return [row for row in self._rows if first <= row[0] <= last]
        return self._rows[max(first - self._start, 0) : max(last - self._start + 1, 0)]


def verify(
    database: Database,
    keys: Sequence[PublicKey],
    outside: Outside | None = None,
    *,
    first: int | None = None,
    until: int | None = None,
    progress: Progress | None = None,
) -> Report:
    """Everything in the log; or the batches with the positions from `first` to `until`.

    `outside`: where checkpoints are kept beside the database, if they are at hand.
    """
    report = Report()
    with database.read() as connection:
        reader = Reader(database, connection)
        auditor = Auditor(report, keys)
        begin = 1
        if first is not None and first > 1 and (link := reader.link_of(first)) is not None:
            begin = link.batch
            before = reader.rows("SELECT digest FROM chain WHERE batch = ?", begin - 1)
            auditor.begin(begin - 1, before[0][0] if before else None)
        beside = _Beside(auditor, outside if until is None and begin == 1 else None)
        head, applied = reader.ends()
        last: Link | None = None
        with closing(reader.batches(begin, until)) as batches:
            for link, sections, checkpoints in batches:
                auditor.batch(link, sections)
                for one in checkpoints:
                    auditor.checkpoint(one, IN_DATABASE, link)
                beside.upto(link)
                if progress is not None:
                    progress(link.last_position, head if until is None else min(until, head))
                last = link
        if until is None:
            _without_batch(reader, auditor)
            beside.rest()
            _ends(reader, report, last, head, applied)
            if begin == 1:
                _orphans(reader, report)
        for batch in reader.unreadable:
            report.add(Finding("changed", "batch", f"the row of batch {batch} in the chain cannot be read"))
        for number in reader.inconsistent:
            text = f"the mark of message {number} says something else of its identity than the journal"
            report.add(Finding("changed", "message", text, message=number))
        _notes(reader, report, last)
    return report


def _ends(reader: Reader, report: Report, last: Link | None, head: int, applied: int) -> None:
    """What stands behind the end of the chain, where nothing covers it, and before its beginning."""
    end = (last.last_position, last.last_applied) if last is not None else (0, 0)
    if last is None and head:
        text = "the log is not chained: the engine of this version does that when it starts"
        report.add(Finding("chain", "batch", text, position=1))
        return
    if head > end[0]:
        text = f"events {end[0] + 1} to {head} are in no batch of the chain"
        report.add(Finding("inserted", "event", text, position=end[0] + 1))
    if applied > end[1]:
        text = f"messages {end[1] + 1} to {applied} are in no batch of the chain"
        report.add(Finding("inserted", "message", text, message=end[1] + 1))
    for name, column, what in (("events", "notification_id", "event"), ("marks", "applied_seq", "message")):
        for (number,) in reader.rows(f"SELECT {column} FROM {name} WHERE {column} < 1 LIMIT {MOST_ORPHANS}"):
            report.add(Finding("inserted", what, f"{what} {number} stands before the beginning"))


def _orphans(reader: Reader, report: Report) -> None:
    """Rows of the journal that nobody will take, and places of the queue without a message."""
    for (seq,) in reader.rows(
        "SELECT seq FROM journal WHERE NOT EXISTS (SELECT 1 FROM marks WHERE marks.seq = journal.seq) "
        f"AND NOT EXISTS (SELECT 1 FROM inbox WHERE inbox.seq = journal.seq) ORDER BY seq LIMIT {MOST_ORPHANS}"
    ):
        text = f"the message with the number {seq} in the journal was neither taken nor does it wait"
        report.add(Finding("inserted", "journal", text, seq=seq))
    for (seq,) in reader.rows(
        "SELECT seq FROM inbox WHERE NOT EXISTS (SELECT 1 FROM journal WHERE journal.seq = inbox.seq) "
        f"ORDER BY seq LIMIT {MOST_ORPHANS}"
    ):
        text = f"the message with the number {seq} in the journal is gone while it waited to be taken"
        report.add(Finding("removed", "journal", text, seq=seq))


def _notes(reader: Reader, report: Report, last: Link | None) -> None:
    rows = reader.rows(f"SELECT max(last_position) FROM chain WHERE kind = '{BACKLOG}'")
    if rows[0][0] is not None:
        report.notes.append(
            f"up to position {rows[0][0]} the log was chained after it was written, by the first start of a version "
            "that does so"
        )
    if report.position > report.signed_position:
        report.notes.append(
            f"events {report.signed_position + 1} to {report.position} are chained, and not signed yet"
            if report.signed_position
            else "nothing is signed yet: the first checkpoint is made within a minute of the first commit"
        )


def _without_batch(reader: Reader, auditor: Auditor) -> None:
    """The checkpoints in the database of batches that are not there."""
    for (batch,) in reader.rows(
        "SELECT batch FROM checkpoints WHERE NOT EXISTS (SELECT 1 FROM chain WHERE chain.batch = checkpoints.batch) "
        f"ORDER BY batch LIMIT {MOST_ORPHANS}"
    ):
        for one in stored(reader.connection, batch, batch):
            auditor.checkpoint(one, IN_DATABASE, None)


class _Beside:
    """Holds the checkpoints outside against the batches as they go by."""

    def __init__(self, auditor: Auditor, outside: Outside | None) -> None:
        self._auditor = auditor
        self._checkpoints = self._read(outside) if outside is not None else iter(())
        self._next = next(self._checkpoints, None)

    def upto(self, link: Link) -> None:
        """The batch was looked at."""
        while self._next is not None and self._next.batch <= link.batch:
            self._auditor.checkpoint(self._next, OUTSIDE, link if self._next.batch == link.batch else None)
            self._next = next(self._checkpoints, None)

    def rest(self) -> None:
        """Those of batches that are not there."""
        while self._next is not None:
            self._auditor.checkpoint(self._next, OUTSIDE, None)
            self._next = next(self._checkpoints, None)

    def _read(self, outside: Outside) -> Iterator[Checkpoint]:
        """The checkpoints outside that still count, by batch."""
        report = self._auditor.report
        restorations = [
            (number, one) for number, one in outside.read() if one is not None and one.lost_after is not None
        ]
        lost = 0
        last: Checkpoint | None = None
        for number, one in outside.read():
            if one is None:
                text = f"line {number} of {outside.log} cannot be read"
                report.add(Finding("unreadable", "file", text))
                continue
            if any(later > number and one.batch > (by.lost_after or 0) for later, by in restorations):
                lost += 1
                continue
            last = one
            yield one
        try:
            head = outside.head()
        except ValueError:
            head = None
            report.add(Finding("unreadable", "file", f"{outside.folder / 'head.json'} cannot be read"))
        if head is not None and head != last:
            if last is None or head.batch > last.batch:
                yield head
            else:
                text = f"the head of {outside.folder} is not the newest of its checkpoints"
                report.add(Finding("changed", "file", text, head.batch, head.position))
        for number, by in restorations:
            report.notes.append(
                f"at {by.at} the database was restored from a backup that ended with batch {by.lost_after}; what came "
                f"after it is lost (line {number} of {outside.log})"
            )
        for aside in outside.aside():
            text = f"{aside} has the checkpoints of a database that is gone: remove the folder if that was on purpose"
            report.add(Finding("cut", "file", text))
