"""Exports as files: NDJSON, a record a line; or CSV, with columns for people and the record itself in the last one."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TextIO

import msgspec

from orchestrator.audit.records import Record

COLUMNS: Final = (
    "type batch number recorded_at occurred_at what subject bundle_id video_id campaign_id country platform actor_kind "
    "actor reason status message_id record"
).split()
FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet takes a cell that begins so for a formula."""
LARGEST_CELL: Final = 256 * 1024 * 1024


def write_ndjson(records: Iterable[Record], file: TextIO) -> None:
    encode = msgspec.json.Encoder().encode
    for record in records:
        file.write(encode(record).decode())
        file.write("\n")


def write_csv(records: Iterable[Record], file: TextIO) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    batch: Any = None
    for record in records:
        batch = record.get("batch", batch) if record["type"] == "batch" else batch
        writer.writerow(_cells(record, batch))


def _cells(record: Mapping[str, Any], batch: Any) -> list[str]:
    about: Mapping[str, Any] = record.get("about") or {}
    actor = about.get("actor")
    actor = actor if isinstance(actor, Mapping) else {}
    values = {
        **about,
        "type": record["type"],
        "batch": record.get("batch", batch),
        "number": record.get("position", record.get("applied_seq", record.get("number", record.get("first")))),
        "recorded_at": about.get("recorded_at", about.get("received_at", record.get("at"))),
        "what": about.get("event", about.get("command", record.get("kind", record.get("what")))),
        "subject": record.get("originator_id", record.get("event_id")),
        "actor_kind": actor.get("kind"),
        "actor": actor.get("name"),
        "status": (record.get("outcome") or {}).get("status"),
        "reason": about.get("reason", (record.get("outcome") or {}).get("reason")),
        "message_id": record.get("message_id", about.get("cause")),
        "record": msgspec.json.encode(record).decode(),
    }
    return [_cell(values.get(name)) for name in COLUMNS]


def _cell(value: Any) -> str:
    text = "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"'{text}" if text.startswith(FORMULA) else text


class Unreadable(Exception):
    """A line of an export cannot be used; the text says why."""


def read(path: Path) -> Iterator[tuple[int, Record | Unreadable]]:
    """Every record with the number of its line; the format shows by itself. Raises OSError."""
    with path.open("r", encoding="utf-8", errors="surrogateescape", newline="") as file:
        first = file.read(1)
        file.seek(0)
        yield from _read_ndjson(file) if first in ("{", "") else _read_csv(file)


def _read_ndjson(file: TextIO) -> Iterator[tuple[int, Record | Unreadable]]:
    for number, line in enumerate(file, start=1):
        yield number, _record(line, number)


def _read_csv(file: TextIO) -> Iterator[tuple[int, Record | Unreadable]]:
    reader = csv.reader(file, strict=True)
    batch: Any = None
    while True:
        try:
            row = _next_row(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield reader.line_num, Unreadable(str(error))
            continue
        if reader.line_num == 1 and row == COLUMNS:
            continue
        record = _record(row[-1] if len(row) == len(COLUMNS) else "", reader.line_num)
        if not isinstance(record, Unreadable):
            batch = record.get("batch", batch) if record["type"] == "batch" else batch
            if _cells(record, batch) != row:
                record = Unreadable("its columns do not say what its record holds")
        yield reader.line_num, record


def _next_row(reader: Iterator[list[str]]) -> list[str]:
    # The limit is one for the whole process: others read tables in which so long a cell is a mistake.
    usual = csv.field_size_limit(LARGEST_CELL)
    try:
        return next(reader)
    finally:
        csv.field_size_limit(usual)


def _record(text: str, number: int) -> Record | Unreadable:
    try:
        record = msgspec.json.decode(text.encode("utf-8", "surrogateescape"))
        if isinstance(record, dict) and isinstance(record.get("type"), str):
            return record
    except ValueError:
        pass
    return Unreadable("it is no record")
