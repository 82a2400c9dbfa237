"""docs/policies.md says what the program does: its examples happened, and its tables name every key and alert."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from orchestrator.database import Database
from orchestrator.documents import Reader, load
from orchestrator.policies.fields import ALERTS, FIELDS
from orchestrator.policies.schema import parse
from tests.examples.handbook import BEGIN, HANDBOOK, sections, title, told, with_answers
from tests.examples.stories import STORIES

TALES = list(enumerate(STORIES, start=1))
QUOTED = re.compile(r"`([^`]+)`")
VERDICT = re.compile(r"^ +- bdl_\w+: (.+)$", re.MULTILINE)
FILES = re.compile(r"```yaml\n([^`]*)```")
AGAIN = "docs/policies.md tells it otherwise: look at what has changed, then run `python -m tests.examples`"


@pytest.fixture(scope="module")
def handbook() -> str:
    return HANDBOOK.read_text(encoding="utf-8")


@pytest.fixture
def database(migrated_url: str) -> Iterator[Database]:
    with closing(Database(migrated_url, connections=3)) as database:
        yield database


def rows(text: str, heading: str) -> list[list[str]]:
    """The cells of the tables in the section with this heading."""
    section = text.partition(f"\n{heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


@pytest.mark.parametrize(("number", "tale"), TALES, ids=[tale.__name__ for tale in STORIES])
def test_an_example_says_what_the_program_really_did(number: int, tale: Any, database: Database, handbook: str) -> None:
    assert sections(handbook).get(title(number, tale)) == told(number, tale, database), AGAIN


def test_the_handbook_has_these_twelve_examples_and_no_others(handbook: str) -> None:
    assert len(STORIES) == 12
    assert list(sections(handbook)) == [title(number, tale) for number, tale in TALES], AGAIN


def test_the_bad_file_is_refused_and_the_doubtful_ones_are_warned_of_as_shown(handbook: str) -> None:
    assert with_answers(handbook) == handbook, AGAIN


def test_the_files_that_it_recommends_are_good(handbook: str) -> None:
    guide = handbook.partition("\n## Twelve")[0]
    first, *others = [file for file in FILES.findall(guide) if "timezon:" not in file]
    assert parse(first).warnings == ()
    assert len(others) == 2
    for file in others:
        parse(file)


def test_every_key_is_explained_with_its_default(handbook: str) -> None:
    shown = {cells[0].strip("`"): cells[1].strip("`") for cells in rows(handbook, "## Every key")}
    assert list(shown) == list(FIELDS)
    reader = Reader()
    read = {name: FIELDS[name].read(reader, load(text), name) for name, text in shown.items()}
    reader.finish()
    assert read == {name: field.default for name, field in FIELDS.items()}


def test_every_kind_of_alert_is_explained(handbook: str) -> None:
    assert [cells[0].strip("`") for cells in rows(handbook, "## Alerts")] == list(ALERTS)


def test_every_verdict_of_the_examples_is_explained(handbook: str) -> None:
    def kind(verdict: str) -> str:
        return re.sub(r"teaser\S*|[\d-]+|(?<=postable: )\w+", "…", verdict)

    explained = {kind(why) for cells in rows(handbook, "## Why did it do that?") for why in QUOTED.findall(cells[0])}
    given = {kind(why) for why in VERDICT.findall(handbook.partition(BEGIN)[2])}
    assert "already has …" in given
    assert given <= explained
