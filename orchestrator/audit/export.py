"""Exports what the chain covers, and verifies exports: no database is needed for that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from orchestrator.audit.about import About, about_event, about_message, bundles_of
from orchestrator.audit.auditor import KINDS, Auditor, Item
from orchestrator.audit.checkpoints import checkpoint_of
from orchestrator.audit.findings import Finding, Report
from orchestrator.audit.formats import Unreadable, read
from orchestrator.audit.keys import PublicKey
from orchestrator.audit.places import raw
from orchestrator.audit.records import (
    FORMAT,
    Record,
    batch_record,
    items_of,
    link_of,
    omitted_record,
    record_of,
    tells_the_truth,
)
from orchestrator.audit.verify import Progress, Reader
from orchestrator.database import Database
from orchestrator.database.tables import bundles, videos
from orchestrator.domain.times import iso
from orchestrator.log.chain import ORIGIN, Link, leaf

MOST_LEAVES: Final = 1_000
"""Leaves of one line."""
BROKEN: Final = (ValueError, KeyError, TypeError, AttributeError, IndexError)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which items an export shows; of all others it has the leaf. `kind`: an event, or a kind of message; `actor`: the
    name of whoever wanted it, or whose message caused it."""

    country: str | None = None
    bundle: str | None = None
    video: str | None = None
    actor: str | None = None
    kind: str | None = None

    @property
    def is_empty(self) -> bool:
        return self == Filter()

    def takes(self, about: About, bundles: set[str], country: str | None, actor: str | None) -> bool:
        return (
            self.country in (None, country)
            and (self.bundle is None or self.bundle in bundles)
            and self.video in (None, about.get("video_id"))
            and self.actor in (None, actor)
            and self.kind in (None, about.get("event", about.get("kind")))
        )

    def to_json(self) -> dict[str, str]:
        names = ("country", "bundle", "video", "actor", "kind")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


def export(
    database: Database,
    keys: Sequence[PublicKey],
    filter: Filter,
    *,
    first: int | None = None,
    until: int | None = None,
    progress: Progress | None = None,
) -> Iterator[Record]:
    """The records of an export, one after the other: of whole batches, from the one with the event at `first` to the
    one with that at `until`. Between them stand the checkpoints."""
    with database.read() as connection:
        reader = Reader(database, connection)
        begin, previous = 1, ORIGIN
        if first is not None and first > 1 and (link := reader.link_of(first)) is not None:
            begin = link.batch
            before = reader.rows("SELECT digest FROM chain WHERE batch = ?", begin - 1)
            previous = bytes(before[0][0]) if before else ORIGIN
        head, _ = reader.ends()
        yield {
            "type": "export",
            "format": FORMAT,
            "made_at": iso(datetime.now(UTC)),
            "previous": {"batch": begin - 1, "digest": previous.hex()},
            "filter": filter.to_json(),
            "keys": {key.key_id: key.pem() for key in keys},
        }
        counts = dict.fromkeys(("batches", *KINDS), 0)
        with closing(reader.batches(begin, until)) as batches:
            for batch in batches:
                link = batch.link
                yield batch_record(link)
                shown = _shown(connection, batch.sections, filter)
                for kind in KINDS:
                    yield from _lines(kind, batch.sections[kind], shown)
                    counts[kind] += len(batch.sections[kind])
                counts["batches"] += 1
                for checkpoint in batch.checkpoints:
                    yield {"type": "checkpoint", **checkpoint.to_json()}
                if progress is not None:
                    progress(link.last_position, head if until is None else min(until, head))
        yield {"type": "end", **counts}


def _lines(kind: str, items: Sequence[Item], shown: set[tuple[str, int]] | None) -> Iterator[Record]:
    """`shown`: what is shown, by kind and number; None: all of it."""
    left_out: list[bytes] = []
    start = 0
    for item in items:
        if (shown is None or (kind, item[0]) in shown) and item[2] is not None:
            if left_out:
                yield omitted_record(kind, start, left_out)
                left_out = []
            yield record_of(kind, item)
            continue
        if not left_out:
            start = item[0]
        left_out.append(leaf(kind, item))
        if len(left_out) == MOST_LEAVES:
            yield omitted_record(kind, start, left_out)
            left_out = []
    if left_out:
        yield omitted_record(kind, start, left_out)


def _shown(
    connection: sa.Connection, sections: Mapping[str, Sequence[Item]], filter: Filter
) -> set[tuple[str, int]] | None:
    """What the filter takes, and the messages that caused it; None: all of it."""
    if filter.is_empty:
        return None
    messages = [(item, about_message(item)) for item in sections["message"]]
    events = [(item, about_event(item), bundles_of(item)) for item in sections["event"]]
    causes = {f"msg_{raw(item[2]).hex()}": (item[0], about) for item, about in messages}
    country_of = _Countries(connection, events) if filter.country is not None else None
    shown = set()
    for item, about in messages:
        country = about.get("country")
        if country_of is not None and country is None:
            country = country_of.bundle(about.get("bundle_id"))
        named = {about["bundle_id"]} if "bundle_id" in about else set()
        if filter.takes(about, named, country, (about.get("actor") or {}).get("name")):
            shown.add(("message", item[0]))
    for item, about, named in events:
        number, cause = causes.get(str(about.get("cause")), (None, {}))
        actor = (about.get("actor") or cause.get("actor") or {}).get("name")
        country = country_of.of(about) if country_of is not None else None
        if filter.takes(about, named, country, actor):
            shown.add(("event", item[0]))
            if number is not None:
                shown.add(("message", number))
    for item in sections["retried"]:
        if any(message[1] == item[1] and ("message", message[0]) in shown for message, _ in messages):
            shown.add(("retried", item[0]))
    return shown


class _Countries:
    """Where accounts and videos are, for events that do not say it themselves."""

    def __init__(self, connection: sa.Connection, events: Sequence[tuple[Item, About, set[str]]]) -> None:
        self._connection = connection
        named = {about["bundle_id"] for _, about, _ in events if "bundle_id" in about}
        self._bundles = self._look_up(bundles.c.bundle_id, bundles.c.country, named)
        wanted = {about["video_id"] for _, about, _ in events if "video_id" in about}
        self._videos = self._look_up(videos.c.video_id, videos.c.country, wanted)

    def _look_up(self, name: sa.Column[Any], country: sa.Column[Any], wanted: set[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        names = sorted(wanted)
        for start in range(0, len(names), 5_000):
            query = sa.select(name, country).where(name.in_(names[start : start + 5_000]), country.is_not(None))
            found |= {row[0]: row[1] for row in self._connection.execute(query)}
        return found

    def bundle(self, bundle_id: Any) -> str | None:
        if isinstance(bundle_id, str) and bundle_id not in self._bundles:
            self._bundles |= self._look_up(bundles.c.bundle_id, bundles.c.country, {bundle_id})
        return self._bundles.get(bundle_id) if isinstance(bundle_id, str) else None

    def of(self, about: About) -> str | None:
        return (
            about.get("country")
            or self._videos.get(about.get("video_id", ""))
            or self._bundles.get(about.get("bundle_id", ""))
        )


def verify_export(path: Path, keys: Sequence[PublicKey], *, progress: Progress | None = None) -> Report:
    """What an export holds, against its own chain and against the signatures of `keys`; without any, of those that the
    export names itself. Raises OSError."""
    report = Report()
    check = _Check(report, keys)
    for number, record in read(path):
        try:
            if isinstance(record, Unreadable):
                raise ValueError(str(record))
            check.take(record)
        except BROKEN as error:
            text = f"line {number} of the export cannot be used: {str(error) or type(error).__name__}"
            report.add(Finding("unreadable", "file", text))
        if progress is not None:
            progress(report.position, max(report.position, 1))
    check.finish()
    return report


class _Check:
    """Puts batches together from the lines of an export."""

    def __init__(self, report: Report, keys: Sequence[PublicKey]) -> None:
        self._report = report
        self._keys = keys
        self._auditor: Auditor | None = None
        self._link: Link | None = None
        self._sections: dict[str, list[Item]] = {}
        self._is_ended = False

    def take(self, record: Record) -> None:
        kind = record["type"]
        if kind == "export":
            self._begin(record)
        elif self._auditor is None:
            raise ValueError("the export does not begin with its head")
        elif kind == "batch":
            self._flush()
            self._link = link_of(record)
            self._sections = {kind: [] for kind in KINDS}
        elif kind == "checkpoint":
            self._flush()
            one = checkpoint_of(record)
            last = self._auditor.last
            self._auditor.checkpoint(one, "in the export", last if last and last.batch == one.batch else None)
        elif kind == "end":
            self._flush()
            self._end(record)
        else:
            self._add(record)

    def _begin(self, record: Record) -> None:
        if self._auditor is not None:
            raise ValueError("the export begins a second time")
        if record["format"] != FORMAT:
            raise ValueError(f"the format {record['format']!r} is unknown: a newer version may know it")
        keys = self._keys
        if not keys:
            keys = [PublicKey.of_pem(pem) for pem in record["keys"].values()]
            self._report.notes.append(
                "the signatures were held against the keys that the export names itself: give --public-key to know "
                "whose they are"
            )
        self._auditor = Auditor(self._report, keys, may_omit=True)
        previous = record["previous"]
        self._auditor.begin(previous["batch"], bytes.fromhex(previous["digest"]))
        if previous["batch"]:
            self._report.notes.append(f"the export begins after batch {previous['batch']}")
        if record["filter"]:
            shown = ", ".join(f"{name} {value}" for name, value in record["filter"].items())
            self._report.notes.append(f"the export shows a part only: {shown}; of the rest it has the digests")

    def _add(self, record: Record) -> None:
        if self._link is None:
            raise ValueError("it belongs to no batch")
        kind, items = items_of(record)
        self._sections[kind] += items
        if record["type"] != "omitted" and not tells_the_truth(record, kind, items[0]):
            raise ValueError("what it says for people is not what it holds")

    def _flush(self) -> None:
        if self._link is not None and self._auditor is not None:
            for items in self._sections.values():
                items.sort(key=lambda item: item[0])
            self._auditor.batch(self._link, self._sections)
            self._link = None

    def _end(self, record: Record) -> None:
        self._is_ended = True
        wanted = (record["batches"], record["message"], record["event"])
        if wanted != (self._report.batches, self._report.messages, self._report.events):
            text = "the export has another number of batches, messages or events than its end says"
            self._report.add(Finding("removed", "file", text))

    def finish(self) -> None:
        if self._auditor is None:
            self._report.add(Finding("unreadable", "file", "the file is no export"))
            return
        self._flush()
        if not self._is_ended:
            text = f"the export ends after position {self._report.position}, before its end"
            self._report.add(Finding("cut", "file", text, position=self._report.position))
        if self._report.position > self._report.signed_position:
            self._report.notes.append(
                f"events after position {self._report.signed_position} are chained, and no signature in the export "
                "vouches for them"
            )
