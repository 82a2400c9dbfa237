"""`orchestrator replay`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli import show
from orchestrator.cli.options import Country, Json, country_of
from orchestrator.cli.progress import bar
from orchestrator.cli.reading import moment, opened

if TYPE_CHECKING:
    from orchestrator.replay import Difference, Report

SHOWN = 20
From = Annotated[str | None, typer.Option("--from", help="The first position that counts, or a time.")]
To = Annotated[str | None, typer.Option("--to", help="The last position that counts, or a time.")]


def replay(first: From = None, last: To = None, country: Country = None, json: Json = False) -> None:
    """Run the journal again, and compare every event with the one that it gave. Exit code 1 if this program gives
    other events than it wrote itself."""
    from orchestrator.replay import replay as run
    from orchestrator.worker import tune_collector

    tune_collector()
    code = country_of(country)
    began = time.monotonic()
    with opened(connections=2) as database, bar("messages") as progress:
        begin, end = stretch(database, first, last)
        report = run(database, first=begin, last=end, country=code, progress=progress)
    seconds = time.monotonic() - began
    if json:
        show.write_json(_as_dict(report, seconds))
    else:
        _tell(report, seconds)
    if report.errors:
        raise typer.Exit(1)


def stretch(database: Any, first: str | None, last: str | None) -> tuple[int, int | None]:
    """The positions from and to which history counts. A time stands for what was recorded after, and until, then."""
    begin, end = moment(first), moment(last)
    with database.read() as connection:
        lowest = 1
        if begin is not None:
            position = begin.resolve(connection)
            lowest = max(1, position if isinstance(begin.at, int) else position + 1)
        highest = None if end is None else end.resolve(connection)
    if highest is not None and highest < lowest:
        raise typer.BadParameter("there is nothing in this stretch: it ends before it begins", param_hint="--to")
    return lowest, highest


def _as_dict(report: Report, seconds: float) -> dict[str, Any]:
    return {
        "messages": report.messages,
        "compared": report.compared,
        "differences": report.count,
        "errors": report.errors,
        "programs": [
            {"program": None if program is None else str(program), "differences": count}
            for program, count in report.by_program.items()
        ],
        "seconds": round(seconds, 1),
        "items": [difference.as_dict() for difference in report.differences],
    }


def _tell(report: Report, seconds: float) -> None:
    for difference in report.differences[:SHOWN]:
        _tell_difference(difference)
    if report.count > SHOWN:
        show.say(f"… and {report.count - SHOWN:,} messages more; --json shows up to {len(report.differences):,}.")
        show.say("")
    rate = report.messages / seconds if seconds else 0
    show.say(f"{report.messages:,} messages in {seconds:.1f} s ({rate:,.0f}/s), {report.compared:,} events compared.")
    if not report.count:
        show.say("History repeats itself: every event is the same, byte for byte.", style="green")
        return
    for program, count in report.by_program.items():
        who = "a program that was not noted" if program is None else f"version {program}"
        show.say(f"{count:,} {'message gives' if count == 1 else 'messages give'} other events than {who} wrote.")
    if report.errors:
        text = "This very program wrote other events than it gives now: the log was changed, or the program does not "
        show.say(f"{text}decide by the journal alone.", style="red")
    else:
        show.say("All of that was written by other programs: it is what has changed since.")


def _tell_difference(difference: Difference) -> None:
    who = "written by another program" if not difference.is_error else "written by this very program"
    show.say(f"position {difference.position}: {difference.kind} {difference.message_id}, {who}", style="bold")
    if difference.note is not None:
        show.say(f"  {difference.note}")
    for event in difference.events:
        show.say(f"  {event.how} {event.event} of {event.aggregate}, version {event.version}")
        for name, was, now in event.fields:
            show.say(f"    {name}: {show.cell(was)} → {show.cell(now)}")
    show.say("")
