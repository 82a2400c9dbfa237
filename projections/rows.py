"""What the read models of bundles and of videos have in common."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import TypeVar

KEPT = 20_000

Row = TypeVar("Row")
Standing = TypeVar("Standing")

Changes = dict[str, tuple[Standing | None, Standing | None]]
"""What the countries count of a thing, before and after a page; None: it does not count."""


class Rows(OrderedDict[str, Row]):
    """The rows that were used last, so that not every page has to read them again."""

    def missing(self, names: Iterable[str]) -> list[str]:
        """Those of `names` that have to be read; the others are used now."""
        absent = []
        for name in names:
            if name in self:
                self.move_to_end(name)
            else:
                absent.append(name)
        return absent

    def trim(self) -> None:
        while len(self) > KEPT:
            self.popitem(last=False)


class UnreadableError(Exception):
    """The event at `position` of the log cannot be folded; `cause` is why. The position is None where nobody knows."""

    def __init__(self, position: int | None, topic: str, cause: Exception) -> None:
        where = "an event" if position is None else f"the event at position {position}"
        super().__init__(f"{where} ({topic}) cannot be folded: {why(cause)}")
        self.position, self.topic, self.cause = position, topic, cause


def why(error: Exception) -> str:
    """What went wrong, in one line."""
    text = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {text}"[:300] if text else type(error).__name__
