"""Checked reading of a document: everything that is wrong is told at once, each with its place and what would be
right."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from orchestrator.documents.yaml12 import Node

T = TypeVar("T")
MOST = 100
"""Problems that are told; of more only the number."""
KEPT = 10_000
"""Problems that are remembered, so that a file that is all wrong costs no more than its size."""
_DAY = re.compile(r"20[0-9]{2}-[0-9]{2}-[0-9]{2}")


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """Something wrong (`error`) or something to know (`warning`). `key` is the dotted path of what it is about."""

    severity: str
    line: int
    column: int
    key: str
    message: str

    def __str__(self) -> str:
        return f"{self.line}: {f'{self.key}: ' if self.key else ''}{self.message}"


class Refused(Exception):
    """The document cannot be used. `problems` are all that is wrong with it, in its order."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = sorted(problems, key=lambda problem: (problem.line, problem.column))
        super().__init__("; ".join(str(problem) for problem in self.problems[:3]))


class Reader:
    """Collects what is wrong while a document is read. Every reading method returns None where it found a problem."""

    def __init__(self) -> None:
        self.errors = 0
        """How many there are."""
        self._errors: list[Problem] = []
        self._warnings: list[Problem] = []

    def error(self, node: Node, key: str, message: str) -> None:
        self.errors += 1
        if len(self._errors) < KEPT:
            self._errors.append(Problem("error", node.line, node.column, key, message))

    def warn(self, node: Node, key: str, message: str) -> None:
        if len(self._warnings) < KEPT:
            self._warnings.append(Problem("warning", node.line, node.column, key, message))

    @property
    def warnings(self) -> tuple[Problem, ...]:
        return tuple(sorted(self._warnings))

    def finish(self) -> None:
        """Raises `Refused` if there was an error."""
        errors = sorted(self._errors, key=lambda p: (p.line, p.column))
        if self.errors > MOST:
            last = errors[MOST - 1]
            more = f"and {self.errors - MOST + 1:,} more problems"
            errors = [*errors[: MOST - 1], Problem("error", last.line, last.column, "", more)]
        if errors:
            raise Refused(errors)

    def mapping(self, node: Node, key: str, known: Collection[str] | None = None) -> dict[str, Node]:
        """The members; those that are not `known` are errors."""
        if node.value is None:
            return {}
        if not isinstance(node.value, dict):
            self.error(node, key, f"must be a mapping, not {named(node.value)}")
            return {}
        if known is not None:
            for name, member in node.value.items():
                if name not in known:
                    which = suggestion(name, known) or f"; the keys here are {', '.join(known)}"
                    self.error(member, join(key, named_key(name)), f"there is no such key{which}")
        return {name: member for name, member in node.value.items() if known is None or name in known}

    def sequence(self, node: Node, key: str) -> list[Node] | None:
        if not isinstance(node.value, list):
            self.error(node, key, f"must be a list, not {named(node.value)}")
            return None
        return node.value

    def each(self, node: Node, key: str, read: Callable[[Node, str], T | None]) -> tuple[T, ...] | None:
        items = self.sequence(node, key)
        if items is None:
            return None
        found = [read(item, f"{key}[{index}]") for index, item in enumerate(items)]
        right = tuple(item for item in found if item is not None)
        return right if len(right) == len(items) else None

    def text(self, node: Node, key: str, *, longest: int = 200, shortest: int = 1) -> str | None:
        value = node.value
        if not isinstance(value, str):
            hint = ": write it in quotes" if isinstance(value, int | float) else ""
            self.error(node, key, f"must be a text, not {named(value)}{hint}")
            return None
        if not shortest <= len(value) <= longest:
            self.error(node, key, f"must have {shortest} to {longest:,} characters, not {len(value):,}")
            return None
        if "\0" in value:
            self.error(node, key, "has the character NUL, which cannot be stored")
            return None
        return value

    def word(self, node: Node, key: str, *, longest: int = 200, shortest: int = 1) -> str | None:
        """A text in one line that means what it looks like: an id, a name."""
        value = self.text(node, key, longest=longest, shortest=shortest)
        if value is not None and (not value.isprintable() or value != value.strip()):
            self.error(node, key, "must be printable, without spaces around it")
            return None
        return value

    def words(self, node: Node, key: str, *, longest: int = 200, shortest: int = 1) -> tuple[str, ...] | None:
        """A list of words, each once."""
        found = self.each(node, key, lambda item, name: self.word(item, name, longest=longest, shortest=shortest))
        repeated = twice(found or ())
        for word in repeated:
            self.error(node, key, f"names {named(word)} twice")
        return found if not repeated else None

    def number(self, node: Node, key: str, *, least: int = 0, most: int | None = None) -> int | None:
        value = node.value
        if type(value) is not int or value < least or (most is not None and value > most):
            bounds = f"from {least} to {most:,}" if most is not None else f"of at least {least}"
            self.error(node, key, f"must be a whole number {bounds}, not {named(value)}")
            return None
        return value

    def boolean(self, node: Node, key: str) -> bool | None:
        if type(node.value) is not bool:
            self.error(node, key, f"must be true or false, not {named(node.value)}")
            return None
        return node.value

    def choice(self, node: Node, key: str, choices: Sequence[str]) -> str | None:
        if node.value not in choices or not isinstance(node.value, str):
            which = suggestion(str(node.value), choices)
            self.error(node, key, f"must be one of {', '.join(choices)}, not {named(node.value)}{which}")
            return None
        return node.value

    def day(self, node: Node, key: str) -> date | None:
        found = day_of(node.value)
        if found is None:
            self.error(node, key, f"must be a day that exists, such as 2026-12-24, not {named(node.value)}")
        return found


def day_of(value: Any) -> date | None:
    """A day of this century as ISO 8601 writes it in the calendar's terms, 2026-12-24; None for anything else."""
    if not isinstance(value, str) or _DAY.fullmatch(value) is None:
        return None
    try:
        return date.fromisoformat(value)
    except ValueError:
        return None


def twice(words: Iterable[str]) -> list[str]:
    """Those that stand there more than once."""
    return [word for word, number in Counter(words).items() if number > 1]


def join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name


def named_key(name: str) -> str:
    """A key that nobody knows, as it may be shown."""
    return name if len(name) <= 60 and name.isprintable() else named(name)


def named(value: Any) -> str:
    """A value as an error calls it."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = str(value)
    return repr(text if len(text) <= 60 else f"{text[:57]}...") if isinstance(value, str) else text[:60]


def suggestion(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""
