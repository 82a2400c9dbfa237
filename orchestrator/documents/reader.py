"""Checked reading of a document: everything that is wrong is told at once, each with its place and what would be
right."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from orchestrator.documents.yaml12 import Node

T = TypeVar("T")
MOST = 100
"""Problems that are told; of more only the number."""


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
        self.problems: list[Problem] = []

    def error(self, node: Node, key: str, message: str) -> None:
        self.problems.append(Problem("error", node.line, node.column, key, message))

    def warn(self, node: Node, key: str, message: str) -> None:
        self.problems.append(Problem("warning", node.line, node.column, key, message))

    @property
    def warnings(self) -> tuple[Problem, ...]:
        return tuple(sorted(problem for problem in self.problems if problem.severity == "warning"))

    def finish(self) -> None:
        """Raises `Refused` if there was an error."""
        errors = sorted((p for p in self.problems if p.severity == "error"), key=lambda p: (p.line, p.column))
        if len(errors) > MOST:
            last = errors[MOST - 1]
            more = f"and {len(errors) - MOST + 1:,} more problems"
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
                    self.error(member, join(key, name), f"there is no such key{suggestion(name, known)}")
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
        return tuple(item for item in found if item is not None)

    def text(self, node: Node, key: str, *, longest: int = 200, shortest: int = 1) -> str | None:
        value = node.value
        if not isinstance(value, str):
            hint = f": write it in quotes, '{value}'" if isinstance(value, int | float) else ""
            self.error(node, key, f"must be a text, not {named(value)}{hint}")
            return None
        if not shortest <= len(value) <= longest:
            self.error(node, key, f"must have {shortest} to {longest:,} characters, not {len(value):,}")
            return None
        if "\0" in value:
            self.error(node, key, "has the character NUL, which cannot be stored")
            return None
        return value

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
        try:
            if isinstance(node.value, str) and len(node.value) == 10:
                return date.fromisoformat(node.value)
        except ValueError:
            pass
        self.error(node, key, f"must be a day that exists, such as 2026-12-24, not {named(node.value)}")
        return None


def join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name


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
