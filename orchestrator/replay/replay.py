"""The journal run again, from its beginning, and every event held against the one that it gave then."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from orchestrator.database import Database
from orchestrator.engine.engine import Batch
from orchestrator.engine.programs import Program, Stretches, this_program
from orchestrator.journal.journal import WORK
from orchestrator.log import Stored
from orchestrator.replay.ahead import Ahead, is_long
from orchestrator.replay.differences import Difference, compare, is_same
from orchestrator.replay.rerun import BATCH, Rerun, quiet
from orchestrator.replay.source import Entry, Source, retried, was_replaced
from projections.carriers import bundles_of

WHEREVER = 2**63
MOST_KEPT = 1_000
"""Differences that are kept to be shown; all are counted."""


@dataclass
class Report:
    """What came of a replay. `by_program`: how many messages gave other events, by who had written those."""

    messages: int
    compared: int = 0
    """Events."""
    differences: list[Difference] = field(default_factory=list)
    count: int = 0
    errors: int = 0
    by_program: Counter[Program | None] = field(default_factory=Counter)

    def add(self, difference: Difference) -> None:
        self.count += 1
        self.errors += difference.is_error
        self.by_program[difference.program] += 1
        if len(self.differences) < MOST_KEPT:
            self.differences.append(difference)


def replay(
    database: Database,
    *,
    first: int = 1,
    last: int | None = None,
    country: str | None = None,
    progress: Callable[[int, int], None] | None = None,
    batch: int = BATCH,
) -> Report:
    """Runs the whole journal and compares what lies between the positions `first` and `last`, of one country or all.

    `progress` is told how many messages of how many are done.
    """
    source: Source = Ahead(database) if is_long(database) else Source(database)
    with database.read() as connection:
        stretches = Stretches.read(connection)
    is_whole = last is None or last >= source.head
    end = WHEREVER if is_whole or last is None else last
    comparison = _Comparison(source, stretches, (first, end), country)
    with closing(source), quiet(), closing(Rerun(source, comparison.take, max_batch=batch)) as run:
        comparison.run = run
        while run.step() and (is_whole or comparison.position < end):
            if progress is not None:
                progress(comparison.report.messages, source.messages)
        if is_whole:
            comparison.finish()
    return comparison.report


class _Comparison:
    run: Rerun

    def __init__(self, source: Source, stretches: Stretches, between: tuple[int, int], country: str | None) -> None:
        self.report = Report(0)
        self.position = 0
        """How far the log has been compared."""
        self._source = source
        self._stretches = stretches
        self._first, self._last = between
        self._country = country
        self._left: dict[str, bytes] = {}
        """Work that the run left for later, and that has not come yet."""
        self._before: Entry | None = None

    def take(self, batch: Batch) -> None:
        """To be called before the run's stores take the batch."""
        length, begin = self.run.log.length, 0
        entries = self.run.inbox.done(batch.marks, batch.again)
        self._left |= {work.message_id: work.body for work in batch.follow.works}
        self.report.messages += len(entries)
        if self._is_all_the_same(batch, entries):
            self._before = entries[-1]
            self.run.log.position = self.position
            return
        following = [*entries[1:], self.run.inbox.next]
        for entry, mark, after in zip(entries, batch.marks, following, strict=True):
            end = mark.first_position + mark.events - 1 - length
            self._compare(entry, after, batch.events[begin:end])
            begin = end
        self.run.log.position = self.position

    def _is_all_the_same(self, batch: Batch, entries: Sequence[Entry]) -> bool:
        """Whether nothing differs in the whole batch: found out at once, since that is how it should be."""
        if self._country is not None or self.run.log.length != self.position:
            return False
        for entry, mark in zip(entries, batch.marks, strict=True):
            if entry.first_position != mark.first_position or entry.events != mark.events:
                return False
            if entry.message.kind == WORK:
                return False
        end = self.position + len(batch.events)
        expected = self._source.until(end)
        if len(expected) != len(batch.events) or not all(map(is_same, expected, batch.events)):
            self._source.give_back(expected)
            return False
        self.report.compared += max(0, min(end, self._last) - max(self.position, self._first - 1))
        self.position = end
        return True

    def finish(self) -> None:
        """To be called when the whole journal has been run."""
        self._lost(self._source.head)
        for message_id in sorted(self._left.keys() - self._source.journalled(self._left)):
            if self._before is not None:
                work = self._left[message_id].decode()
                self._differs(
                    self._before,
                    [],
                    [],
                    f"this work would be left, and history has none of it: {work}",
                    self.position + 1,
                )

    def _compare(self, entry: Entry, after: Entry | None, actual: Sequence[Any]) -> None:
        note, begins = self._work(entry), self.position + 1
        expected = self._expected(entry, after)
        self.report.compared += sum(self._is_meant(event) for event in expected)
        if note is not None or len(expected) != len(actual) or not all(map(is_same, expected, actual)):
            self._differs(entry, expected, actual, note, begins)
        self._before = entry

    def _work(self, entry: Entry) -> str | None:
        """What is wrong with work that history has, if anything is."""
        if entry.message.kind != WORK:
            return None
        left = self._left.pop(entry.message.message_id, None)
        if left is None:
            return "history has this work, and nothing leaves it any more"
        if left != entry.message.body:
            return f"this work would be another one: {left.decode()}"
        return None

    def _expected(self, entry: Entry, after: Entry | None) -> list[Stored]:
        """The events that the message gave, by history.

        What became of a message is replaced when a person has it applied again. Its events then lie where that order
        was carried out, and there were none where the message was taken first.
        """
        if was_replaced(entry, after):
            return []
        if retried(entry) is None:
            self._lost(entry.first_position - 1)
        self.position = max(self.position, entry.first_position + entry.events - 1)
        return self._source.until(self.position)

    def _lost(self, position: int) -> None:
        """Events up to this position, which no message gives: they are held against the one before."""
        if position <= self.position:
            return
        self.position = position
        expected = self._source.until(position)
        if expected and self._before is not None:
            self._differs(self._before, expected, [], None, position)

    def _differs(
        self, entry: Entry, expected: Sequence[Stored], actual: Sequence[Any], note: str | None, begins: int
    ) -> None:
        """`begins`: where the events of the message would, if it had any."""
        for key in {event.originator_id for event in (*expected, *actual)}:
            was, now = ([e for e in events if e.originator_id == key] for events in (expected, actual))
            if len(was) != len(now) or not all(map(is_same, was, now)):
                self.run.log.went_another_way(key, min(e.originator_version for e in (*was, *now)))
        if self._country is not None and not any(map(self._is_there, (*expected, *actual))):
            return
        if expected:
            begins = expected[0].position
        found = [event for event in compare(expected, actual) if self._is_between(event.position or begins)]
        if not found and (note is None or not self._is_between(begins)):
            return
        begins = min((event.position or begins for event in found), default=begins)
        program = self._stretches.at(begins)
        message = entry.message
        self.report.add(
            Difference(
                position=begins,
                message_id=message.message_id,
                kind=message.kind,
                applied_seq=entry.applied_seq,
                program=program,
                is_error=program == this_program(),
                events=tuple(found),
                note=note,
            )
        )

    def _is_meant(self, event: Stored) -> bool:
        return self._is_between(event.position) and (self._country is None or self._is_there(event))

    def _is_between(self, position: int) -> bool:
        return self._first <= position <= self._last

    def _is_there(self, event: Any) -> bool:
        """Whether the event is about the country that is meant, as far as that is known by then."""
        kind, _, name = event.originator_id.partition(":")
        desk = self.run.desk
        if kind == "market":
            return bool(name.partition(":")[0] == self._country)
        if kind == "account":
            return any(self._is_in_country(bundle_id) for bundle_id in desk.bundles_of(name))
        if kind == "video":
            known = desk.video(name)
            return known.country == self._country if known is not None else self._is_of_stranger(event)
        return kind == "bundle" and self._is_in_country(name)

    def _is_in_country(self, bundle_id: str) -> bool:
        known = self.run.desk.bundle(bundle_id)
        return known is not None and known.country == self._country

    def _is_of_stranger(self, event: Any) -> bool:
        return any(self._is_in_country(bundle_id) for bundle_id in bundles_of(event.topic, event.state))
