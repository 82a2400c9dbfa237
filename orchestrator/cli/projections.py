"""`orchestrator projections`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli import show
from orchestrator.cli.options import Json, Reason
from orchestrator.cli.progress import bar
from orchestrator.cli.reading import opened, read

if TYPE_CHECKING:
    from orchestrator.database import Database
    from projections.verify import Difference, Report

app = typer.Typer(help="Read models: how far they are, to make them anew, to hold them against the log.")

All = Annotated[bool, typer.Option("--all", help="Every read model.")]
Name = Annotated[str | None, typer.Argument(metavar="NAME", help="bundles, videos, countries, campaigns or decisions")]
INTERVAL = 0.2
"""Seconds between two looks at a rebuild."""
SHOWN = 60
"""Characters of a value in the table of differences."""


class RebuildFailedError(Exception):
    """A read model could not be made anew; the text says why."""


@app.command("list")
def list_(json: Json = False) -> None:
    """List the read models with their position in the log."""
    from orchestrator.api.queries.projections import list_projections

    page = read(list_projections)
    rows = [{**item, "notes": _notes(item)} for item in page["items"]]
    columns = ("name", "position", "head", "lag", "state", "version", "notes")
    show.page(page if json else {**page, "items": rows}, json, *columns)


def _notes(item: Mapping[str, Any]) -> list[str]:
    failure, rebuild = item["failure"], item["rebuild"]
    notes = []
    if failure is not None:
        event = f" ({failure['event']})" if failure["event"] is not None else ""
        notes.append(f"stopped at position {failure['position']}{event}: {failure['reason']}")
    if rebuild is not None and item["progress"] is not None:
        notes.append(f"{rebuild['stage']}, {rebuild['progress']:.0%}")
    if rebuild is not None and rebuild["stage"] == "failed":
        notes.append(f"the rebuild failed: {rebuild['reason']}")
    return notes


def _names(name: str | None, every: bool) -> list[str]:
    """The read models that are meant. Raises BadParameter."""
    from orchestrator.api.queries.projections import NAMES

    if every is (name is not None):
        raise typer.BadParameter("name one read model, or say --all", param_hint="NAME")
    if name is not None and name not in NAMES:
        raise typer.BadParameter(f"must be one of {', '.join(NAMES)}", param_hint="NAME")
    return [name] if name is not None else list(NAMES)


@app.command()
def rebuild(
    name: Name = None,
    every: All = False,
    wait: Annotated[bool, typer.Option("--wait", help="Until it is in place, with a progress bar.")] = False,
    reason: Reason = None,
    json: Json = False,
) -> None:
    """Make a read model anew from the log, beside the live one, and put it in its place.

    A running service does it. Where none runs it is done here and now.
    """
    names = _names(name, every)
    with opened(connections=3) as database:
        if _is_served(database):
            _order(database, names, wait, reason, json)
        else:
            _rebuild_here(database, names)
            _say(json, names, "done", "Made anew.")


def _order(database: Database, names: Sequence[str], wait: bool, reason: str | None, json: bool) -> None:
    from orchestrator.cli.giving import give
    from projections.rebuild import read_rebuilds

    with database.read() as connection:
        before = {made.name: made.ordered for made in read_rebuilds(connection).values()}
    for name in names:
        outcome = give({"command": "projection.rebuild", "name": name, "reason": reason})
        if outcome.note is not None:
            show.say(f"Journalled; {outcome.note}.")
            return
    if wait:
        _watch(database, names, before)
    _say(json, names, "done" if wait else "ordered", "Made anew." if wait else "They are being made anew.")


def _say(json: bool, names: Sequence[str], status: str, sentence: str) -> None:
    if json:
        show.write_json({"projections": list(names), "status": status})
    else:
        show.say(sentence)


def _is_served(database: Database) -> bool:
    """Whether anybody follows the log, or has until a moment ago."""
    import sqlalchemy as sa

    from orchestrator.database.tables import leases

    query = sa.select(leases.c.name).where(leases.c.name.in_(["engine", "projections"]))
    with database.read() as connection:
        alive = query.where(leases.c.expires_at >= database.now(connection))
        return connection.execute(alive.limit(1)).first() is not None


def _watch(database: Database, names: Sequence[str], before: Mapping[str, int]) -> None:
    """Shows how far the rebuilds are until they have ended. `before`: by name, the position of the order before this
    one. Raises `RebuildFailedError`."""
    import time

    from projections.rebuild import DONE, FAILED, read_rebuilds

    with _drawn("rebuilding") as advance:
        while True:
            with database.read() as connection:
                known = read_rebuilds(connection)
            # Only what comes of this order counts: an earlier rebuild may have ended long ago.
            begun = [known[name] for name in names if name in known and known[name].ordered > before.get(name, 0)]
            if begun:
                advance(max(made.done for made in begun), max(made.total for made in begun))
            if failed := next((made for made in begun if made.stage == FAILED), None):
                raise RebuildFailedError(f"{failed.name} could not be made anew: {failed.failure}")
            if sum(made.stage == DONE for made in begun) == len(names):
                return
            time.sleep(INTERVAL)


def _rebuild_here(database: Database, names: Sequence[str]) -> None:
    """Without a service: with both leases, so that none that starts meanwhile is in the way. Raises
    `RebuildFailedError`."""
    import os
    import socket

    from orchestrator.database import Lease
    from projections.rebuild import LEASE, Builder, Finisher, read_rebuilds, renewed, want
    from projections.rows import UnreadableError

    holder = f"{socket.gethostname()}:{os.getpid()}"
    following, building = Lease(database, "projections", holder), Lease(database, LEASE, holder)
    if not (following.acquire() and building.acquire()):
        raise RebuildFailedError("another process is making read models anew: try again in a moment")
    try:
        with database.write() as connection:
            want(database, connection, names)
        with _drawn("rebuilding") as advance:

            def show_progress(_: float) -> None:
                with database.read() as connection:
                    made = read_rebuilds(connection)
                advance(max(made[name].done for name in names), max(made[name].total for name in names))

            with renewed(following):
                try:
                    Builder(database, building, give_way=show_progress).run()
                except UnreadableError as error:
                    raise RebuildFailedError(str(error)) from None
                finisher = Finisher(database, following)
                while not finisher.finish():
                    pass
    finally:
        for lease in (following, building):
            lease.release()


@contextmanager
def _drawn(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar with how much is done, how fast it goes and how long it takes still, on a terminal only."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _done, _total: None
        return
    rate = TextColumn("{task.fields[rate]}")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(what, total=None, rate="")

        def advance(done: int, total: int) -> None:
            speed = progress.tasks[0].speed
            progress.update(task, completed=done, total=total, rate=f"{speed:,.0f} events/s" if speed else "")

        yield advance


@app.command()
def verify(
    name: Name = None,
    every: All = False,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many differences are shown at most.")] = 50,
    json: Json = False,
) -> None:
    """Make read models from the log in a scratch copy and hold them against the live ones, row for row.

    The service may be running. Exit code 1 where anything differs.
    """
    from projections.rows import UnreadableError
    from projections.verify import verify as compare

    names = _names(name, every or name is None)
    with opened(connections=3) as database, bar("verifying") as advance:
        try:
            report = compare(database, names, progress=advance)
        except UnreadableError as error:
            raise RebuildFailedError(str(error)) from None
    if json:
        show.write_json(_report(report, limit))
    else:
        _print(report, limit)
    if not report.is_clean:
        raise typer.Exit(1)


def _report(report: Report, limit: int) -> dict[str, Any]:
    return {
        "position": report.position,
        "projections": [
            {"name": name, "rows": rows, "differences": report.counts[name]} for name, rows in report.rows.items()
        ],
        "differences": [_shown(difference) for difference in report.differences[:limit]],
        "skipped": report.skipped,
    }


def _print(report: Report, limit: int) -> None:
    for name, rows in report.rows.items():
        count = report.counts[name]
        said = "as the log says" if not count else f"{count:,} difference{'s' if count != 1 else ''}"
        show.say(f"{name}: {rows:,} rows at position {report.position:,}, {said}", "" if not count else "red")
    for name, reason in report.skipped.items():
        show.say(f"{name}: not compared: {reason}", "yellow")
    if report.differences:
        shown = [_shown(difference) for difference in report.differences[:limit]]
        show.console().print(show.table(shown, "table", "key", "column", "live", "rebuilt"))
    if (hidden := sum(report.counts.values()) - limit) > 0:
        show.say(f"{hidden:,} more are not shown.", "dim")


def _shown(difference: Difference) -> dict[str, str]:
    return {
        "table": difference.table,
        "key": " ".join(map(str, difference.key)),
        "column": difference.column or "(row)",
        "live": _text(difference.live, difference.column),
        "rebuilt": _text(difference.rebuilt, difference.column),
    }


def _text(value: Any, column: str | None) -> str:
    if value is None:
        return "missing" if column is None else "null"
    text = bytes(value).decode("utf-8", "replace") if isinstance(value, bytes | memoryview) else str(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


@app.command()
def drop(name: Name = None, every: All = False, json: Json = False) -> None:
    """Drop what was live before the last rebuild, which is kept until then."""
    from projections.copies import OLD
    from projections.copies import drop as drop_copies

    names = _names(name, every)
    with opened(connections=2) as database:
        dropped = drop_copies(database, OLD, names)
    if json:
        show.write_json({"dropped": dropped})
    else:
        show.say(f"Dropped: {', '.join(dropped)}." if dropped else "There is nothing to drop.")
