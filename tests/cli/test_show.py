"""Tables for people on a terminal of the usual width."""

from __future__ import annotations

import pytest

from orchestrator.cli import show
from tests.cli.terminal import Terminal

VIDEO = "vid_0a8cd6fc9dc1576bbafde0a5a3950ef6"
REASON = "nobody of 17 qualifies: 5 cap reached, 2 not postable: created, 6 not postable: warming"


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    return Terminal(monkeypatch)


def test_only_prose_takes_several_lines(terminal: Terminal) -> None:
    row = {"video_id": VIDEO, "ref": "teaser-1", "state": "scheduled", "bundle_id": "bdl_us_1", "reason": REASON}
    show.page({"items": [row], "next": None}, False, *row)
    assert terminal.lines[0].split() == ["video_id", "ref", "state", "bundle_id", "reason"]
    assert terminal.lines[1].startswith(f"{VIDEO}  teaser-1  scheduled  bdl_us_1   nobody of 17")
    assert all(line.startswith(" " * len(VIDEO)) for line in terminal.lines[2:])
    begins = terminal.lines[0].index("reason")
    assert " ".join(line[begins:] for line in terminal.lines[1:]).split() == REASON.split()


def test_our_own_ids_stay_whole_where_nothing_else_can(terminal: Terminal) -> None:
    row = {"video_id": VIDEO, "ref": "a" * 60, "bundle_id": "b" * 60}
    show.page({"items": [row], "next": None}, False, *row)
    assert VIDEO in terminal.lines[1]
    assert [sum(line[38:].count(letter) for line in terminal.lines[1:]) for letter in "ab"] == [60, 60]
    assert max(map(len, terminal.lines)) <= 100


def test_times_are_told_to_the_second_and_mappings_without_braces(terminal: Terminal) -> None:
    row = {"at": "2026-12-01T10:00:00.123456Z", "progress": {"posted": 3, "waiting": 1}, "data": {"a": {"b": [1]}}}
    show.page({"items": [row], "next": "abc"}, False, *row)
    assert terminal.lines == [
        "at                    progress               data",
        '2026-12-01 10:00:00Z  posted: 3, waiting: 1  {"a": {"b": [1]}}',
        "",
        "There is more: --cursor abc",
    ]


def test_what_is_very_long_is_cut_for_people_only(terminal: Terminal, capsys: pytest.CaptureFixture[str]) -> None:
    row = {"data": {"videos": [{"ref": "x" * 1000}]}}
    show.page({"items": [row], "next": None}, False, "data")
    assert sum(map(len, terminal.lines)) < 400
    show.page({"items": [row], "next": None}, True, "data")
    assert "x" * 1000 in capsys.readouterr().out


def test_nothing_found_is_said(terminal: Terminal) -> None:
    show.page({"items": [], "next": None}, False, "bundle_id")
    assert terminal.lines == ["Nothing found."]
