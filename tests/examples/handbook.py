"""The parts of docs/policies.md that the program writes itself."""

from __future__ import annotations

import inspect
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from orchestrator.database import Database, migrate
from orchestrator.documents import Refused
from orchestrator.policies.schema import parse
from tests.examples.stories import STORIES
from tests.examples.story import Story

HANDBOOK = Path(__file__).resolve().parents[2] / "docs" / "policies.md"
BEGIN = "<!-- The examples are written by `python -m tests.examples`: what you change here is lost. -->\n"
END = "<!-- The end of the examples. -->\n"
BAD_FILE = re.compile(r"(?P<before>This file\n\n```yaml\n(?P<file>[^`]*)```\n\nis refused with\n\n```text\n)[^`]*```")
DOUBTFUL = re.compile(r"^(?P<before>\| `(?P<file>(?:version|defaults): [^`]*)` \|)[^|\n]*\|$", re.MULTILINE)
"""A row of the table of warnings: the file, and what is said of it."""


def title(number: int, tale: Callable[[Story], None]) -> str:
    return f"{number}. {inspect.cleandoc(tale.__doc__ or '').partition(chr(10))[0]}"


def told(number: int, tale: Callable[[Story], None], database: Database) -> str:
    """The section of one story, lived through on this empty database."""
    moral = inspect.cleandoc(tale.__doc__ or "").partition("\n")[2].strip()
    with closing(Story(database)) as story:
        story.says(moral)
        tale(story)
        return f"### {title(number, tale)}\n\n{story.text}"


def sections(text: str) -> dict[str, str]:
    """The stories as the handbook has them, by title."""
    between = text.partition(BEGIN)[2].partition(END)[0]
    parts = between.strip().split("### ")[1:]
    return {part.partition("\n")[0]: f"### {part.strip()}\n" for part in parts}


def with_answers(text: str) -> str:
    """The handbook with what the program says of its bad file, and of those that only cannot work."""

    def mistakes(found: re.Match[str]) -> str:
        try:
            parse(found["file"])
        except Refused as error:
            said = "".join(f"policies.yaml:{problem}\n" for problem in error.problems)
            return f"{found['before']}{said}```"
        raise ValueError("the bad file in docs/policies.md is a good one")

    def warning(found: re.Match[str]) -> str:
        messages = [problem.message for problem in parse(f"{{{found['file']}}}").warnings]
        news = [message for message in messages if message not in usual]
        return f"{found['before']} {'; '.join(news or messages)} |"

    usual = [problem.message for problem in parse("").warnings]
    text, bad = BAD_FILE.subn(mistakes, text)
    text, doubtful = DOUBTFUL.subn(warning, text)
    if bad != 1 or not doubtful:
        raise ValueError(f"{HANDBOOK} has lost its bad file, or its doubtful ones")
    return text


def rewrite() -> None:
    text = with_answers(HANDBOOK.read_text(encoding="utf-8"))
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{HANDBOOK} has lost the lines that say where the examples begin and end")
    with databases() as fresh:
        tales = [told(number, tale, fresh()) for number, tale in enumerate(STORIES, start=1)]
    HANDBOOK.write_text("".join([before, begin, "\n", "\n".join(tales), "\n", end, after]), encoding="utf-8")


@contextmanager
def databases() -> Iterator[Callable[[], Database]]:
    """Makes empty databases with the whole schema."""
    with tempfile.TemporaryDirectory() as name:
        original = Path(name) / "original.db"
        migrate(f"sqlite:///{original}")
        with closing(sqlite3.connect(original)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        made: list[Database] = []

        def fresh() -> Database:
            path = Path(name) / f"{len(made)}.db"
            shutil.copyfile(original, path)
            made.append(Database(f"sqlite:///{path}", connections=3))
            return made[-1]

        yield fresh
        for database in made:
            database.close()
