"""A bar for what may take long, on a terminal only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from orchestrator.cli.show import safe


@contextmanager
def bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """To be told how much is done, and of how much. Drawn on standard error, so that output can be piped."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _done, _total: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(safe(what), total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
