from __future__ import annotations

from typing import Generic, TypeVar

from orchestrator.sandbox.model import Row

R = TypeVar("R", bound=Row)


class Index(Generic[R]):
    """Rows by the value of one member, in the order in which they came to it; `None` is not indexed."""

    def __init__(self, member: str) -> None:
        self._member = member
        self._rows: dict[str, dict[str, R]] = {}
        self._values: dict[str, str] = {}

    def keep(self, row: R) -> None:
        value: str | None = getattr(row, self._member)
        if self._values.get(row.id) == value:
            if value is not None:
                self._rows[value][row.id] = row
            return
        self.drop(row)
        if value is not None:
            self._values[row.id] = value
            self._rows.setdefault(value, {})[row.id] = row

    def drop(self, row: R) -> None:
        value = self._values.pop(row.id, None)
        if value is not None:
            del self._rows[value][row.id]

    def of(self, value: str) -> list[R]:
        return list(self._rows.get(value, {}).values())
