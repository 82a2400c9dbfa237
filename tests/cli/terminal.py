"""A terminal of a given width that keeps what is written on it."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from orchestrator.cli import show


class Terminal:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, width: int = 100) -> None:
        self._written = io.StringIO()
        self._console = Console(file=self._written, width=width, highlight=False, color_system=None)
        monkeypatch.setattr(show, "console", lambda: self._console)

    @property
    def lines(self) -> list[str]:
        return [line.rstrip() for line in self._written.getvalue().splitlines()]
