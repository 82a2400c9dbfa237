"""`orchestrator demo`: a small world from its beginning to its end."""

from __future__ import annotations

import logging
import re
import sys
from threading import Event, Thread
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli import show
from orchestrator.cli.options import Json

if TYPE_CHECKING:
    from orchestrator.demo.processes import House
    from orchestrator.demo.report import Report

logger = logging.getLogger(__name__)

DURATION = re.compile(r"(\d{1,5}(?:\.\d{1,3})?)\s*(s|m|h|)")
SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}
LONGEST = 3600.0


def _duration(text: str) -> float:
    found = DURATION.fullmatch(text.strip())
    seconds = float(found[1]) * SECONDS[found[2]] if found is not None else 0.0
    if not 1 <= seconds <= LONGEST:
        raise typer.BadParameter(f"{text!r} is no time from 1s to 1h: write 60s or 2m", param_hint="--for")
    return seconds


def demo(
    seconds: Annotated[
        str, typer.Option("--for", metavar="TIME", help="How long at most, such as 60s or 2m; less once all has ended.")
    ] = "60s",
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same accounts and the same chance.")] = None,
    speed: Annotated[
        float | None,
        typer.Option(
            min=60, max=50_000, help="Seconds of the world in one real second; by default 8640: a day takes 10 s."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Run a simulated world with a campaign to its end, and tell what happened.

    It lives in a folder of its own that is gone afterwards; no TokPortal account is involved. Exit code 1 when
    something did not hold that must always hold.
    """
    from orchestrator.demo.run import Wish, run

    wish = Wish(_duration(seconds), seed, *(() if speed is None else (speed,)))
    stop = Event()
    threads: list[Thread] = []

    def watched(house: House) -> None:
        from orchestrator.web import summary

        out = sys.stderr if json else sys.stdout
        options: dict[str, Any] = {"mode": "sandbox", "speed": wish.speed, "out": out}
        threads.append(Thread(target=summary.follow, args=(house.service, stop), kwargs=options, daemon=True))
        threads[0].start()

    def ended() -> None:
        stop.set()
        for thread in threads:
            thread.join(10)

    if not json:
        show.say(f"A simulated world is being started, for {wish.seconds:g} s at most.")
    try:
        report = run(wish, watched=watched, ended=ended)
    finally:
        ended()
    if json:
        show.write_json(report.to_json())
    else:
        _tell(report)
    if not report.holds:
        raise typer.Exit(1)


def _tell(report: Report) -> None:
    out = show.console()
    ending = "everything ended" if report.is_over else "the time was over"
    out.print()
    show.say(f"After {report.seconds:g} s, which were {report.days:g} days there, {ending}.", "bold")
    rows = [{"country": country, **_named(counts)} for country, counts in report.countries.items()]
    if rows:
        out.print(show.table(rows, *rows[0]))
    out.print()
    show.say(f"Videos: {_counts(report.videos) or 'none'}.")
    for kind, counts in report.commands.items():
        show.say(f"Commands {kind}: {_counts(counts)}.")
    show.say(f"Credits for commands: {report.credits}. Alerts: {_counts(report.alerts) or 'none'}.")
    if report.why:
        out.print()
        show.say("Why, of some decisions:", "bold")
        out.print(show.table(report.why, "at", "kind", "about", "reason"))
    out.print()
    show.say("What must always hold, checked against what really happened:", "bold")
    for name, problems in report.checks.items():
        show.say(f"  {'held' if not problems else 'BROKEN'}  {name}", "green" if not problems else "red")
        for problem in problems[:5]:
            show.say(f"          {problem}", "red")


def _named(counts: Any) -> dict[str, int]:
    return {name.replace("_", " "): number for name, number in counts.items()}


def _counts(counts: Any) -> str:
    return ", ".join(f"{number} {name}" for name, number in sorted(counts.items()))
