"""Checked reading: what is wrong is told at once, with its place and what would be right."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.documents import Problem, Reader, Refused, decode, load, yaml12
from orchestrator.documents.reader import KEPT, MOST, day_of, named
from orchestrator.documents.yaml12 import Node

HERE = Node(None, 3, 5)


def told(reader: Reader) -> list[str]:
    try:
        reader.finish()
    except Refused as error:
        return [str(problem) for problem in error.problems]
    return []


def test_nothing_wrong_is_no_refusal() -> None:
    reader = Reader()
    reader.warn(HERE, "a", "may be odd")
    reader.finish()
    assert reader.warnings == (Problem("warning", 3, 5, "a", "may be odd"),)
    assert reader.errors == 0


def test_errors_are_told_in_the_order_of_the_document() -> None:
    reader = Reader()
    reader.error(Node(None, 9, 1), "b", "later")
    reader.error(Node(None, 3, 8), "a", "in the same line")
    reader.error(Node(None, 3, 5), "", "first")
    assert told(reader) == ["3: first", "3: a: in the same line", "9: b: later"]


def test_of_too_many_errors_the_number_is_told_and_no_more_are_kept_than_needed() -> None:
    reader = Reader()
    for number in range(KEPT + 5):
        reader.error(Node(None, number, 1), "a", "wrong")
    problems = told(reader)
    assert len(problems) == MOST
    assert problems[-1] == f"{MOST - 1}: and {KEPT + 5 - MOST + 1:,} more problems"


def test_an_unknown_key_comes_with_a_suggestion_or_with_those_that_there_are() -> None:
    reader = Reader()
    members = reader.mapping(load("per_dya: 1\nx: 2\nramp: 3"), "posting", ("per_day", "ramp"))
    assert list(members) == ["ramp"]
    assert told(reader) == [
        "1: posting.per_dya: there is no such key; did you mean per_day?",
        "2: posting.x: there is no such key; the keys here are per_day, ramp",
    ]


def test_a_key_that_is_long_or_odd_is_told_in_short() -> None:
    reader = Reader()
    reader.mapping(load(f'"a\\nb": 1\n{"x" * 100}: 2'), "", ("ramp",))
    first, second = told(reader)
    assert first.startswith(r"1: 'a\nb': there is no such key")
    assert second.startswith(f"2: '{'x' * 57}...': there is no such key")


def test_a_list_with_something_wrong_in_it_counts_as_wrong() -> None:
    reader = Reader()
    assert reader.words(load("[a, 7, b]"), "list") is None
    assert told(reader) == ["1: list[1]: must be a text, not 7: write it in quotes"]


@pytest.mark.parametrize("word", [" a", "a ", "a\nb", "\u200b", "a\x1b[31m"])
def test_a_word_means_what_it_looks_like(word: str) -> None:
    reader = Reader()
    assert reader.word(Node(word, 1, 1), "name") is None
    assert told(reader) == ["1: name: must be printable, without spaces around it"]


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2026-12-24", date(2026, 12, 24)),
        ("2028-02-29", date(2028, 2, 29)),
        ("2026-02-29", None),
        ("2026-13-01", None),
        ("2026-W01-1", None),
        ("20261224", None),
        ("1999-12-31", None),
        ("2100-01-01", None),
        ("2026-12-24T00:00", None),
        ("\uff12\uff10\uff12\uff16-12-24", None),
        (20261224, None),
        (None, None),
    ],
)
def test_days(text: object, day: date | None) -> None:
    assert day_of(text) == day


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "nothing"),
        (True, "true"),
        ({}, "a mapping"),
        ([], "a list"),
        (7, "7"),
        ("a'b", '"a\'b"'),
        ("x" * 100, f"'{'x' * 57}...'"),
        (10**99, f"1{'0' * 59}"),
    ],
)
def test_how_values_are_called(value: object, said: str) -> None:
    assert named(value) == said


def test_a_file_is_utf_8_with_or_without_a_mark() -> None:
    assert decode("für".encode()) == "für"
    assert decode(b"\xef\xbb\xbfa: 1") == "a: 1"
    with pytest.raises(Refused) as caught:
        decode("a: 1\nb: für".encode("latin-1"))
    assert [str(problem) for problem in caught.value.problems] == ["2: this is not UTF-8: save the file as UTF-8"]


def test_a_document_of_endlessly_many_values_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml12, "MOST_VALUES", 1_000)
    assert len(load(f"[{'1,' * 999}]").value) == 999
    with pytest.raises(Refused) as caught:
        load("a:\n  [" + "1," * 5_000)
    (problem,) = caught.value.problems
    assert (problem.line, problem.key, problem.message) == (2, "a[998]", "this has more than 1,000 values")


def test_where_in_the_document_something_cannot_be_read_is_told_by_its_key() -> None:
    with pytest.raises(Refused) as caught:
        load("a:\n  b:\n    - 1\n    - {c: 1, c: 2}")
    (problem,) = caught.value.problems
    assert (problem.line, problem.key, problem.message) == (4, "a.b[1].c", "is given twice, first in line 4")


@settings(derandomize=True, deadline=None, max_examples=500)
@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        load(decode(data))
    except Refused as error:
        assert error.problems
