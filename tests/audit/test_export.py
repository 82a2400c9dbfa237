from __future__ import annotations

import csv
import io
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.audit.export import Filter, export, verify_export
from orchestrator.audit.findings import Report
from orchestrator.audit.formats import COLUMNS, write_csv, write_ndjson
from orchestrator.database import Database
from tests.audit.logs import KEY, OTHER_KEY, Log
from tests.projections.logs import article, follow

ALL = Filter()
WRITERS = {"ndjson": write_ndjson, "csv": write_csv}


@pytest.fixture(params=WRITERS)
def write(request: pytest.FixtureRequest, log: Log, tmp_path: Path) -> Callable[..., Path]:
    def written(filter: Filter = ALL, **range: Any) -> Path:
        path = tmp_path / f"export.{request.param}"
        with path.open("w", encoding="utf-8", newline="") as file:
            WRITERS[request.param](export(log.database, [KEY.public], filter, **range), file)
        return path

    return written


def check(path: Path) -> Report:
    return verify_export(path, [KEY.public])


def records(log: Log, filter: Filter = ALL, **range: Any) -> list[dict[str, Any]]:
    return [json.loads(json.dumps(one)) for one in export(log.database, [KEY.public], filter, **range)]


def shown(log: Log, filter: Filter) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    found = records(log, filter)
    return [r for r in found if r["type"] == "event"], [r for r in found if r["type"] == "message"]


def test_a_whole_export_verifies_without_the_database(log: Log, write: Callable[..., Path]) -> None:
    whole = log.verify(beside=False)
    report = check(write())
    assert report.is_clean
    assert (report.events, report.messages, report.batches) == (whole.events, whole.messages, whole.batches)
    assert (report.digest, report.signed_position) == (whole.digest, whole.signed_position)
    assert report.checkpoints == 2


def test_without_a_key_the_export_vouches_for_itself_and_says_so(write: Callable[..., Path]) -> None:
    report = verify_export(write(), [])
    assert report.is_clean and "give --public-key" in report.notes[0]
    assert {finding.kind for finding in verify_export(write(), [OTHER_KEY.public]).findings} == {"signature"}


@pytest.mark.parametrize(
    "filter",
    [
        Filter(country="US"),
        Filter(bundle="b1"),
        Filter(video="v3"),
        Filter(actor="ann"),
        Filter(kind="BundlePaused"),
        Filter(kind="command"),
        Filter(bundle="b1", kind="VideoPosted"),
        Filter(kind="nothing"),
    ],
)
def test_what_is_left_out_can_be_verified_all_the_same(log: Log, write: Callable[..., Path], filter: Filter) -> None:
    follow(log.database)
    whole = check(write())
    part = check(write(filter))
    assert part.is_clean
    assert (part.events, part.messages, part.digest) == (whole.events, whole.messages, whole.digest)
    assert "shows a part only" in part.notes[0]


def test_filters_take_what_they_say(log: Log) -> None:
    follow(log.database)
    events, messages = shown(log, Filter(bundle="b1"))
    assert events and all("b1" in json.dumps(event) for event in events)
    events, messages = shown(log, Filter(kind="BundlePaused"))
    assert [event["topic"] for event in events] == ["BundlePaused"]
    assert [message["message_id"] for message in messages] == [event["about"]["cause"] for event in events]
    events, messages = shown(log, Filter(kind="command"))
    assert events == [] and {message["kind"] for message in messages} == {"command"}
    events, messages = shown(log, Filter(country="FR"))
    assert events and {event["about"].get("country", "FR") for event in events} == {"FR"}
    events, messages = shown(log, Filter(video="v3"))
    assert events and {event["about"]["video_id"] for event in events} == {"v3"}


def test_orders_are_in_it_with_actor_and_reason_whether_taken_or_refused(log: Log) -> None:
    events, messages = shown(log, Filter(actor="bob"))
    (refused,) = messages
    assert refused["about"]["actor"] == {"kind": "person", "name": "bob"}
    assert refused["about"]["command"] == "bundle.pause" and refused["about"]["reason"] == "just so"
    assert refused["outcome"]["status"] == "refused" and "nobody" in refused["outcome"]["reason"]
    assert {event["about"]["actor"]["name"] for event in events} <= {"bob"}
    events, messages = shown(log, Filter(actor="ann"))
    assert [message["outcome"]["status"] for message in messages] == ["applied"]
    assert [(event["topic"], event["about"]["reason"]) for event in events] == [("BundlePaused", "=1+1")]


def test_a_range_begins_and_ends_with_whole_batches(log: Log, write: Callable[..., Path]) -> None:
    report = check(write(first=100, until=150))
    assert report.is_clean
    assert report.first_position <= 100 and 150 <= report.position < 200
    assert "the export begins after batch" in report.notes[0]


def test_cells_are_no_formulas(log: Log, tmp_path: Path) -> None:
    log.order({"command": "bundle.pause", "bundle_id": "b2", "reason": "\t@SUM(A1)\r\n=2"}, name="-eve")
    file = io.StringIO(newline="")
    write_csv(export(log.database, [KEY.public], Filter()), file)
    rows = list(csv.DictReader(io.StringIO(file.getvalue(), newline="")))
    assert list(rows[0]) == COLUMNS
    assert not [cell for row in rows for cell in row.values() if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert {"'=1+1", "'\t@SUM(A1)\r\n=2"} <= {row["reason"] for row in rows}
    assert "'-eve" in {row["actor"] for row in rows}
    path = tmp_path / "e.csv"
    path.write_text(file.getvalue(), newline="")
    assert check(path).is_clean


def test_bytes_that_are_no_text_are_kept(log: Log, write: Callable[..., Path]) -> None:
    from dataclasses import replace

    log.take([replace(article(990, "bundle.ready", "b1"), message_id="msg_" + "ab" * 16, body=b"\xff\xfe\x00")])
    assert check(write()).is_clean


# Exports that somebody changed.


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines(keepends=True)


def line_of(path: Path, text: str) -> int:
    return next(number for number, line in enumerate(lines(path)) if text in line)


@pytest.fixture
def exported(log: Log, tmp_path: Path) -> Path:
    path = tmp_path / "export.ndjson"
    with path.open("w", encoding="utf-8") as file:
        write_ndjson(export(log.database, [KEY.public], Filter()), file)
    return path


def change(path: Path, number: int, edit: Callable[[dict[str, Any]], object]) -> None:
    all_lines = lines(path)
    record = json.loads(all_lines[number])
    edit(record)
    all_lines[number] = json.dumps(record) + "\n"
    path.write_text("".join(all_lines), encoding="utf-8")


def test_a_changed_event_is_found(exported: Path) -> None:
    number = line_of(exported, '"position":100,')
    change(exported, number, lambda record: record.update(state=record["state"].replace("b", "c", 1)))
    found = check(exported).findings
    assert ("changed", 100) in {(finding.kind, finding.position) for finding in found}


def test_a_changed_message_is_found(exported: Path) -> None:
    change(exported, line_of(exported, '"applied_seq":30,'), lambda record: record.update(actor='{"name":"eve"}'))
    assert ("changed", 30) in {(finding.kind, finding.message) for finding in check(exported).findings}


def test_what_is_shown_to_people_cannot_lie(exported: Path) -> None:
    change(exported, line_of(exported, '"bundle.pause'), lambda record: record["about"].update(reason="nothing"))
    (finding,) = check(exported).findings
    assert finding.kind == "unreadable" and "what it says for people is not what it holds" in finding.text


@pytest.mark.parametrize(
    "text", ['"position":100,', '"applied_seq":30,', '"type":"batch","batch":4,', '"type":"checkpoint"']
)
def test_a_removed_line_is_found(exported: Path, text: str) -> None:
    all_lines = lines(exported)
    removed = all_lines.pop(line_of(exported, text))
    exported.write_text("".join(all_lines), encoding="utf-8")
    report = check(exported)
    if "checkpoint" in removed:
        assert report.is_clean and report.checkpoints == 1  # The one that is left vouches for everything before it.
    else:
        assert not report.is_clean


def test_a_line_that_is_there_twice_is_found(exported: Path) -> None:
    all_lines = lines(exported)
    number = line_of(exported, '"position":100,')
    exported.write_text("".join([*all_lines[:number], all_lines[number], *all_lines[number:]]), encoding="utf-8")
    assert not check(exported).is_clean


@pytest.mark.parametrize("share", [0.1, 0.5, 0.999])
def test_an_export_that_was_cut_is_found(exported: Path, share: float) -> None:
    data = exported.read_bytes()
    exported.write_bytes(data[: int(len(data) * share)])
    assert "cut" in {finding.kind for finding in check(exported).findings}


def test_a_tail_of_whole_batches_that_was_cut_is_found(exported: Path) -> None:
    all_lines = lines(exported)
    number = line_of(exported, '"type":"batch","batch":8,')
    exported.write_text("".join(all_lines[:number]), encoding="utf-8")
    assert [finding.kind for finding in check(exported).findings] == ["cut"]


@pytest.mark.parametrize(
    "content", ["", "hello\n", "{}\n", '{"type":"export"}\n', '{"type":"event"}\n', "[1]\n", "type,batch\n"]
)
def test_what_is_no_export_is_said_to_be_none(tmp_path: Path, content: str) -> None:
    path = tmp_path / "x"
    path.write_text(content)
    report = check(path)
    assert not report.is_clean
    assert {finding.kind for finding in report.findings} <= {"unreadable", "cut"}


def test_a_changed_cell_of_a_csv_is_found(log: Log, tmp_path: Path) -> None:
    path = tmp_path / "e.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        write_csv(export(log.database, [KEY.public], Filter()), file)
    path.write_text(path.read_text(encoding="utf-8").replace(",bob,just so,", ",ann,just so,", 1), encoding="utf-8")
    found = check(path).findings
    assert any("its columns do not say what its record holds" in finding.text for finding in found)


def test_what_others_take_for_too_long_a_cell_stays_so(log: Log, tmp_path: Path) -> None:
    """The limit of Python's reader is one for the whole process."""
    path = tmp_path / "e.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        write_csv(export(log.database, [KEY.public], Filter()), file)
    before = csv.field_size_limit()
    assert check(path).findings == []
    assert csv.field_size_limit() == before


def test_a_tampered_log_can_be_exported_and_the_export_tells(log: Log, write: Callable[..., Path]) -> None:
    log.execute("UPDATE events SET state = :state WHERE notification_id = 7", state=b"no json \xff")
    log.execute("DELETE FROM journal WHERE seq = 9")
    found = {(finding.kind, finding.what) for finding in check(write()).findings}
    assert ("changed", "event") in found and ("changed", "message") in found


def test_memory_stays_flat(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An export of a log four times as long takes no more of it."""
    monkeypatch.setattr("orchestrator.audit.verify.PAGE", 500)
    peaks = []
    log = Log(database, tmp_path / "audit", max_batch=200)
    number = 0
    for messages in (2_000, 6_000):
        batch = []
        for _ in range(messages):
            number += 1
            batch.append(article(number, "bundle.ready", f"b{number % 50}"))
        log.take(batch)
        with (tmp_path / "flat.ndjson").open("w", encoding="utf-8") as file:
            tracemalloc.start()
            write_ndjson(export(database, [KEY.public], Filter()), file)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]
    assert verify_export(tmp_path / "flat.ndjson", [KEY.public]).is_clean
